"""Segments whose content tells which they are, for tests of what is kept of them."""

from pathlib import Path

from pipeline.io.segments import SegmentStore


def content(index: int) -> bytes:
    return bytes([index]) * (1000 + index)


def commit(store: SegmentStore, index: int, attempt: int = 0) -> None:
    part = store.part_path(index, attempt)
    part.write_bytes(content(index))
    store.commit(index, 10 * index, 10 * index + 10, part, attempt)


def reopened(folder: Path, key: str = "key") -> dict[int, bytes]:
    """What a new run finds."""
    with SegmentStore(folder, key, ".nut") as store:
        return {index: entry.path.read_bytes() for index, entry in store.entries().items()}
