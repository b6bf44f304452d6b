"""The cuts of a video are kept beside its segments, and only for the same run."""

import errno
import os
from pathlib import Path

import pytest

from pipeline.errors import ResourceError
from pipeline.io.segments import SegmentStore


def reopened(folder: Path, key: str = "key") -> tuple[int, ...] | None:
    """What a new run finds."""
    with SegmentStore(folder, key, ".nut") as store:
        return store.cuts()


@pytest.mark.parametrize("cuts", [(), (1,), (3, 400, 2_592_000)])
def test_cuts_are_found_by_the_next_run(folder: Path, cuts: tuple[int, ...]) -> None:
    with SegmentStore(folder, "key", ".nut") as store:
        assert store.cuts() is None
        store.keep_cuts(cuts)
        assert store.cuts() == cuts

    assert reopened(folder) == cuts


def test_cuts_of_another_key_are_not_found(folder: Path, store: SegmentStore) -> None:
    store.keep_cuts((5,))
    store.close()
    # Even in the folder of the other key.
    (folder / "other").mkdir()
    (folder / "key" / "cuts.json").rename(folder / "other" / "cuts.json")

    assert reopened(folder, "other") is None
    assert reopened(folder) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[5]",
        '{"key": "key"}',
        '{"key": "key", "cuts": ["x"]}',
        '{"key": "key", "cuts": 5}',
    ],
)
def test_what_makes_no_sense_is_no_list_of_cuts(folder: Path, text: str) -> None:
    with SegmentStore(folder, "key", ".nut") as store:
        store.keep_cuts((5,))
    (folder / "key" / "cuts.json").write_text(text)

    assert reopened(folder) is None


def test_an_unfinished_list_is_cleared_away(folder: Path) -> None:
    with SegmentStore(folder, "key", ".nut") as store:
        store.keep_cuts((5,))
    (folder / "key" / "cuts.part").write_text("{")

    assert reopened(folder) == (5,)
    assert [path.name for path in (folder / "key").iterdir()] == ["cuts.json"]


def test_cuts_go_with_the_segments(folder: Path, store: SegmentStore) -> None:
    store.keep_cuts((5,))

    store.remove()

    assert not folder.exists()


def test_cuts_belong_to_one_run_at_a_time(folder: Path) -> None:
    with pytest.raises(ValueError, match="must be opened before they are changed"):
        SegmentStore(folder, "key", ".nut").keep_cuts((5,))


def test_a_full_disk_is_told_as_such(
    store: SegmentStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(ResourceError, match=r"out\.mp4"):
        store.keep_cuts((5,))

    assert store.cuts() is None
