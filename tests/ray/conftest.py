"""One Ray session for all tests of the engine, with tests' modules on the workers' path."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """A session of this machine with room for several replicas; nothing here needs real cores."""
    ray.init(
        address="local",
        num_cpus=16,
        num_gpus=0,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=400 * 2**20,
        runtime_env={
            "env_vars": {"PYTHONPATH": ":".join(map(str, (TESTS.parent, TESTS, TESTS / "ray")))}
        },
    )
    yield
    ray.shutdown()
