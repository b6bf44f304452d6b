"""Where the shots of a video begin: told by a file, or found by somebody who looks."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Protocol, runtime_checkable

from pipeline.errors import InputError
from pipeline.io.endpoint import Source


@runtime_checkable
class Cuts(Protocol):
    """Knows where the scene of a video is cut. Picklable."""

    def find(self, source: Source) -> list[int]:
        """The first frame of each new shot: strictly ascending, frame 0 not among them.

        It depends on nothing but the frames of the source.

        Raises:
            InputError: If the source cannot be read, or what is known of its cuts does not fit it.
        """
        ...


class ListedCuts:
    """Cuts from a file: the number of the first frame of each new shot, one on a line.

    It is a list for the whole video, counted from zero; where only a part is read, it may name
    cuts outside. Blank lines, and what follows a ``#``, do not count. The file is read at once, so
    only its numbers travel.

    Args:
        path: The file.
        start: Number, in the video, of the first frame that the source yields.
        frames: How many frames the source yields at most; None for all.

    Raises:
        InputError: Naming file and line, if it is not such a list.
    """

    def __init__(self, path: Path | str, *, start: int = 0, frames: int | None = None) -> None:
        self._name = str(path)
        self._start = start
        self._frames = frames
        self._lines = list(_numbers(Path(path)))
        for (_, before), (line, number) in pairwise([(0, 0), *self._lines]):
            if number <= before:
                rule = "come after the one before it" if before else "be at least 1"
                msg = f"{self._name}, line {line}: a cut must {rule}, got {number}"
                raise InputError(msg)

    def find(self, source: Source) -> list[int]:
        """The numbers of the file that lie in the source, counted as the source counts.

        Raises:
            InputError: Naming file and line of the first that is no frame of the video.
        """
        count = source.count()
        end = self._start + count
        # Where it yields as many as it may, nobody knows how many there are.
        ends_here = count != self._frames
        for line, number in self._lines:
            if number >= end and ends_here:
                msg = (
                    f"{self._name}, line {line}: a cut must be one of the {end} frames of "
                    f"{source.name}, counted from 0, got {number}"
                )
                raise InputError(msg)
        return [number - self._start for _, number in self._lines if self._start < number < end]


def _numbers(path: Path) -> list[tuple[int, int]]:
    """Line and value of each number of a file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "something that is no text"
        msg = f"{path} must be a readable list of cuts, got {reason}"
        raise InputError(msg) from error
    numbers = []
    for line, words in enumerate(text.splitlines(), start=1):
        word = words.partition("#")[0].strip()
        if not word:
            continue
        if not re.fullmatch(r"[0-9]{1,18}", word):
            msg = f"{path}, line {line}: a cut must be the number of a frame, got {word[:40]!r}"
            raise InputError(msg)
        numbers.append((line, int(word)))
    return numbers
