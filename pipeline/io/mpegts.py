"""Whether an MPEG transport stream is whole: readers pass over what is broken, and say nothing."""

import mmap
from pathlib import Path

_SYNC = 0x47
# Length of a packet and where in it the sync byte is: plain, with a time in front as on Blu-ray,
# with a checksum behind as on satellites.
_LAYOUTS = ((188, 0), (192, 4), (204, 0))
# Packets that must agree before a layout is believed, and that are looked at in one step.
_FEW = 8
_MANY = 1 << 16


def broken_at(path: Path) -> int | None:
    """The first byte of a transport stream at which no packet begins where one should.

    Only the first byte of each packet is read.

    Returns:
        None if packets follow each other to the end of the file, or if it begins in a way that is
        not known here. The length of the file if that is cut off in the middle of a packet.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for size, offset in _LAYOUTS:
            few = data[offset : offset + _FEW * size : size]
            if few and set(few) == {_SYNC}:
                return _first_gap(data, size, offset)
    return None


def _first_gap(data: mmap.mmap, size: int, offset: int) -> int | None:
    for start in range(0, len(data), size * _MANY):
        syncs = data[start + offset : start + size * _MANY : size]
        wrong = syncs.lstrip(bytes([_SYNC]))
        if wrong:
            return start + (len(syncs) - len(wrong)) * size
    return len(data) if len(data) % size else None
