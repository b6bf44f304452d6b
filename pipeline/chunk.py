"""How the frames of a segment travel: several in a message, so that messages are few."""

from collections.abc import Iterator
from dataclasses import dataclass

from operators.timeline import Segment

# A message costs a millisecond or three whatever its size; beyond this, memory grows for nothing.
TARGET_BYTES = 32 * 2**20
MAX_FRAMES = 32
# What a chunk costs beside its frames, a twentieth of a second on two cores, is little beside this.
TARGET_S = 2.0
# Where nothing follows, workers wait for the last chunks of others: they shall be short.
END_S = 0.5
# Before anybody knows how long a frame takes.
FIRST_FRAMES = 4


@dataclass(frozen=True, slots=True)
class Chunk:
    """Frames of a segment that travel together.

    Attributes:
        sequence: Position in the segment, from zero.
        first: First frame.
        stop: One past the last frame.
        is_last: True if the segment ends with it.
    """

    sequence: int
    first: int
    stop: int
    is_last: bool


def chunk_length(bytes_per_frame: int) -> int:
    """Frames of a chunk.

    Args:
        bytes_per_frame: What a frame is at its largest on the way.
    """
    return max(1, min(MAX_FRAMES, TARGET_BYTES // max(1, bytes_per_frame)))


def steady_length(most: int, frame_s: float | None, *, is_end: bool) -> int:
    """Frames of a chunk that its slowest stage works on for about two seconds, if they fit.

    Args:
        most: Frames of a chunk at most.
        frame_s: Seconds that the slowest stage takes for a frame; None if not known yet.
        is_end: Whether it is of the last segment of a video, where it is shorter.
    """
    if not frame_s:
        return min(most, FIRST_FRAMES)
    return max(1, min(most, round((END_S if is_end else TARGET_S) / frame_s)))


def chunks(segment: Segment, length: int) -> Iterator[Chunk]:
    """The chunks of a segment, its halo included.

    Args:
        segment: The segment.
        length: Frames of a chunk; the last may be shorter.

    Raises:
        ValueError: If ``length`` is not at least 1.
    """
    if length < 1:
        msg = f"chunk length must be at least 1, got {length}"
        raise ValueError(msg)
    starts = range(segment.halo_first, segment.halo_stop, length)
    for sequence, first in enumerate(starts):
        stop = min(first + length, segment.halo_stop)
        yield Chunk(sequence, first, stop, is_last=stop == segment.halo_stop)
