"""The dense timeline: which frames exist, which are read, and how a video is cut into segments.

Integers and fractions only. Original frame ``a`` sits at dense position ``a * stride``; the
window of output ``a`` holds the positions ``a * stride + dilation * k`` for ``|k| <= radius``,
clipped to the shot (truncated, never padded).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Self

# A segment recomputes this share of its frames at most, for the halo on its two sides.
MAX_HALO_SHARE = Fraction(1, 40)
MIN_SEGMENT_FRAMES = 128


@dataclass(frozen=True, slots=True)
class Timeline:
    """The arithmetic of the method.

    Attributes:
        insert: Frames inserted between each two original ones (``i`` in the paper), at least 0.
        radius: Neighbours on each side of the reference (``γ``), at least 0.
        dilation: Dense steps between neighbours (``d``), at least 1.
    """

    insert: int
    radius: int
    dilation: int = 1

    def __post_init__(self) -> None:
        for name, least in (("insert", 0), ("radius", 0), ("dilation", 1)):
            value = getattr(self, name)
            if value < least:
                msg = f"{name} must be at least {least}, got {value}"
                raise ValueError(msg)

    @property
    def stride(self) -> int:
        """Dense steps from one original frame to the next."""
        return self.insert + 1

    @property
    def offsets(self) -> tuple[int, ...]:
        """Dense offsets of a whole window from its reference, ascending."""
        return tuple(self.dilation * k for k in range(-self.radius, self.radius + 1))

    @property
    def residues(self) -> tuple[int, ...]:
        """The demand: dense offsets from an original frame that some window reads, ascending.

        Nothing else needs to be interpolated or translated. Zero, the reference, is always one.
        All intervals of a shot are made alike, so close to its ends a few frames are made that
        no truncated window reads.
        """
        return tuple(sorted({offset % self.stride for offset in self.offsets}))

    @property
    def all_residues(self) -> tuple[int, ...]:
        """Every dense offset, read or not: what the method does without demand."""
        return tuple(range(self.stride))

    @property
    def halo(self) -> int:
        """Original frames on each side that an output depends on; also the look-ahead."""
        return -(-self.dilation * self.radius // self.stride)

    @property
    def ahead(self) -> int:
        """Intervals after its own that an output depends on; one fewer than the frames, mostly.

        A window that ends between two frames reads the interval of the first of them. The second
        is needed to make it, and nothing of the interval that begins there.
        """
        return self.dilation * self.radius // self.stride

    @property
    def ring_size(self) -> int:
        """Intervals that the aggregator's ring buffer holds: the newest and ``halo`` before it."""
        return self.halo + 1

    @property
    def interpolation_is_idle(self) -> bool:
        """True if frames are to be inserted but no window ever reads one."""
        return self.insert > 0 and self.residues == (0,)

    def residues_read(self, step: int) -> tuple[int, ...]:
        """Residues that a window reads in the interval ``step`` frames after its reference.

        Args:
            step: Distance in original frames; negative for intervals before the reference.
        """
        first = step * self.stride
        return tuple(
            offset - first for offset in self.offsets if first <= offset < first + self.stride
        )

    def dense_length(self, num_frames: int) -> int:
        """Positions of the dense timeline of a shot of ``num_frames`` original frames."""
        return 0 if num_frames == 0 else (num_frames - 1) * self.stride + 1

    def window(self, reference: int, num_frames: int) -> tuple[int, ...]:
        """Dense positions that output ``reference`` pools, ascending, clipped to the shot."""
        if not 0 <= reference < num_frames:
            msg = f"reference must be 0 to {num_frames - 1}, got {reference}"
            raise ValueError(msg)
        last = self.dense_length(num_frames) - 1
        centre = reference * self.stride
        return tuple(centre + offset for offset in self.offsets if 0 <= centre + offset <= last)

    def instants(self) -> tuple[Fraction, ...]:
        """The instants ``b' = b / (i + 1)`` of the inserted frames that are read."""
        return tuple(Fraction(residue, self.stride) for residue in self.residues if residue)


@dataclass(frozen=True, slots=True)
class Demand:
    """How much work a shot is.

    Attributes:
        interpolated: Inserted frames that are made.
        translated: Frames that are translated.
        translated_without_demand: Frames the method translates when it makes the whole timeline.
        pair_flows: Pairs of consecutive frames whose flow is computed both ways.
        window_samples: Translated frames that windows read beside their reference.
    """

    interpolated: int
    translated: int
    translated_without_demand: int
    pair_flows: int
    window_samples: int


def demand(timeline: Timeline, num_frames: int) -> Demand:
    """Count the work of a shot.

    Args:
        timeline: The arithmetic.
        num_frames: Original frames of the shot.
    """
    pairs = max(num_frames - 1, 0)
    inserted = pairs * (len(timeline.residues) - 1)
    # Interior windows are all alike: only the ends need to be looked at one by one.
    ends = min(num_frames, 2 * timeline.halo)
    outer = [*range(ends // 2), *range(num_frames - (ends - ends // 2), num_frames)]
    samples = sum(len(timeline.window(reference, num_frames)) - 1 for reference in outer)
    samples += (num_frames - ends) * 2 * timeline.radius
    return Demand(
        interpolated=inserted,
        translated=num_frames + inserted,
        translated_without_demand=timeline.dense_length(num_frames),
        pair_flows=pairs,
        window_samples=samples,
    )


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of frames that is computed, retried and stored as one.

    All ranges are half open, in original frames of the video.

    Attributes:
        index: Number of the segment in the video, from zero.
        first: First frame that it emits.
        stop: One past the last frame that it emits.
        halo_first: First frame that it reads.
        halo_stop: One past the last frame that it reads.
        taken_stop: One past the last frame that it works on; frames after it are read as successors
            of that one and for nothing else.
    """

    index: int
    first: int
    stop: int
    halo_first: int
    halo_stop: int
    taken_stop: int

    @property
    def num_frames(self) -> int:
        """Frames that it emits."""
        return self.stop - self.first

    def part(self, first: int, stop: int, overlap: int) -> Self:
        """The same, of which only some frames are worked on.

        Args:
            first: The first of these.
            stop: One past the last.
            overlap: Frames after them that are read as well, where the halo has any.
        """
        read_stop = min(stop + overlap, self.halo_stop)
        return replace(self, halo_first=first, halo_stop=read_stop, taken_stop=stop)


def segment_length(halo: int) -> int:
    """Frames of a segment: enough that recomputing its halo costs at most one frame in forty."""
    return max(MIN_SEGMENT_FRAMES, -(-2 * halo // MAX_HALO_SHARE))


def shots(num_frames: int, cuts: Sequence[int] = ()) -> list[range]:
    """The shots of a video.

    Args:
        num_frames: Frames of the video.
        cuts: Frames that begin a new shot, strictly ascending, each between 1 and
            ``num_frames - 1``.

    Raises:
        ValueError: If a cut lies elsewhere or out of order.
    """
    bounds = [0, *cuts, num_frames]
    if num_frames == 0 and not cuts:
        return []
    if any(later <= earlier for earlier, later in pairwise(bounds)):
        msg = f"cuts must ascend strictly between 0 and {num_frames}, got {list(cuts)}"
        raise ValueError(msg)
    return [range(first, stop) for first, stop in pairwise(bounds)]


def segments(
    shot_list: Sequence[range], length: int, halo: int, ahead: int | None = None
) -> Iterator[Segment]:
    """Cut shots into segments: a function of content and configuration, never of the machine.

    Args:
        shot_list: The shots, in order, as :func:`shots` returns them.
        length: Frames of a segment; the last of each shot may be shorter.
        halo: Frames on each side that a segment reads beside its own.
        ahead: Frames after its own that a segment works on; None for all that it reads.

    Yields:
        The segments in order. A segment and its halo lie within one shot.
    """
    if length < 1:
        msg = f"segment length must be at least 1, got {length}"
        raise ValueError(msg)
    index = 0
    for shot in shot_list:
        for first in range(shot.start, shot.stop, length):
            stop = min(first + length, shot.stop)
            yield Segment(
                index=index,
                first=first,
                stop=stop,
                halo_first=max(shot.start, first - halo),
                halo_stop=min(shot.stop, stop + halo),
                taken_stop=min(shot.stop, stop + (halo if ahead is None else ahead)),
            )
            index += 1
