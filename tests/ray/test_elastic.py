"""Pools that grow while work waits and shrink when it does not; nodes that are left in time."""

import time
from pathlib import Path

import pytest
from agreement import Output, Watching, assert_same, source, stages
from parts import Wavy
from streams import ArraySink

from operators.frame import Frame
from pipeline.bounds import Bounds
from pipeline.io.endpoint import Sink
from pipeline.ray_runner import RayRunner
from pipeline.ray_settings import RaySettings
from pipeline.sizing import bytes_per_frame
from pipeline.stage import Pipeline

# By then the pool has had time to grow.
FAST_FRAMES = 14

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240), pytest.mark.usefixtures("cluster")]


def test_a_pool_grows_while_work_waits(tmp_path: Path, expected: Output) -> None:
    settings = RaySettings(segment_frames=7, chunk_frames=2, device="cpu", grow_after_s=0.5)
    watching = Watching()
    path = tmp_path / "out.npz"

    pipeline = Pipeline(source(), stages(Wavy(seconds=0.6), Bounds(1, 3)), ArraySink(path))

    RayRunner(settings, progress=watching).run(pipeline)

    sizes = watching.sizes("translate")
    assert sizes[0] == 1
    assert max(sizes) > 1
    assert max(sizes) <= 3
    # Two chunks of two frames and one beyond for each replica, of the pool that interpolates too.
    most = 2 * (3 + 1) * (2 + 1) * bytes_per_frame(pipeline, pipeline.source.info())
    assert 0 < max(state.in_flight_bytes for state in watching.states) <= most
    assert_same(path, expected)


class SlowSink(ArraySink):
    """A sink that needs a second for each of its later frames."""

    def segment(self, path: Path) -> Sink:
        return SlowSink(path)

    def write(self, frame: Frame) -> None:
        if frame.index >= FAST_FRAMES:
            time.sleep(1.0)
        super().write(frame)


def test_a_pool_shrinks_while_another_stage_keeps_all_waiting(
    tmp_path: Path, expected: Output
) -> None:
    settings = RaySettings(
        segment_frames=7, chunk_frames=1, device="cpu", grow_after_s=0.5, idle_s=1, lanes=1
    )
    watching = Watching()
    path = tmp_path / "out.npz"

    pipeline = Pipeline(source(), stages(Wavy(seconds=0.6), Bounds(1, 3)), SlowSink(path))
    RayRunner(settings, progress=watching).run(pipeline)

    sizes = watching.sizes("translate")
    assert (sizes[0], sizes[-1]) == (1, 1)
    assert max(sizes) > 1
    assert_same(path, expected)
