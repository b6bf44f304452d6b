"""Memory that runs out: of a device, of the object store, of a process."""

from pathlib import Path

import numpy as np
import pytest
import ray
from agreement import SHORT, Output, assert_same, source, stages
from parts import Flags, Greedy, Wavy
from streams import ArraySink, ListSource, frames_of, moving, read_arrays

from pipeline.errors import QuarantineError
from pipeline.local_runner import LocalRunner
from pipeline.ray_runner import RayRunner
from pipeline.stage import Pipeline
from pipeline.video_job import RaySettings

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]


@pytest.mark.usefixtures("cluster")
def test_a_process_that_ran_out_of_memory_is_replaced(
    tmp_path: Path, expected: Output, flags: Flags
) -> None:
    flags.raise_("memory")
    path = tmp_path / "out.npz"

    report = RayRunner(SHORT).run(Pipeline(source(), stages(Greedy(flags)), ArraySink(path)))

    assert flags.left() == []
    assert report.retries == 1
    assert_same(path, expected)


@pytest.mark.usefixtures("cluster")
def test_too_little_memory_is_said_so_and_ends(tmp_path: Path) -> None:
    pipeline = Pipeline(source(), stages(Greedy(None)), ArraySink(tmp_path / "out.npz"))

    with pytest.raises(QuarantineError, match=r"failed 3 times: .* out of memory; a smaller"):
        RayRunner(SHORT).run(pipeline)


def test_a_full_object_store_slows_down_and_loses_nothing(
    tmp_path: Path, small_store: float
) -> None:
    """Somebody else holds most of the store: what does not fit waits or goes to disk."""
    frames = frames_of(moving(24, 240, 320))
    paths = [tmp_path / name for name in ("local.npz", "ray.npz")]
    pipelines = [Pipeline(ListSource(frames), stages(Wavy()), ArraySink(path)) for path in paths]
    LocalRunner("cpu", segment_frames=6).run(pipelines[0])
    held = [ray.put(np.ones(int(0.1 * small_store), np.uint8)) for _ in range(9)]

    RayRunner(RaySettings(segment_frames=6, chunk_frames=6, device="cpu")).run(pipelines[1])

    assert len(held) == 9
    assert_same(paths[1], read_arrays(paths[0]))
