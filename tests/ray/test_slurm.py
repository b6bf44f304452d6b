"""The Slurm script, with a Slurm of one machine: its nodes are processes here."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from clips import read_back, write_clip

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
# Options of srun end with the first word that is none.
SRUN = '#!/bin/bash\nwhile [[ $1 == --* ]]; do shift; done\nexec "$@"\n'
SCONTROL = "#!/bin/bash\nprintf 'node%s\\n' 1 2\n"
HOSTNAME = "#!/bin/bash\necho 127.0.0.1\n"


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What Slurm tells a batch job of two nodes."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in {"srun": SRUN, "scontrol": SCONTROL, "hostname": HOSTNAME}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    yield kept | {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "VENV": str(Path(sys.executable).parents[1]),
        "OMP_NUM_THREADS": "1",
        "SLURM_SUBMIT_DIR": str(ROOT),
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_ON_NODE": "2",
    }
    # The script leaves Ray's logs there.
    shutil.rmtree(f"/tmp/ray-{os.getpid()}", ignore_errors=True)  # noqa: S108


def sbatch(environment: dict[str, str], *words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - a file of this project
        ["bash", str(ROOT / "deploy" / "slurm.sh"), *map(str, words), "--device", "cpu"],  # noqa: S607
        env=environment,
        cwd=environment["HOME"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def left_of_ray(environment: dict[str, str]) -> list[str]:
    """Command lines of the job's Ray that are still there when all had time to go.

    Those who end when their parent has ended look for it now and then.
    """
    until = time.monotonic() + 30
    while (left := ray_processes(environment)) and time.monotonic() < until:
        time.sleep(0.5)
    return left


def ray_processes(environment: dict[str, str]) -> list[str]:
    """Command lines of the job's Ray, which all name its folder."""
    folder = f"/ray-{environment['SLURM_JOB_ID']}/"
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = place.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if folder in line:
            found.append(line)
    return found


def test_a_batch_job_runs_on_all_its_nodes_and_leaves_nothing_behind(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """The script itself waits until both nodes are there, and gives up if they are not."""
    clip, out = write_clip(tmp_path / "in.mp4"), tmp_path / "out.mp4"

    job = sbatch(environment, clip, out, "--insert", "1", "--translate-replicas", "3")
    stdout, stderr = job.communicate(timeout=240)

    assert job.returncode == 0, stdout + stderr
    assert len(read_back(out)[0]) == 8
    assert left_of_ray(environment) == []


def test_a_batch_job_ends_as_its_run_ends(environment: dict[str, str], tmp_path: Path) -> None:
    one_node = environment | {"SLURM_JOB_NUM_NODES": "1"}

    job = sbatch(one_node, tmp_path / "missing.mp4", tmp_path / "out.mp4")
    stdout, stderr = job.communicate(timeout=240)

    assert job.returncode == 4, stdout + stderr
    assert "missing.mp4" in stderr
    assert left_of_ray(environment) == []


def test_at_the_time_limit_the_run_is_ended_and_its_segments_are_kept(
    environment: dict[str, str], tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "in.mp4", pts=range(600), size=(240, 320))
    one_node = environment | {"SLURM_JOB_NUM_NODES": "1"}

    job = sbatch(one_node, clip, tmp_path / "out.mp4", "--segment-frames", "4")
    journals = (tmp_path / ".out.mp4.segments").glob
    deadline_s = time.monotonic() + 120
    while not any(journals("*/journal.jsonl")) and time.monotonic() < deadline_s:
        time.sleep(0.2)
    job.send_signal(signal.SIGTERM)
    stdout, stderr = job.communicate(timeout=60)

    assert job.returncode == 143, stdout + stderr
    assert any(journals("*/journal.jsonl"))
    assert left_of_ray(environment) == []
