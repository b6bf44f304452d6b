"""Whether a Matroska file is whole: readers pass over what is broken, and say nothing."""

import mmap
from pathlib import Path

# Elements of the top levels of RFC 9559, whose content is elements in turn.
_SEGMENT = 0x18538067
_CLUSTER = 0x1F43B675
_TRACKS = 0x1654AE6B
_TRACK_ENTRY = 0xAE
_TRACK_NUMBER = 0xD7
_SIMPLE_BLOCK = 0xA3
_BLOCK_GROUP = 0xA0
_BLOCK = 0xA1
_CONTAINERS = frozenset({_SEGMENT, _CLUSTER, _BLOCK_GROUP})
_HEADER = 0x1A45DFA3
_IN_SEGMENT = frozenset(
    {
        _CLUSTER,
        0x114D9B74,  # SeekHead
        0x1549A966,  # Info
        _TRACKS,
        0x1C53BB6B,  # Cues
        0x1941A469,  # Attachments
        0x1043A770,  # Chapters
        0x1254C367,  # Tags
    }
)
_IN_CLUSTER = frozenset(
    {
        0xE7,  # Timestamp
        0x5854,  # SilentTracks
        0xA7,  # Position
        0xAB,  # PrevSize
        _SIMPLE_BLOCK,
        0xAF,  # EncryptedBlock
        _BLOCK_GROUP,
    }
)
_IN_BLOCK_GROUP = frozenset(
    {
        _BLOCK,
        0xA2,  # BlockVirtual
        0x75A1,  # BlockAdditions
        0x9B,  # BlockDuration
        0xFA,  # ReferencePriority
        0xFB,  # ReferenceBlock
        0xFD,  # ReferenceVirtual
        0xA4,  # CodecState
        0x75A2,  # DiscardPadding
        0x8E,  # Slices
        0xC8,  # ReferenceFrame
    }
)
_CHILDREN = {_SEGMENT: _IN_SEGMENT, _CLUSTER: _IN_CLUSTER, _BLOCK_GROUP: _IN_BLOCK_GROUP}
# Allowed everywhere: a checksum, and room to spare.
_ANYWHERE = frozenset({0xBF, 0xEC})


def broken_at(path: Path) -> int | None:
    """The first byte of a Matroska or WebM file at which its structure makes no sense.

    Only the heads of elements and the numbers of tracks are read, not what else they hold.

    Returns:
        None if it is whole: every element is one that belongs there, and ends where its parent
        does or before, and every block is of a track that there is. The length of the file if that
        is cut off.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _Walk(data).broken_at()


class _Walk:
    """A way through the elements of a file, without recursion: parents are kept on a stack."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._position = 0
        self._has_film = False
        self._tracks: set[int] = set()
        # What is open: its kind, and where it ends; None where it did not know its length.
        self._open: list[tuple[int, int | None]] = []

    def broken_at(self) -> int | None:
        """Follow the elements to the end of the file."""
        length = len(self._data)
        while self._position < length:
            self._close_finished()
            start = self._position
            kind, size = self._number(keep_marker=True), self._number(keep_marker=False)
            if kind is None or size is None:
                return start if self._open or not self._has_film else None
            if not self._open_parent_of(kind):
                # What follows a whole film does no harm.
                return start if self._open or not self._has_film else None
            self._has_film = self._has_film or kind == _SEGMENT
            end = None if size < 0 else self._position + size
            if not self._fits(kind, end) or not self._is_of_a_track(kind):
                return start
            if end is not None and end > length and kind not in _CONTAINERS:
                return length
            if kind in _CONTAINERS:
                self._open.append((kind, end))
                continue
            if kind == _TRACKS and end is not None:
                self._tracks |= self._track_numbers(end)
            self._position = end or self._position
        # What is open must end with the file, or not have known.
        is_cut = any(end is not None and end > length for _, end in self._open)
        return length if is_cut else None

    def _fits(self, kind: int, end: int | None) -> bool:
        """Whether an element ends where its parents do, or before."""
        if end is None:
            return kind in {_SEGMENT, _CLUSTER}
        limit = next((stop for _, stop in reversed(self._open) if stop is not None), None)
        return limit is None or end <= limit

    def _is_of_a_track(self, kind: int) -> bool:
        """Whether this is no block, or one of a track that was listed, if any were."""
        if kind not in {_SIMPLE_BLOCK, _BLOCK} or not self._tracks:
            return True
        return self._number(keep_marker=False) in self._tracks

    def _track_numbers(self, end: int) -> set[int]:
        """The numbers by which blocks name their tracks; the list of tracks is read to its end."""
        numbers = set()
        while self._position < end:
            kind, size = self._number(keep_marker=True), self._number(keep_marker=False)
            if kind is None or size is None or size < 0:
                break
            if kind == _TRACK_NUMBER:
                value = self._data[self._position : self._position + size]
                numbers.add(int.from_bytes(value, "big"))
            # The entry of a track is looked into, all else in it is passed over.
            self._position += 0 if kind == _TRACK_ENTRY else size
        return numbers

    def _close_finished(self) -> None:
        while self._open and self._open[-1][1] == self._position:
            self._open.pop()

    def _open_parent_of(self, kind: int) -> bool:
        """Close what had no length and ends here; false if the element belongs nowhere."""
        while True:
            parent, end = self._open[-1] if self._open else (None, None)
            if parent is None:
                return kind in {_HEADER, _SEGMENT} | _ANYWHERE
            if kind in _CHILDREN[parent] | _ANYWHERE:
                return True
            if end is not None:
                return False
            self._open.pop()

    def _number(self, *, keep_marker: bool) -> int | None:
        """A number of variable length; -1 for "unknown", None where there is none.

        Source:
            RFC 8794, section 4: as many bytes as zeros lead the first, and one.
        """
        if self._position >= len(self._data):
            return None
        first = self._data[self._position]
        num_bytes = 9 - first.bit_length()
        if num_bytes > 8 or (keep_marker and num_bytes > 4):
            return None
        raw = self._data[self._position : self._position + num_bytes]
        if len(raw) < num_bytes:
            return None
        self._position += num_bytes
        number = int.from_bytes(raw, "big")
        if keep_marker:
            return number
        largest = (1 << 7 * num_bytes) - 1
        number &= largest
        return -1 if number == largest else number
