"""A job that is slow enough to be killed half way. Run by a test, with the output as argument."""

import sys
from pathlib import Path

from agreement import SHORT, source, stages
from parts import Wavy
from streams import ArraySink

from pipeline.ray_runner import RayRunner
from pipeline.stage import Pipeline

if __name__ == "__main__":
    slow = Wavy(seconds=0.5)
    RayRunner(SHORT, key="killed").run(
        Pipeline(source(), stages(slow), ArraySink(Path(sys.argv[1])))
    )
