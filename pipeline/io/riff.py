"""Whether an AVI file is whole: readers pass over what is broken, and say nothing."""

import mmap
import struct
from pathlib import Path

_HEAD = struct.Struct("<4sI")
_LISTS = frozenset({b"RIFF", b"LIST"})


def broken_at(path: Path) -> int | None:
    """The first byte of an AVI file at which its structure makes no sense.

    Only the heads of chunks are read, not what they hold.

    Returns:
        None if it is whole: every chunk has a name that can be read, and ends where its parent
        does or before. The length of the file if that is cut off.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        length = len(data)
        position, ends = 0, [length]
        while position + _HEAD.size <= length:
            while len(ends) > 1 and position >= ends[-1]:
                ends.pop()
            name, size = _HEAD.unpack_from(data, position)
            end = position + _HEAD.size + size
            if end > length:
                return length
            if not _is_name(name):
                # What follows a whole film does no harm.
                return position if len(ends) > 1 else None
            if end > ends[-1]:
                return position
            if name in _LISTS:
                # A list begins with its own name.
                ends.append(end)
                position += _HEAD.size + 4
            else:
                # Chunks begin at even places.
                position = end + size % 2
    return None


def _is_name(name: bytes) -> bool:
    return all(32 <= letter < 127 for letter in name)
