"""A cluster that starts machines when they are asked for: a pool that grows asks."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from agreement import Output, assert_same
from three_nodes import PATHS

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]

# Where the machines of Ray's stand-in for a cloud look for their head; it cannot be told.
PORT = 6379
# Ray's own stand-in for a cloud: machines are processes on this one.
GPU_MACHINE = {"resources": {"CPU": 1, "GPU": 1}, "min_workers": 0, "max_workers": 2}
CLOUD = {
    "cluster_name": "growing",
    "max_workers": 2,
    "upscaling_speed": 1.0,
    "idle_timeout_minutes": 5,
    "provider": {"type": "fake_multinode"},
    "auth": {},
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 2}, "node_config": {}, "max_workers": 0},
        "gpu": GPU_MACHINE | {"node_config": {}},
    },
    "head_node_type": "ray.head.default",
    "file_mounts": {},
    "cluster_synced_files": [],
    "file_mounts_sync_continuously": False,
    "rsync_exclude": [],
    "rsync_filter": [],
    "initialization_commands": [],
    "setup_commands": [],
    "head_setup_commands": [],
    "worker_setup_commands": [],
    "head_start_ray_commands": [],
    "worker_start_ray_commands": [],
}


@pytest.fixture
def cluster_that_grows() -> Iterator[dict[str, str]]:
    """A head without GPUs, and machines of one declared GPU each as they are asked for."""
    with socket.socket() as taken:
        if taken.connect_ex(("127.0.0.1", PORT)) == 0:
            pytest.skip(f"port {PORT} is taken")
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    (folder / "cloud.yaml").write_text(json.dumps(CLOUD))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment |= {
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_FAKE_CLUSTER": "1",
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": PATHS,
    }
    words = (
        f"start --head --block --port={PORT} --num-cpus=2 --num-gpus=0 "
        f"--include-dashboard=false --object-store-memory=200000000 --temp-dir={folder} "
        f"--autoscaling-config={folder / 'cloud.yaml'}"
    )
    command = [str(Path(sys.executable).with_name("ray")), *words.split()]
    with (folder / "head.log").open("wb") as output:
        head = subprocess.Popen(  # noqa: S603 - ray, of this very environment
            command, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        written = folder / "ray_current_cluster"
        deadline_s = time.monotonic() + 120
        while not written.exists():
            assert head.poll() is None, (folder / "head.log").read_text()
            assert time.monotonic() < deadline_s, (folder / "head.log").read_text()
            time.sleep(0.5)
        yield environment | {"RAY_ADDRESS": written.read_text().strip()}
    finally:
        head.send_signal(signal.SIGTERM)
        head.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def test_a_machine_is_started_for_a_pool_that_asks_for_it(
    tmp_path: Path, expected: Output, cluster_that_grows: dict[str, str]
) -> None:
    path = tmp_path / "out.npz"

    done = subprocess.run(  # noqa: S603 - this very interpreter
        [sys.executable, Path(__file__).with_name("growing_job.py"), path],
        env=cluster_that_grows,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["before"] == 0
    # The second machine may come too late to be of use.
    assert told["workers"] >= 1
    assert told["then"] >= 1
    assert_same(path, expected)
