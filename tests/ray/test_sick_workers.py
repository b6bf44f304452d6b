"""Workers that fail or hang beside sound ones, and sound ones that only seem to."""

from pathlib import Path

import pytest
from agreement import SHORT, Output, assert_same, frames, source, stages
from parts import Flags, Heavy, MischievousSource, Sick, Wavy
from streams import ArraySink, read_arrays

from pipeline.local_runner import LocalRunner
from pipeline.ray_runner import RayRunner
from pipeline.ray_settings import RaySettings
from pipeline.report import RunReport
from pipeline.stage import Pipeline

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240), pytest.mark.usefixtures("cluster")]


@pytest.mark.slow
def test_a_process_that_hangs_at_a_later_chunk_is_ended_when_nobody_waits_for_it_any_more(
    tmp_path: Path, expected: Output, flags: Flags
) -> None:
    """The owner has its result next in order, and answers nothing before."""
    flags.raise_("hang", "hang again", "hang once more")
    path = tmp_path / "out.npz"
    settings = RaySettings(segment_frames=23, chunk_frames=1, device="cpu", stall_s=8)

    RayRunner(settings).run(Pipeline(source(), stages(Wavy(flags), 2), ArraySink(path)))

    assert flags.left() == []
    assert_same(path, expected)


def test_who_loads_for_longer_than_a_chunk_may_take_is_given_the_time(
    tmp_path: Path, expected: Output, flags: Flags, caplog: pytest.LogCaptureFixture
) -> None:
    """A replica that died loads its model again before the chunk that it is given."""
    flags.raise_("translate")
    path = tmp_path / "out.npz"
    settings = RaySettings(segment_frames=7, chunk_frames=2, device="cpu", stall_s=9)

    RayRunner(settings).run(Pipeline(source(), stages(Heavy(flags, 12.0), 1), ArraySink(path)))

    assert flags.left() == []
    assert "made no progress" not in caplog.text
    assert_same(path, expected)


def test_a_source_that_does_not_come_is_looked_for_elsewhere(
    tmp_path: Path, expected: Output, flags: Flags, caplog: pytest.LogCaptureFixture
) -> None:
    flags.raise_("no answer")
    path, still = tmp_path / "out.npz", MischievousSource(frames(), flags)
    settings = RaySettings(segment_frames=7, chunk_frames=2, device="cpu", stall_s=3)

    RayRunner(settings).run(Pipeline(still, stages(Wavy()), ArraySink(path)))

    assert "list must be readable, got nothing from it for 3 s" in caplog.text
    assert_same(path, expected)


def test_a_process_that_fails_every_time_is_left_out(tmp_path: Path, expected: Output) -> None:
    """Having nothing to do, it would be given the first chunk of every attempt."""
    path = tmp_path / "out.npz"

    RayRunner(SHORT).run(Pipeline(source(), stages(Sick(tmp_path), 3), ArraySink(path)))

    assert_same(path, expected)


@pytest.mark.slow
def test_who_waits_behind_other_videos_does_not_stand_still(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = [tmp_path / f"{n}.npz" for n in range(5)]
    # Two chunks of each are there at once: those of one video wait for eight of the others.
    settings = RaySettings(segment_frames=12, chunk_frames=1, device="cpu", stall_s=3, lanes=5)
    chain = stages(Wavy(seconds=1.2), 1)

    outcomes = RayRunner(settings).run_all(
        [Pipeline(source(6), chain, ArraySink(p)) for p in paths]
    )

    assert all(isinstance(outcome, RunReport) for outcome in outcomes)
    assert "made no progress" not in caplog.text
    LocalRunner("cpu").run(Pipeline(source(6), stages(Wavy()), ArraySink(tmp_path / "local.npz")))
    for path in paths:
        assert_same(path, read_arrays(tmp_path / "local.npz"))
