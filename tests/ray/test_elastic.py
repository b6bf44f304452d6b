"""Pools that grow while work waits and shrink when it does not; nodes that are left in time."""

from pathlib import Path

import pytest
from agreement import Output, assert_same, source, stages
from parts import Wavy
from streams import ArraySink

from pipeline.bounds import Bounds
from pipeline.progress import SilentProgress
from pipeline.ray_runner import RayRunner
from pipeline.ray_settings import RaySettings
from pipeline.sizing import bytes_per_frame
from pipeline.stage import Pipeline, Resources, Stage
from pipeline.tally import JobState

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240), pytest.mark.usefixtures("cluster")]


class Watching(SilentProgress):
    """Remembers how many processes a stage had, and what was on its way."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self.sizes: list[int] = []
        self.in_flight_bytes: list[int] = []

    def show(self, state: JobState) -> None:
        self.in_flight_bytes.append(state.in_flight_bytes)
        self.sizes += [one.workers for one in state.stages if one.name == self._stage]


def test_a_pool_grows_while_work_waits(tmp_path: Path, expected: Output) -> None:
    settings = RaySettings(segment_frames=7, chunk_frames=2, device="cpu", grow_after_s=0.5)
    interpolate, translate, aggregate = stages(Wavy(seconds=0.6))
    growing = Stage(translate.operator, translate.name, Resources(replicas=Bounds(1, 3)))
    watching = Watching("translate")
    path = tmp_path / "out.npz"

    pipeline = Pipeline(source(), [interpolate, growing, aggregate], ArraySink(path))

    RayRunner(settings, progress=watching).run(pipeline)

    assert watching.sizes[0] == 1
    assert max(watching.sizes) > 1
    assert max(watching.sizes) <= 3
    # Two chunks of two frames and one beyond for each replica, of the pool that interpolates too.
    most = 2 * (3 + 1) * (2 + 1) * bytes_per_frame(pipeline, pipeline.source.info())
    assert 0 < max(watching.in_flight_bytes) <= most
    assert_same(path, expected)
