"""What all runners share: items as an operator takes them, and errors as a user reads them."""

from collections.abc import Iterable, Iterator
from fractions import Fraction

from operators.base import Item, Operator
from operators.errors import FrameError, ModelError
from operators.frame import Frame, FramePair, Interval, frame_of, interval_of
from pipeline.errors import HyperConError, ResourceError
from pipeline.failure import is_out_of_memory


class StageError(HyperConError):
    """An operator failed for a reason of its own; the cause is chained."""


def pairs(frames: Iterable[Frame], stop: int | None = None) -> Iterator[FramePair]:
    """Each frame before ``stop`` with its successor, the last of all with None."""
    previous: Frame | None = None
    for frame in frames:
        if previous is not None:
            yield FramePair(previous, frame)
        previous = frame
    if previous is not None and (stop is None or previous.index < stop):
        yield FramePair(previous, None)


def as_taken(
    operator: Operator, name: str, items: Iterable[Item], stop: int | None = None
) -> Iterator[Item]:
    """Turn items into what an operator takes.

    Args:
        operator: The operator.
        name: Of its stage, for messages.
        items: What the stage before it gives.
        stop: Where pairs are taken, frames from this one on are successors only; None for none.

    Raises:
        TypeError: If intervals of several images come where frames are taken.
    """
    takes = operator.takes
    if takes is Interval:
        return (interval_of(item) if isinstance(item, Frame) else item for item in items)
    frames = as_frames(items, f"stage {name!r}")
    return pairs(frames, stop) if takes is FramePair else frames


def as_frames(items: Iterable[Item], reader: str) -> Iterator[Frame]:
    """Turn items into frames.

    Args:
        items: Frames, or intervals of one image.
        reader: Who wants frames, for messages.

    Raises:
        TypeError: If intervals of several images come.
    """
    for item in items:
        if isinstance(item, Frame):
            yield item
        elif isinstance(item, Interval) and len(item.residues) == 1:
            yield frame_of(item)
        else:
            num_images = len(item.residues) if isinstance(item, Interval) else 2
            msg = (
                f"{reader} must be given frames, got intervals of {num_images} images; "
                f"put an Aggregate before it"
            )
            raise TypeError(msg)


def explain_stage(error: Exception, stage: str, moment: str) -> Exception:
    """The error that a user should read, naming stage and frame.

    Args:
        error: What an operator raised.
        stage: Name of its stage.
        moment: When, as :func:`moment_of` says it.
    """
    place = f"stage {stage!r} failed{moment}"
    reason = error.message if isinstance(error, FrameError) else str(error)
    if isinstance(error, ModelError):
        return ModelError(f"{place}: {reason}")
    if is_out_of_memory(error):
        return ResourceError(f"{place}: out of memory; a smaller --size needs less")
    if isinstance(error, HyperConError):
        return error
    return StageError(f"{place}: {type(error).__name__}: {reason}")


def moment_of(item: Item | None) -> str:
    """Frame and time of an item; None is the end of a shot."""
    if item is None:
        return " at the end of the shot"
    frame: Frame | Interval = item.first if isinstance(item, FramePair) else item
    seconds: Fraction = frame.pts * frame.time_base
    return f" at frame {frame.index} (pts {frame.pts}, {float(seconds):.3f} s)"


def require_each(missing: int) -> None:
    """Require that a segment has as many frames as it should: none is lost in silence.

    Args:
        missing: How many there are too few; negative if there are too many.

    Raises:
        StageError: If the stages gave fewer frames than they took, or more.
    """
    if missing:
        kind = "fewer" if missing > 0 else "more"
        msg = f"stages must give a frame for each frame, got {abs(missing)} {kind}"
        raise StageError(msg)
