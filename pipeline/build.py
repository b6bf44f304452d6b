"""From a configuration to a pipeline: the composition root."""

import hashlib
from dataclasses import replace
from pathlib import Path

from operators.translators.load import load_translator
from operators.translators.traits import TraitOverrides
from pipeline.config import Config, config_hash
from pipeline.errors import UsageError
from pipeline.io.endpoint import Source
from pipeline.io.locations import open_sink, open_source, require_distinct
from pipeline.io.masks import MaskedSource
from pipeline.io.segments import input_identity
from pipeline.recipes import blind_consistency, framewise, hypercon, vinet
from pipeline.stage import Pipeline, Resources, Stage
from pipeline.wire import Wire


def build_source(config: Config, path: Path) -> Source:
    """The input of a run, with its masks if there are any.

    Args:
        config: What is to be done.
        path: A video file or a folder of images.
    """
    source = open_source(
        path,
        start=config.source.start,
        frames=config.source.frames,
        size=config.source.size,
        rate=config.source.rate,
    )
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


def build_stages(config: Config) -> tuple[Stage, ...]:
    """The stages of a run.

    Raises:
        ModelError: If a name means no model.
        UsageError: If the method needs masks and there are none.
    """
    is_masked = config.mask.path is not None
    chosen, weights = config.translate, config.run.weights
    if config.method == "vinet":
        if not is_masked:
            msg = "--mask must be given for --method vinet, which fills masked videos, got none"
            raise UsageError(msg)
        return vinet(chosen.model, weights=weights)
    translator = load_translator(
        chosen.model,
        TraitOverrides(channels=chosen.channels, scale=chosen.scale, multiple=chosen.multiple),
        value_range=chosen.value_range,
        # Who names CUDA wants CUDA, or to be told; auto takes what there is.
        providers=("CUDAExecutionProvider",) if config.run.device.startswith("cuda") else None,
        weights=weights,
    )
    batch = chosen.batch
    if config.method == "framewise":
        return framewise(translator, batch=batch, masked=is_masked)
    if config.method == "blind-consistency":
        return blind_consistency(translator, batch=batch, weights=weights)
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
    )


def placed(config: Config, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """The stages with what the configuration says of their place on a cluster."""
    resources = {
        "interpolate": Resources(replicas=config.interpolate.replicas),
        "translate": Resources(replicas=config.translate.replicas, num_gpus=config.translate.gpus),
    }
    return tuple(
        replace(stage, resources=resources.get(stage.name, stage.resources)) for stage in stages
    )


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
    model = Path(config.translate.model)
    if model.is_file():
        identity.append(input_identity(model))
    return hashlib.sha256("".join(identity).encode()).hexdigest()[:32]


def build_pipeline(config: Config, source: Path, sink: Path) -> Pipeline:
    """The whole pipeline of a run. Nothing is opened and no model is loaded yet.

    Args:
        config: What is to be done.
        source: A video file or a folder of images.
        sink: A video file or, if its name has no extension, a folder of images.

    Raises:
        HyperConError: If an end cannot be used.
        ModelError: If a name means no model.
    """
    require_distinct(source, sink)
    return Pipeline(
        source=build_source(config, source),
        stages=placed(config, build_stages(config)),
        sink=open_sink(
            sink,
            overwrite=config.output.overwrite,
            codec=config.output.codec,
            crf=config.output.crf,
            preset=config.output.preset,
            pix_fmt=config.output.pix_fmt,
            options=config.output.options,
        ),
        wire=Wire(flow=config.interpolate.flow_format),
    )
