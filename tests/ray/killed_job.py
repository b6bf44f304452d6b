"""A job that is slow enough to be killed half way. Run by a test, with the output as argument."""

import os
import subprocess
import sys
import time
from pathlib import Path

from agreement import SHORT, source, stages
from parts import Wavy
from streams import ArraySink

from pipeline.ray_runner import RayRunner
from pipeline.stage import Pipeline

DEADLINE_S = 120


def begun(path: Path, **environment: str) -> "subprocess.Popen[bytes]":
    """The job in a session of its own, once a segment of it is finished."""
    tests = Path(__file__).parents[1]
    paths = {"PYTHONPATH": f"{tests.parent}:{tests}:{tests / 'ray'}"}
    job = subprocess.Popen(  # noqa: S603 - this very interpreter and this very file
        [sys.executable, __file__, str(path)],
        env=os.environ | paths | environment,
        start_new_session=True,
    )
    until = time.monotonic() + DEADLINE_S
    while not any(
        "\n" in journal.read_text()
        for journal in path.parent.glob(f".{path.name}.segments/*/journal.jsonl")
    ):
        assert time.monotonic() < until
        time.sleep(0.1)
    return job


if __name__ == "__main__":
    slow = Wavy(seconds=0.5)
    RayRunner(SHORT, key="killed").run(
        Pipeline(source(), stages(slow), ArraySink(Path(sys.argv[1])))
    )
