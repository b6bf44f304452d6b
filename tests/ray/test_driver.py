"""A driver that dies on a cluster that goes on: of its job only finished segments are left."""

import os
import signal
import time
from pathlib import Path

import killed_job
import pytest
import ray
from agreement import SHORT, Output, assert_same, source, stages
from parts import Wavy
from ray._private.state import actors
from ray.cluster_utils import Cluster
from streams import ArraySink
from three_nodes import PATHS, connect

from pipeline.ray_runner import RayRunner
from pipeline.stage import Pipeline

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

DEADLINE_S = 120


def test_a_cluster_ends_the_job_of_a_dead_driver_and_takes_the_same_again(
    tmp_path: Path, expected: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.npz"
    # Of the nodes too, which start the workers.
    monkeypatch.setenv("PYTHONPATH", PATHS)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4})
    try:
        job = killed_job.begun(path, RAY_ADDRESS=cluster.address)
        os.kill(job.pid, signal.SIGKILL)
        job.wait()
        connect(cluster)
        until = time.monotonic() + DEADLINE_S
        while any(actor["State"] != "DEAD" for actor in actors().values()):
            assert time.monotonic() < until
            time.sleep(0.5)
        assert not path.exists()

        report = RayRunner(SHORT, key="killed").run(
            Pipeline(source(), stages(Wavy()), ArraySink(path))
        )
    finally:
        ray.shutdown()
        cluster.shutdown()

    assert report.frames_resumed >= 7
    assert_same(path, expected)
