"""The systems of the paper as compositions of the same parts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from operators.aggregate import POOLS, Aggregate, Pool
from operators.align import Alignment, ExactAlignment, SharedAlignment
from operators.base import FlowEstimator, Interpolator, Translator
from operators.interpolate import Interpolate
from operators.models.registry import flow_estimator, interpolator
from operators.timeline import Timeline
from operators.translate import KeepSources, Translate
from operators.translators.load import load_translator
from pipeline.stage import Stage

AlignmentName = Literal["shared", "exact"]
FlowOn = Literal["translated", "source"]
AnyTranslator = str | Callable[..., Any] | Translator


def framewise(
    translator: AnyTranslator, *, batch: int | None = None, masked: bool = False
) -> tuple[Stage, ...]:
    """Every frame translated on its own: the paper's frame-wise baseline.

    Args:
        translator: A model, or whatever ``load_translator`` reads as one.
        batch: Images in one call.
        masked: Whether the frames carry masks.
    """
    timeline = Timeline(insert=0, radius=0)
    keep: KeepSources = "original" if masked else "none"
    return (
        Stage(Interpolate(timeline), "interpolate"),
        Stage(Translate(load_translator(translator), batch=batch, keep_sources=keep), "translate"),
        Stage(Aggregate(timeline), "aggregate"),
    )


def hypercon(  # noqa: PLR0913 - the parameters of the method, by name
    translator: AnyTranslator,
    *,
    insert: int = 3,
    radius: int = 2,
    dilation: int = 1,
    pool: str | Pool = "mean",
    alignment: AlignmentName = "shared",
    flow_on: FlowOn = "translated",
    flow: str | FlowEstimator = "dis",
    interpolation: str | Interpolator = "linear",
    consistency: bool = False,
    strength: float = 1.0,
    batch: int | None = None,
    masked: bool = False,
    weights: Path | None = None,
    everything: bool = False,
) -> tuple[Stage, ...]:
    """The whole method: interpolate, translate, align and pool.

    Args:
        translator: A model, or whatever ``load_translator`` reads as one.
        insert: Frames inserted between each two (``i`` in the paper).
        radius: Neighbours on each side of a window's reference (``γ``).
        dilation: Dense steps between neighbours (``d``).
        pool: A name of ``operators.aggregate.POOLS``, or a function.
        alignment: ``shared`` reuses the flow of the interpolation, ``exact`` estimates flow from
            each reference to each neighbour as the paper does.
        flow_on: The frames that ``exact`` estimates flow on.
        flow: A flow estimator or its registered name.
        interpolation: An interpolator or its registered name.
        consistency: Pools that leave out invalid samples also leave out those that fail the
            forward-backward check.
        strength: 1 for the pooled frame, 0 for the frame-wise one.
        batch: Images in one call of the translator.
        masked: Whether the frames carry masks.
        weights: A weight file, or a folder that is searched instead of the usual ones.
        everything: Interpolate and translate the whole dense timeline, read or not.
    """
    # At strength 0 nothing but the reference counts, so nothing else is made.
    timeline = Timeline(insert, radius, dilation) if strength > 0 else Timeline(0, 0)
    reads_windows = timeline.radius > 0
    shared = alignment == "shared" and reads_windows
    on_sources = alignment == "exact" and reads_windows and flow_on == "source"
    keep: KeepSources = "all" if on_sources else "original" if masked else "none"
    return (
        Stage(
            Interpolate(
                timeline,
                interpolator=_interpolator(interpolation, weights),
                flow=_flow_estimator(flow, weights),
                keep_flow=shared,
                everything=everything,
            ),
            "interpolate",
        ),
        Stage(Translate(load_translator(translator), batch=batch, keep_sources=keep), "translate"),
        Stage(
            Aggregate(
                timeline,
                alignment=_alignment(
                    alignment,
                    pool,
                    estimator=_flow_estimator(flow, weights),
                    on_sources=on_sources,
                    consistency=consistency,
                ),
                pool=pool,
                strength=strength,
            ),
            "aggregate",
        ),
    )


def _alignment(
    name: AlignmentName,
    pool: str | Pool,
    *,
    estimator: FlowEstimator,
    on_sources: bool,
    consistency: bool,
) -> Alignment:
    with_validity = not isinstance(pool, str) or (pool in POOLS and POOLS[pool].reads_validity)
    check = with_validity and consistency
    if name == "shared":
        return SharedAlignment(with_validity=with_validity, check_consistency=check)
    return ExactAlignment(
        estimator,
        on_sources=on_sources,
        with_validity=with_validity,
        check_consistency=check,
    )


def _flow_estimator(flow: str | FlowEstimator, weights: Path | None) -> FlowEstimator:
    return flow_estimator(flow, weights) if isinstance(flow, str) else flow


def _interpolator(interpolation: str | Interpolator, weights: Path | None) -> Interpolator:
    return interpolator(interpolation, weights) if isinstance(interpolation, str) else interpolation
