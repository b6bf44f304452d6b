"""How the frames of a segment travel: several in a message, so that messages are few."""

from dataclasses import dataclass

from operators.timeline import Segment

# Of one number, by its format.
NUMBER_BYTES = {"uint8": 1, "uint16": 2, "float16": 2, "float32": 4}
# Chunks for each worker, one in hand and one waiting: more gains nothing.
DEPTH = 2
# A message costs a millisecond or three whatever its size; beyond this, memory grows for nothing.
TARGET_BYTES = 32 * 2**20
MAX_FRAMES = 32
# What a chunk costs beside its frames, a twentieth of a second on two cores, is little beside this.
TARGET_S = 2.0
# At the end of a video workers wait for the last chunks of others. A worker is sent at most this
# part of its share of what is left, so that chunks become shorter and shorter.
END_SHARE = 0.3
# Before anybody knows how long a frame takes: the first of them shall be soon with all workers.
FIRST_FRAMES = 1


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

    @property
    def num_frames(self) -> int:
        """How many frames it holds."""
        return self.stop - self.first


def chunk_length(bytes_per_frame: int) -> int:
    """Frames of a chunk.

    Args:
        bytes_per_frame: What a frame is at its largest on the way.
    """
    return max(1, min(MAX_FRAMES, TARGET_BYTES // max(1, bytes_per_frame)))


def steady_length(most: int, frame_s: float | None) -> int:
    """Frames of a chunk that its slowest stage works on for about two seconds, if they fit.

    Args:
        most: Frames of a chunk at most.
        frame_s: Seconds that the slowest stage takes for a frame; None if not known yet.
    """
    if not frame_s:
        return min(most, FIRST_FRAMES)
    return max(1, min(most, round(TARGET_S / frame_s)))


def last_length(length: int, frames_left: int, workers: int) -> int:
    """Frames of a chunk, fewer where little is left.

    Args:
        length: What it would be elsewhere.
        frames_left: Frames of the video that were not sent yet.
        workers: Replicas of the largest pool, as far as no other video has work for them.
    """
    return max(1, min(length, int(END_SHARE * frames_left / max(1, workers))))


def next_chunk(segment: Segment, before: Chunk | None, length: int) -> Chunk:
    """The next chunk of a segment, its halo included.

    Args:
        segment: The segment.
        before: The chunk before, which is not the last; None for the first.
        length: Frames of the chunk; the last may be shorter.

    Raises:
        ValueError: If ``length`` is not at least 1.
    """
    if length < 1:
        msg = f"chunk length must be at least 1, got {length}"
        raise ValueError(msg)
    sequence, first = (
        (0, segment.halo_first) if before is None else (before.sequence + 1, before.stop)
    )
    stop = min(first + length, segment.taken_stop)
    return Chunk(sequence, first, stop, is_last=stop == segment.taken_stop)
