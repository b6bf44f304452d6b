"""A Ray session for each file of tests, with tests' modules on the workers' path."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from agreement import Output, source, stages
from parts import Flags, Wavy
from streams import ArraySink, read_arrays
from three_nodes import PATHS

from pipeline.local_runner import LocalRunner
from pipeline.ray_runner import start_session
from pipeline.stage import Pipeline


def session(store_mib: int, spill: Path | None = None) -> None:
    """Start a session as users get it, with room for several replicas; none needs real cores.

    Args:
        store_mib: Room for objects.
        spill: Where those go for which there is no room.
    """
    start_session(
        PATHS,
        num_cpus=16,
        num_gpus=0,
        object_store_memory=store_mib * 2**20,
        object_spilling_directory=None if spill is None else str(spill),
    )


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A session with an object store that is large enough."""
    session(store_mib=400)
    yield
    ray.shutdown()


@pytest.fixture
def spill(tmp_path: Path) -> Path:
    """Where objects go for which the small store has no room."""
    folder = tmp_path / "spill"
    folder.mkdir()
    return folder


@pytest.fixture
def small_store(spill: Path) -> Iterator[int]:
    """A session whose object store is as small as Ray allows; its bytes."""
    ray.shutdown()
    session(store_mib=80, spill=spill)
    yield 80 * 2**20
    ray.shutdown()


@pytest.fixture
def flags(tmp_path: Path) -> Flags:
    """Misdeeds to ask for."""
    folder = tmp_path / "flags"
    folder.mkdir()
    return Flags(folder)


@pytest.fixture(scope="session")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Output:
    """What the local runner makes."""
    path = tmp_path_factory.mktemp("local") / "out.npz"
    LocalRunner("cpu").run(Pipeline(source(), stages(Wavy()), ArraySink(path)))
    return read_arrays(path)
