"""Memory that runs out: of a device, of the object store, of a process."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ray
import torch
from agreement import SHORT, Output, assert_same, source, stages
from parts import Flags, Greedy, Leaky, Wavy
from streams import ArraySink, ListSource, frames_of, moving, read_arrays

from pipeline.errors import QuarantineError
from pipeline.local_runner import LocalRunner
from pipeline.memory import own_memory
from pipeline.ray_runner import RayRunner
from pipeline.ray_settings import RaySettings
from pipeline.stage import Pipeline

STALL_S = 15
MOST_THEFTS = 3

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


@pytest.mark.usefixtures("cluster")
def test_a_process_that_leaks_is_replaced_before_it_holds_too_much(
    tmp_path: Path, expected: Output, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "out.npz"
    settings = replace(SHORT, worker_bytes=held_by_a_worker() + 60 * 2**20)

    report = RayRunner(settings).run(Pipeline(source(), stages(Leaky(), 1), ArraySink(path)))

    assert "is replaced: it holds" in caplog.text
    assert report.retries == 0
    assert_same(path, expected)


def held_by_a_worker() -> int:
    """What a process of the engine holds before it has done anything worth mentioning."""
    measured = ray.remote(Measuring).remote()
    return ray.get(measured.held.remote())


class Measuring:
    """Imports and computes what a worker does."""

    def held(self) -> int:
        """Bytes."""
        Wavy()(torch.rand(4, 3, 24, 32))
        return own_memory()


@contextmanager
def thief(folder: Path, is_noticed: Callable[[], bool]) -> Iterator[list[str]]:
    """Somebody who deletes what went to disk, until that is noticed; the files' names."""
    stolen: list[str] = []
    is_over = threading.Event()

    def steal() -> None:
        while not is_over.wait(0.02) and not is_noticed():
            for path in (one for one in folder.rglob("*") if one.is_file()):
                try:
                    path.unlink()
                except FileNotFoundError:
                    continue
                stolen.append(path.name)
                if len(stolen) % 2 == 0:
                    # What is nobody's loss any more is not noticed.
                    is_over.wait(2 * STALL_S)
                    break

    thread = threading.Thread(target=steal)
    thread.start()
    try:
        yield stolen
    finally:
        is_over.set()
        thread.join()


@pytest.mark.slow
def test_objects_that_are_lost_from_disk_are_made_again(
    tmp_path: Path, small_store: int, spill: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of these Ray says nothing: whoever is to be given one waits for ever."""
    frames = frames_of(moving(24, 240, 320))
    paths = [tmp_path / name for name in ("local.npz", "ray.npz")]
    translator = Wavy(seconds=0.1)
    pipelines = [Pipeline(ListSource(frames), stages(translator), ArraySink(p)) for p in paths]
    LocalRunner("cpu", segment_frames=6).run(pipelines[0])
    expected = read_arrays(paths[0])
    refs = [ray.put(np.ones(int(0.1 * small_store), np.uint8)) for _ in range(8)]
    # What is being looked at stays in the store.
    held = ray.get(refs)
    settings = RaySettings(segment_frames=6, chunk_frames=6, device="cpu", stall_s=STALL_S)

    def is_noticed() -> bool:
        return "made no progress" in caplog.text or "did not come" in caplog.text

    # What is stolen may be what nobody needs any more; then it is tried again.
    for _ in range(MOST_THEFTS):
        with thief(spill, is_noticed) as stolen:
            RayRunner(settings).run(pipelines[1])
        assert stolen
        assert_same(paths[1], expected)
        if is_noticed():
            break

    assert len(held) == len(refs)
    assert is_noticed()


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
