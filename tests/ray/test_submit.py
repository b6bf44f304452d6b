"""A command sent to a real cluster: what comes back, and what lies where it was asked for."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from clips import read_back, write_clip

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
SETTINGS = ("--insert", "1", "--radius", "1", "--segment-frames", "4", "--device", "cpu")


@dataclass(frozen=True)
class LocalCluster:
    """A cluster of this machine alone.

    Attributes:
        address: Of its dashboard.
        environment: What a client's process needs, the token included.
    """

    address: str
    environment: dict[str, str]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def answers(address: str) -> bool:
    try:
        urllib.request.urlopen(f"{address}/api/version", timeout=5)  # noqa: S310 - loopback
    except urllib.error.HTTPError:
        return True  # It wants the token.
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """A head with ports, a folder and a token of its own, ended through its own process."""
    # Ray puts sockets there, whose names may be a hundred characters long at most.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    port = free_port()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment |= {
        # The job's `python` is this one, whatever is first on the path elsewhere.
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    words = (
        "start --head --block --port=0 --node-ip-address=127.0.0.1 --num-cpus=4 --num-gpus=0 "
        f"--dashboard-port={port} --ray-client-server-port={free_port()} "
        f"--dashboard-agent-listen-port={free_port()} --object-store-memory=200000000 "
        f"--temp-dir={folder}"
    )
    command = [str(Path(sys.executable).with_name("ray")), *words.split()]
    with Path(folder, "head.log").open("wb") as output:
        head = subprocess.Popen(  # noqa: S603 - ray, of this very environment
            command, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        address = f"http://127.0.0.1:{port}"
        deadline_s = time.monotonic() + 120
        while not answers(address):
            log = Path(folder, "head.log").read_text(errors="replace")
            assert head.poll() is None, log
            assert time.monotonic() < deadline_s, log
            time.sleep(0.5)
        yield LocalCluster(address, environment)
    finally:
        head.send_signal(signal.SIGTERM)
        head.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def hypercon(
    cluster: LocalCluster, *words: object, **changes: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - this very interpreter
        [sys.executable, "-m", "pipeline.cli", *map(str, words)],
        cwd=ROOT,
        env=cluster.environment | changes,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_a_submitted_run_gives_what_a_local_run_gives(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "in.mp4", pts=range(10))
    here, there = tmp_path / "here.mp4", tmp_path / "there.mp4"

    local = hypercon(cluster, "run", clip, here, "--engine", "local", *SETTINGS)
    # An address that was given counts more than one from the environment.
    sent = hypercon(
        cluster,
        *("submit", "--address", cluster.address, "--", "run", clip, there, *SETTINGS),
        RAY_ADDRESS="127.0.0.1:1",
    )

    assert (local.returncode, sent.returncode) == (0, 0), local.stderr + sent.stderr
    job_id = sent.stdout.strip()
    assert f"Running entrypoint for job {job_id}" in sent.stderr
    times, pictures = read_back(there)
    assert times == read_back(here)[0]
    assert len(times) == 10
    np.testing.assert_array_equal(pictures, read_back(here)[1])


def test_the_exit_code_is_that_of_the_job(cluster: LocalCluster, tmp_path: Path) -> None:
    missing = tmp_path / "missing.mp4"

    sent = hypercon(
        cluster, "submit", "--address", cluster.address, "--", "run", missing, tmp_path / "out.mp4"
    )

    assert sent.returncode == 4, sent.stderr
    assert "missing.mp4" in sent.stderr.splitlines()[-1]


def test_a_job_runs_on_the_cluster_that_it_was_sent_to(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    """Only the Ray engine, on this cluster, can miss what this cluster has not."""
    clip = write_clip(tmp_path / "in.mp4")
    words = ("submit", "--address", cluster.address, "run", clip, tmp_path / "out.mp4")

    sent = hypercon(cluster, *words, "--translate-replicas", "1", "--translate-gpus", "2")

    assert sent.returncode == 7, sent.stderr
    assert "'translate' must find 2 GPU on the cluster, got 0" in sent.stderr.splitlines()[-1]


def test_a_wrong_token_is_said_in_one_line(cluster: LocalCluster) -> None:
    sent = hypercon(
        cluster,
        *("submit", "--address", cluster.address, "--", "run", "/in.mp4", "/out.mp4"),
        RAY_AUTH_TOKEN="0" * 32,
    )

    (line,) = sent.stderr.splitlines()
    assert sent.returncode == 7
    assert line.startswith(f"hypercon: error: cluster {cluster.address} must be given its token")


def test_a_cluster_that_is_not_there_is_exit_code_seven(cluster: LocalCluster) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"

    sent = hypercon(cluster, "submit", "--address", nobody, "--", "run", "/in.mp4", "/out.mp4")

    (line,) = sent.stderr.splitlines()
    assert sent.returncode == 7
    assert line.startswith(f"hypercon: error: cluster {nobody} must answer")


def test_after_ctrl_c_the_job_goes_on_and_can_be_stopped(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    """The job is a run of a clip that takes longer than the test."""
    clip = write_clip(tmp_path / "in.mp4", pts=range(400), size=(240, 320))
    words = ("submit", "--address", cluster.address, "--", "run", clip, tmp_path / "out.mp4")
    with subprocess.Popen(  # noqa: S603 - this very interpreter
        [sys.executable, "-m", "pipeline.cli", *map(str, words), *SETTINGS],
        cwd=ROOT,
        env=cluster.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as client:
        assert client.stdout is not None
        job_id = client.stdout.readline().strip()
        time.sleep(2)
        client.send_signal(signal.SIGINT)
        stderr = client.communicate(timeout=60)[1]

    assert client.returncode == 130
    assert f"job {job_id} goes on" in stderr.splitlines()[-1]
    ray = [str(Path(sys.executable).with_name("ray")), "job"]
    at = ["--address", cluster.address, job_id]

    def job(verb: str) -> str:
        return subprocess.run(  # noqa: S603 - ray, of this very environment
            [*ray, verb, *at], env=cluster.environment, capture_output=True, text=True, check=True
        ).stdout

    assert any(state in job("status") for state in ("PENDING", "RUNNING"))
    job("stop")
    assert "was stopped" in job("status")
