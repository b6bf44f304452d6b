"""From a configuration to a pipeline: the composition root."""

import hashlib
import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import cuda

from operators.accelerate import Acceleration
from operators.models.registry import entries
from operators.translators.load import load_translator, model_file
from operators.translators.traits import TraitOverrides
from pipeline.config import Config, config_hash
from pipeline.errors import UsageError
from pipeline.io.cut_detector import DetectedCuts
from pipeline.io.cuts import Cuts, ListedCuts
from pipeline.io.endpoint import Sink, Source, StreamInfo
from pipeline.io.identity import input_identity
from pipeline.io.locations import open_sink, open_source, require_distinct
from pipeline.io.masks import MaskedSource
from pipeline.io.video_sink import VideoSink
from pipeline.patience import watched
from pipeline.recipes import blind_consistency, framewise, hypercon, vinet
from pipeline.stage import Pipeline, Stage
from pipeline.wire import Wire

log = logging.getLogger(__name__)


def build_pictures(config: Config, path: Path) -> Source:
    """The input of a run without masks.

    Args:
        config: What is to be done.
        path: A video file or a folder of images.
    """
    return open_source(
        path,
        start=config.source.start,
        frames=config.source.frames,
        size=config.source.size,
        rate=config.source.rate,
        keep_hdr=config.source.hdr == "keep",
        keep_damaged=config.source.on_error == "keep",
        hwaccel=config.source.hwaccel,
    )


def build_source(config: Config, path: Path) -> Source:
    """The input of a run, with its masks if there are any.

    Args:
        config: What is to be done.
        path: A video file or a folder of images.
    """
    source = build_pictures(config, path)
    if config.mask.path is None:
        return source
    return MaskedSource(
        source,
        config.mask.path,
        invert=config.mask.invert,
        threshold=config.mask.threshold,
        dilate=config.mask.dilate,
        start=config.source.start,
    )


def build_cuts(config: Config) -> Cuts | None:
    """What knows the cuts of the input; None where no frame depends on another, or on request.

    Raises:
        InputError: If there is a list of cuts that is none.
    """
    if config.shots.file is not None:
        return ListedCuts(config.shots.file, start=config.source.start, frames=config.source.frames)
    return DetectedCuts() if config.shots.detect and config.reads_neighbours else None


def build_acceleration(config: Config) -> Acceleration:
    """How networks are made faster. What was compiled is recorded too, where that is possible.

    Raises:
        UsageError: If half precision is asked for on the CPU.
    """
    # Elsewhere it is known only when a worker is set up, which refuses in a line of its own.
    is_here = config.run.engine == "local" and not cuda.is_available()
    if config.run.precision == "float16" and (config.run.device == "cpu" or is_here):
        msg = "--precision must be float32 where there is no CUDA, got float16"
        raise UsageError(msg)
    compiles = config.run.compile
    return Acceleration(config.run.precision, compile=compiles, cuda_graphs=compiles)


def build_stages(config: Config) -> tuple[Stage, ...]:
    """The stages of a run.

    Raises:
        ModelError: If a name means no model.
        UsageError: If the method needs masks and there are none, or the precision another device.
    """
    is_masked = config.mask.path is not None
    chosen, weights = config.translate, config.run.weights
    acceleration = build_acceleration(config)
    if config.method == "vinet":
        if not is_masked:
            msg = "--mask must be given for --method vinet, which fills masked videos, got none"
            raise UsageError(msg)
        return vinet(chosen.model, weights=weights, acceleration=acceleration)
    translator = load_translator(
        chosen.model,
        TraitOverrides(channels=chosen.channels, scale=chosen.scale, multiple=chosen.multiple),
        value_range=chosen.value_range,
        # Who names CUDA wants CUDA, or to be told; auto takes what there is.
        providers=("CUDAExecutionProvider",) if config.run.device.startswith("cuda") else None,
        weights=weights,
        acceleration=acceleration,
    )
    batch = chosen.batch
    if config.method == "framewise":
        return framewise(translator, batch=batch, masked=is_masked)
    if config.method == "blind-consistency":
        return blind_consistency(
            translator, batch=batch, weights=weights, acceleration=acceleration
        )
    return hypercon(
        translator,
        insert=config.interpolate.insert,
        radius=config.aggregate.radius,
        dilation=config.aggregate.dilation,
        pool=config.aggregate.pool,
        alignment=config.aggregate.alignment,
        flow_on=config.aggregate.flow_on,
        flow=config.interpolate.flow,
        interpolation=config.interpolate.interpolator,
        consistency=config.aggregate.consistency,
        strength=config.aggregate.strength,
        batch=batch,
        masked=is_masked,
        weights=weights,
        acceleration=acceleration,
    )


def require_here(device: str, num_cuda: int, sink: Sink) -> None:
    """Require that this machine has what one process on it is to use, before anything is done.

    Args:
        device: As the configuration names it.
        num_cuda: CUDA devices of this machine.
        sink: Where frames go.

    Raises:
        UsageError: If a device is named that it has not got, or an encoder whose card it has not.
    """
    kind, _, number = device.partition(":")
    if kind == "cuda" and int(number or 0) >= num_cuda:
        msg = f"--device must be a device of this machine, which has {num_cuda} CUDA, got {device}"
        raise UsageError(msg)
    if isinstance(sink, VideoSink):
        sink.require_card()


def placed(config: Config, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """The stages with what the configuration says of their place on a cluster."""
    said: dict[str, dict[str, Any]] = {
        name: {"replicas": group.replicas, "num_gpus": group.gpus, "num_cpus": group.cpus}
        for name, group in (("interpolate", config.interpolate), ("translate", config.translate))
    }
    said["aggregate"] = {"num_gpus": config.aggregate.gpus}
    result = []
    for stage in stages:
        asked = {key: value for key, value in said.get(stage.name, {}).items() if value is not None}
        result.append(replace(stage, resources=replace(stage.resources, **asked)))
    return tuple(result)


def run_key(config: Config, source: Path) -> str | None:
    """Names settings and input, so that a run takes over only segments of the same.

    Args:
        config: What is to be done.
        source: The input.

    Returns:
        None where the user asked to start over.

    Raises:
        InputError: If the input cannot be read.
    """
    if config.output.overwrite:
        return None
    identity = [config_hash(config), input_identity(source)]
    if config.mask.path is not None:
        identity.append(input_identity(config.mask.path))
    model = model_file(config.translate.model)
    if model is not None:
        identity.append(input_identity(model))
    identity += [input_identity(path) for path in _weights_of(config)]
    if config.shots.file is not None:
        identity.append(input_identity(config.shots.file))
    return hashlib.sha256("".join(identity).encode()).hexdigest()[:32]


def _weights_of(config: Config) -> list[Path]:
    """The weight files of the models that are named, as far as they are on this machine."""
    interpolate = config.interpolate
    names = {config.translate.model, interpolate.flow, interpolate.interpolator}
    if config.method == "blind-consistency":
        names.add("lai")
    found = [entry.found(config.run.weights) for entry in entries() if entry.name in names]
    return [path for path in found if path is not None]


def _tell_unused_device(config: Config, cuts: Cuts | None) -> None:
    """Say so where a device is asked for by name, but cannot be sure of what it decodes."""
    if config.source.hwaccel.startswith("cuda") and not isinstance(cuts, DetectedCuts):
        log.warning(
            "--hwaccel %s has no effect: only what was looked at for cuts is known to be whole, "
            "and damage does not show on a device",
            config.source.hwaccel,
        )


def build_pipeline(config: Config, source: Path, sink: Path) -> Pipeline:
    """The whole pipeline of a run. The input is looked at, but no model is loaded yet.

    Args:
        config: What is to be done.
        source: A video file or a folder of images.
        sink: A video file or, if its name has no extension, a folder of images.

    Raises:
        HyperConError: If an end cannot be used.
        ModelError: If a name means no model.
    """
    opened = partial(_opened, config, source, sink)
    frames_in, info = watched(opened, config.run.stall_s, str(source))
    frames_out = open_sink(
        sink,
        overwrite=config.output.overwrite,
        codec=config.output.codec,
        crf=config.output.crf,
        preset=config.output.preset,
        pix_fmt=config.output.pix_fmt,
        options=config.output.options,
    )
    stages = build_stages(config)
    cuts = build_cuts(config)
    _tell_unused_device(config, cuts)
    is_deep = max(info.depth, frames_out.depth(info)) > 8
    return Pipeline(
        source=frames_in,
        stages=placed(config, stages),
        sink=frames_out,
        wire=Wire(picture="uint16" if is_deep else "uint8", flow=config.interpolate.flow_format),
        cuts=cuts,
    )


def _opened(config: Config, source: Path, sink: Path) -> tuple[Source, StreamInfo]:
    require_distinct(source, sink)
    frames_in = build_source(config, source)
    return frames_in, frames_in.info()
