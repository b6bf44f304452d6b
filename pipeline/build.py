"""From a configuration to a pipeline: the composition root."""

from pathlib import Path

from operators.translators.load import load_translator
from operators.translators.traits import TraitOverrides
from pipeline.config import Config
from pipeline.io.endpoint import Source
from pipeline.io.locations import open_sink, open_source, require_distinct
from pipeline.io.masks import MaskedSource
from pipeline.recipes import framewise, hypercon
from pipeline.stage import Pipeline, Stage
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
    """
    is_masked = config.mask.path is not None
    chosen = config.translate
    translator = load_translator(
        chosen.model,
        TraitOverrides(channels=chosen.channels, scale=chosen.scale, multiple=chosen.multiple),
        value_range=chosen.value_range,
        # Who names CUDA wants CUDA, or to be told; auto takes what there is.
        providers=("CUDAExecutionProvider",) if config.run.device.startswith("cuda") else None,
    )
    batch = chosen.batch
    if config.method == "framewise":
        return framewise(translator, batch=batch, masked=is_masked)
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
        weights=config.run.weights,
    )


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
        stages=build_stages(config),
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
