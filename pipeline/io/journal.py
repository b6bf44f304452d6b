"""The journal of finished segments: one line for each that counts, added durably."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.io.part_file import synchronise


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
        run: Names the run that made it; empty where that is not known.
    """

    index: int
    first: int
    stop: int
    path: Path
    size_bytes: int
    sha256: str
    run: str = ""

    @property
    def num_frames(self) -> int:
        """Frames that it holds."""
        return self.stop - self.first


class Journal:
    """Lines of JSON, of which the last may have been cut short.

    Args:
        path: The file.
        key: Names configuration and input; lines of another key are never read.
        place: Where the segment of a number is kept.
    """

    def __init__(self, path: Path, key: str, place: Callable[[int], Path]) -> None:
        self.path = path
        self._key = key
        self._place = place

    def repair(self) -> None:
        """Remove the end of a line that was cut short."""
        if self.path.exists():
            with self.path.open("r+b") as file:
                file.truncate(file.read().rfind(b"\n") + 1)

    def append(self, entry: Entry, attempt: int) -> None:
        """Add a segment, durably.

        Args:
            entry: The segment.
            attempt: Number of the attempt that made it.
        """
        line = {
            "index": entry.index,
            "first": entry.first,
            "stop": entry.stop,
            "num_frames": entry.num_frames,
            "size": entry.size_bytes,
            "sha256": entry.sha256,
            "attempt": attempt,
            "run": entry.run,
            "key": self._key,
        }
        is_new = not self.path.exists()
        with self.path.open("ab") as file:
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            synchronise(self.path.parent)

    def claims(self) -> Iterator[Entry]:
        """What it says, line by line, without the lines that make no sense."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            for line in file:
                try:
                    fields = json.loads(line)
                    if fields["key"] != self._key:
                        continue
                    index, first, stop = (int(fields[name]) for name in ("index", "first", "stop"))
                    size_bytes, sha256 = int(fields["size"]), str(fields["sha256"])
                    run = str(fields.get("run", ""))
                except (ValueError, KeyError, TypeError):
                    continue
                yield Entry(index, first, stop, self._place(index), size_bytes, sha256, run)
