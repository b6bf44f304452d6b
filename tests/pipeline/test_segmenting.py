"""Which segments a run has is a matter of content and settings; what is kept, of its end."""

import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streams import ArraySink

from pipeline.io.segments import SegmentStore
from pipeline.segmenting import frames_of_segment, opened, store_of


@given(num_frames=st.integers(0, 5000), halo=st.integers(0, 200))
def test_the_halo_costs_at_most_one_frame_in_twenty_whatever_the_video(
    num_frames: int, halo: int
) -> None:
    length = frames_of_segment(num_frames, halo, None)

    assert 20 * 2 * halo <= length
    assert length == frames_of_segment(17, halo, None)


def test_the_length_can_be_chosen() -> None:
    assert frames_of_segment(300, 4, 7) == 7


@pytest.mark.parametrize(("num_frames", "expected"), [(300, 300), (1, 1), (0, 1)])
@pytest.mark.parametrize("wish", [None, 7])
def test_outputs_that_depend_on_the_whole_video_keep_it_whole(
    num_frames: int, expected: int, wish: int | None
) -> None:
    assert frames_of_segment(num_frames, None, wish) == expected


def folder_of(store: SegmentStore) -> Path:
    """Where a store has its segments."""
    return store.part_path(0, 0).parent


def test_the_same_run_finds_its_segments_and_any_other_finds_none(tmp_path: Path) -> None:
    sink = ArraySink(tmp_path / "out.npz")

    folder = folder_of(store_of(sink, "key", 7))

    assert folder == folder_of(store_of(sink, "key", 7))
    others = [store_of(sink, "another", 7), store_of(sink, "key", 8)]
    others += [store_of(ArraySink(tmp_path / "other.npz"), "key", 7)]
    assert folder not in [folder_of(other) for other in others]


def test_without_a_key_no_two_runs_share_segments(tmp_path: Path) -> None:
    sink = ArraySink(tmp_path / "out.npz")

    folders = {folder_of(store_of(sink, None, 7)) for _ in range(20)}

    assert len(folders) == 20


def test_segments_are_hidden_beside_the_output_and_named_by_its_sink(tmp_path: Path) -> None:
    part = store_of(ArraySink(tmp_path / "out.npz"), "key", 7).part_path(3, 0)

    assert re.fullmatch(r"00003\.\w+\.0\.npz", part.name)
    assert part.parents[1] == tmp_path / ".out.npz.segments"


def commit(store: SegmentStore) -> None:
    part = store.part_path(0, 0)
    part.write_bytes(b"frames")
    store.commit(0, 0, 7, part, 0)


def make(tmp_path: Path, *, keep: bool, commits: bool) -> list[str]:
    """Files of segments that are left when a run fails."""
    store = store_of(ArraySink(tmp_path / "out.npz"), "key", 7)
    with suppress(KeyboardInterrupt), opened(store, keep=keep):
        if commits:
            commit(store)
        raise KeyboardInterrupt
    return [path.name for path in tmp_path.rglob("*.npz") if path.is_file()]


def test_a_run_that_fails_keeps_what_a_later_one_can_use(tmp_path: Path) -> None:
    assert make(tmp_path, keep=True, commits=True) == ["00000.npz"]


@pytest.mark.parametrize(("keep", "commits"), [(False, True), (True, False), (False, False)])
def test_a_run_that_fails_leaves_nothing_that_is_of_no_use(
    tmp_path: Path, keep: bool, commits: bool
) -> None:
    make(tmp_path, keep=keep, commits=commits)

    assert list(tmp_path.iterdir()) == []


def test_segments_of_other_settings_are_removed_by_the_next_run(tmp_path: Path) -> None:
    make(tmp_path, keep=True, commits=True)
    other = store_of(ArraySink(tmp_path / "out.npz"), "another", 7)

    with opened(other, keep=True):
        assert other.entries() == {}
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == [
            tmp_path / ".out.npz.segments" / "lock"
        ]
