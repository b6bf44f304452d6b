"""The finished segments of an output, kept so that a run can die at any moment and be resumed."""

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self


class SegmentError(Exception):
    """A segment that was committed is not what it was committed as: run it again."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A committed segment.

    Attributes:
        index: Number of the segment in the video, from zero.
        first: First frame that it holds.
        stop: One past the last frame that it holds.
        path: The file, or the folder where the output is a folder of images.
        size_bytes: Of the file, or of all files of the folder together.
        sha256: Of the content.
    """

    index: int
    first: int
    stop: int
    path: Path
    size_bytes: int
    sha256: str

    @property
    def num_frames(self) -> int:
        """Frames that it holds."""
        return self.stop - self.first


class SegmentStore:
    """The committed segments of one output, in ``.<output name>.segments/<key>`` beside it.

    One owner, the driver of a run, opens it (a context manager that holds the lock), asks for
    paths, hands them to workers on the same file system, and commits what they wrote. A segment
    is committed when its file has its final name and the journal its line; what is less is
    ignored and made again. Nothing is created before ``open``.

    Args:
        output: The output that the segments become.
        key: Names configuration and input; segments of another key are never read. Letters,
            digits, ``-`` and ``_``.
        suffix: What names of segments end in, ``SegmentedSink.segment_suffix``.

    Raises:
        ValueError: If ``key`` has other characters or is empty.
    """

    def __init__(self, output: Path, key: str, suffix: str) -> None:
        raise NotImplementedError

    def open(self) -> None:
        """Take the lock, so that no other run writes segments of this output.

        Raises:
            UsageError: If another run holds it, or the folder cannot be written.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Give the lock back; segments stay. May be called at any time, more than once."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def entries(self) -> dict[int, Entry]:
        """The committed segments by index, ascending, of which size and checksum are right."""
        raise NotImplementedError

    def part_path(self, index: int, attempt: int) -> Path:
        """Where a worker writes an attempt at a segment; different for each attempt.

        Args:
            index: Number of the segment.
            attempt: Number of the attempt.
        """
        raise NotImplementedError

    def commit(self, index: int, first: int, stop: int, part: Path, attempt: int) -> Entry:
        """Make a written segment count, durably.

        The first commit of an index wins: ``part`` of a later one is removed and the entry of
        the first returned.

        Args:
            index: Number of the segment.
            first: First frame that it holds.
            stop: One past the last frame that it holds.
            part: What the worker wrote, as ``part_path(index, attempt)`` named it.
            attempt: Number of the attempt.

        Raises:
            SegmentError: If ``part`` is not there.
            ResourceError: If the disk is full.
        """
        raise NotImplementedError

    def discard_others(self) -> None:
        """Remove the segments of all other keys: of other settings or another input."""
        raise NotImplementedError

    def remove(self) -> None:
        """Remove everything after a successful join, and give the lock back."""
        raise NotImplementedError


def input_identity(path: Path) -> str:
    """What tells an input from another at a small cost, as hexadecimal digits.

    Size, time of modification in nanoseconds, and the first and last MiB of a file; for a folder
    the name, size and time of every file in it.

    Raises:
        InputError: If it cannot be read.
    """
    raise NotImplementedError
