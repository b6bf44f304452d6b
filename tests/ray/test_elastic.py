"""Pools that grow while work waits and shrink when it does not."""

from pathlib import Path

import pytest
from agreement import Output, Watching, assert_same, source, stages
from parts import Gate, Wavy
from streams import ArraySink
from torch import Tensor

from operators.frame import Frame
from pipeline.bounds import Bounds
from pipeline.io.endpoint import Sink
from pipeline.ray_runner import RayRunner
from pipeline.ray_settings import RaySettings
from pipeline.sizing import bytes_per_frame
from pipeline.stage import Pipeline
from pipeline.tally import JobState

# Written before the sink has to wait.
NUM_WRITTEN = 14

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240), pytest.mark.usefixtures("cluster")]


class Held(Wavy):
    """A translator that has everything waiting until its pool has grown."""

    def __init__(self, has_grown: Gate) -> None:
        super().__init__()
        self._has_grown = has_grown

    def __call__(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        self._has_grown.wait()
        return super().__call__(images, masks)


class HeldSink(ArraySink):
    """A sink that leaves everybody without work until the pool of the translator has shrunk."""

    def __init__(self, path: Path, has_shrunk: Gate) -> None:
        super().__init__(path)
        self._has_shrunk = has_shrunk

    def segment(self, path: Path) -> Sink:
        return HeldSink(path, self._has_shrunk)

    def write(self, frame: Frame) -> None:
        if frame.index >= NUM_WRITTEN:
            self._has_shrunk.wait()
        super().write(frame)


class Turnstile(Watching):
    """Opens the gates when the pool of the translator has grown, and when it has shrunk again."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.has_grown = Gate(folder / "has grown")
        self.has_shrunk = Gate(folder / "has shrunk")

    def show(self, state: JobState) -> None:
        super().show(state)
        sizes = self.sizes("translate")
        if max(sizes, default=1) > 1:
            self.has_grown.open()
            if sizes[-1] == 1:
                self.has_shrunk.open()


def test_a_pool_grows_while_work_waits(tmp_path: Path, expected: Output) -> None:
    settings = RaySettings(segment_frames=7, chunk_frames=2, device="cpu", grow_after_s=0.5)
    watching = Turnstile(tmp_path)
    path = tmp_path / "out.npz"
    translator = Held(watching.has_grown)
    pipeline = Pipeline(source(), stages(translator, Bounds(1, 3)), ArraySink(path))

    RayRunner(settings, progress=watching).run(pipeline)

    sizes = watching.sizes("translate")
    assert sizes[0] == 1
    assert 1 < max(sizes) <= 3
    # Two chunks of two frames and one beyond for each replica, of the pool that interpolates too.
    most = 2 * (3 + 1) * (2 + 1) * bytes_per_frame(pipeline, pipeline.source.info())
    assert 0 < max(state.in_flight_bytes for state in watching.states) <= most
    assert_same(path, expected)


def test_a_pool_shrinks_while_another_stage_keeps_all_waiting(
    tmp_path: Path, expected: Output
) -> None:
    settings = RaySettings(
        segment_frames=7, chunk_frames=1, device="cpu", grow_after_s=0.5, idle_s=1, lanes=1
    )
    watching = Turnstile(tmp_path)
    path = tmp_path / "out.npz"
    chain = stages(Held(watching.has_grown), Bounds(1, 3))

    RayRunner(settings, progress=watching).run(
        Pipeline(source(), chain, HeldSink(path, watching.has_shrunk))
    )

    sizes = watching.sizes("translate")
    peak = max(sizes)
    assert sizes[0] == 1 < peak <= 3
    assert 1 in sizes[sizes.index(peak) :]
    assert_same(path, expected)
