"""A day of video, by plan and by simulation: nothing is done frame by frame before it is due."""

import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from streams import ArraySink

from operators.timeline import Timeline, demand, segment_length, segments, shots
from pipeline import cli
from pipeline.config import Config
from pipeline.io import segments as stored
from pipeline.io.endpoint import StreamInfo
from pipeline.plan import plan
from pipeline.segmenting import opened, shots_of, store_of

DAY_FRAMES = 24 * 60 * 60 * 30
HALO = Timeline(3, 2).halo

pytestmark = pytest.mark.usefixtures("process_as_it_was")


def peak_bytes(work: Callable[[], object]) -> int:
    """The most memory that Python held during some work, beyond what it held before."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def info(num_frames: int) -> StreamInfo:
    return StreamInfo(1920, 1080, Fraction(1, 90_000), Fraction(30), num_frames)


@pytest.mark.parametrize("values", [{}, {"aggregate": {"alignment": "exact"}}, {"method": "vinet"}])
def test_the_plan_of_a_day_costs_what_that_of_a_second_costs(values: dict[str, Any]) -> None:
    config = Config.model_validate(values)
    plan(config, info(30))

    second, day = (peak_bytes(lambda n=n: plan(config, info(n))) for n in (30, DAY_FRAMES))

    assert day < second + 10_000
    assert plan(config, info(DAY_FRAMES)).counted_frames == 2_592_000


def test_the_command_plans_a_day(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "look", lambda config, path: (info(DAY_FRAMES), True))

    assert cli.main(["plan", "day.mp4"]) == 0

    text = capsys.readouterr().out
    assert "hypercon: 2592000 frames of 1920x1080" in text
    # 128 frames each; three frames are inserted between each two.
    assert "20250 of 128 frames" in text
    assert "10367997 frames" in text
    assert "the input is decoded once more" in text


def test_work_of_a_day_is_counted_without_looking_at_every_window() -> None:
    timeline = Timeline(9, 1, 3)

    assert peak_bytes(lambda: demand(timeline, DAY_FRAMES)) < 10_000

    # Residues 0, 3 and 7 of every ten; windows of three, of which the first and the last miss one.
    counted = demand(timeline, DAY_FRAMES)
    assert counted.interpolated == 2 * (DAY_FRAMES - 1)
    assert counted.window_samples == 2 * DAY_FRAMES - 2


def test_segments_of_a_day_are_made_one_at_a_time() -> None:
    length = segment_length(HALO)

    def walk() -> None:
        covered = 0
        for segment in segments(shots(DAY_FRAMES), length, HALO):
            assert segment.first == covered
            covered = segment.stop
        assert covered == DAY_FRAMES

    assert peak_bytes(walk) < 10_000


def test_segments_of_a_day_of_many_shots_are_few_bytes_for_each_shot() -> None:
    """A cut every four seconds."""
    cuts = range(120, DAY_FRAMES, 120)

    def walk() -> None:
        first_frames = [segment.first for segment in segments(shots(DAY_FRAMES, cuts), 64, HALO)]
        assert {0, *cuts} <= set(first_frames)

    assert peak_bytes(walk) < 500 * len(cuts)


def test_what_a_run_remembers_of_a_day_is_little_for_each_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything but frames: cuts, segments, journal, and what the join is given.

    Two hours, twelve of which are a day; a disk that is not waited for.
    """
    num_frames = DAY_FRAMES // 12
    for name in ("synchronise", "synchronise_all"):
        monkeypatch.setattr(stored, name, lambda path: None)
    monkeypatch.setattr(stored.os, "fsync", lambda descriptor: None)
    sink = ArraySink(tmp_path / "day.npz")
    cuts = list(range(600, num_frames, 600))
    joined: list[Path] = []

    def walk() -> None:
        length = segment_length(HALO)
        store = store_of(sink, "key", length)
        with opened(store, keep=True):
            grid = segments(shots_of(store, num_frames, lambda: cuts), length, HALO)
            joined.extend(committed(store, segment) for segment in grid)
        resumed = store_of(sink, "key", length)
        with opened(resumed, keep=True):
            assert [entry.path for entry in resumed.entries().values()] == joined

    used = peak_bytes(walk)

    num_segments = len(joined)
    assert num_segments == num_frames // 600 * 5
    assert used < 2000 * num_segments
    # For a day, in one process: less than three frames of its pictures as floats.
    assert 12 * used < 3 * 1920 * 1080 * 3 * 4


def committed(store: stored.SegmentStore, segment: Any) -> Path:
    part = store.part_path(segment.index, 0)
    part.write_bytes(b"f")
    return store.commit(segment.index, segment.first, segment.stop, part, 0).path
