"""The systems of the paper as compositions of the same parts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from operators.accelerate import PLAIN, Acceleration
from operators.aggregate import POOLS, Aggregate, Pool
from operators.align import Alignment, ExactAlignment, SharedAlignment
from operators.base import FlowEstimator, Interpolator, Translator
from operators.errors import ModelError
from operators.interpolate import Interpolate
from operators.models.entry import Kind
from operators.models.registry import entry, flow_estimator, interpolator, recurrent
from operators.timeline import Timeline
from operators.translate import KeepSources, Translate
from operators.translators.load import load_translator
from pipeline.stage import Resources, Stage

# Networks take a whole GPU for each process, on a cluster that has any.
WHERE_GPUS_ARE = Resources(num_gpus=None)

AlignmentName = Literal["shared", "exact"]
FlowOn = Literal["translated", "source"]
VINETS = ("vinet-512", "vinet-256")
AnyTranslator = str | Callable[..., Any] | Translator


def framewise(
    translator: AnyTranslator,
    *,
    batch: int | None = None,
    masked: bool = False,
    weights: Path | None = None,
    acceleration: Acceleration = PLAIN,
) -> tuple[Stage, ...]:
    """Every frame translated on its own: the paper's frame-wise baseline.

    With a fast neural style it is the paper's "FST", with DeepFill its "Cxtattn".

    Args:
        translator: A model, or whatever ``load_translator`` reads as one.
        batch: Images in one call.
        masked: Whether the frames carry masks.
        weights: A weight file, or a folder that is searched instead of the usual ones.
        acceleration: How networks of the table are made faster.
    """
    keep: KeepSources = "original" if masked else "none"
    return _framewise(translator, keep, batch, weights, acceleration)


def blind_consistency(
    translator: AnyTranslator,
    *,
    batch: int | None = None,
    weights: Path | None = None,
    acceleration: Acceleration = PLAIN,
) -> tuple[Stage, ...]:
    """Every frame translated on its own, then made consistent: the paper's "-vcons" baselines.

    Masked frames come out with their known pixels as they were.

    Args:
        translator: A model, or whatever ``load_translator`` reads as one; it must return
            pictures of the size of its input.
        batch: Images in one call.
        weights: A weight file, or a folder that is searched instead of the usual ones.
        acceleration: How networks of the table are made faster.
    """
    # The second network reads the untranslated frames beside the translated ones.
    stages = _framewise(translator, "original", batch, weights, acceleration)
    return (*stages, Stage(recurrent("lai", weights, acceleration), "consistency", WHERE_GPUS_ARE))


def vinet(
    network: str = "vinet-512",
    *,
    weights: Path | None = None,
    acceleration: Acceleration = PLAIN,
) -> tuple[Stage, ...]:
    """VINet, the paper's video-to-video baseline for inpainting. Frames must carry masks.

    Args:
        network: ``vinet-512`` or ``vinet-256``.
        weights: A weight file, or a folder that is searched instead of the usual ones.
        acceleration: How networks of the table are made faster.

    Raises:
        ModelError: If ``network`` is another name.
    """
    if network not in VINETS:
        msg = f"model of the method vinet must be {' or '.join(VINETS)}, got {network!r}"
        raise ModelError(msg)
    return (Stage(recurrent(network, weights, acceleration), "inpaint", WHERE_GPUS_ARE),)


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
    acceleration: Acceleration = PLAIN,
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
        acceleration: How networks of the table are made faster.
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
                interpolator=_interpolator(interpolation, weights, acceleration),
                flow=_flow_estimator(flow, weights, acceleration),
                keep_flow=shared,
                everything=everything,
            ),
            "interpolate",
            _place("interpolator", interpolation) or _place("flow", flow) or Resources(),
        ),
        _translate(translator, keep, batch, weights, acceleration),
        Stage(
            Aggregate(
                timeline,
                alignment=_alignment(
                    alignment,
                    pool,
                    estimator=_flow_estimator(flow, weights, acceleration),
                    on_sources=on_sources,
                    consistency=consistency,
                ),
                pool=pool,
                strength=strength,
            ),
            "aggregate",
            (alignment == "exact" and _place("flow", flow)) or Resources(),
        ),
    )


def _place(kind: Kind, part: object) -> Resources | None:
    """What a model that estimates takes of a cluster: nothing that OpenCV or arithmetic does."""
    is_network = isinstance(part, str) and entry(kind, part).network is not None
    return WHERE_GPUS_ARE if is_network else None


def _framewise(
    translator: AnyTranslator,
    keep: KeepSources,
    batch: int | None,
    weights: Path | None,
    acceleration: Acceleration,
) -> tuple[Stage, ...]:
    timeline = Timeline(insert=0, radius=0)
    return (
        Stage(Interpolate(timeline), "interpolate"),
        _translate(translator, keep, batch, weights, acceleration),
        Stage(Aggregate(timeline), "aggregate"),
    )


def _translate(
    translator: AnyTranslator,
    keep: KeepSources,
    batch: int | None,
    weights: Path | None,
    acceleration: Acceleration,
) -> Stage:
    model = load_translator(translator, weights=weights, acceleration=acceleration)
    return Stage(Translate(model, batch=batch, keep_sources=keep), "translate", WHERE_GPUS_ARE)


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


def _flow_estimator(
    flow: str | FlowEstimator, weights: Path | None, acceleration: Acceleration
) -> FlowEstimator:
    return flow_estimator(flow, weights, acceleration) if isinstance(flow, str) else flow


def _interpolator(
    interpolation: str | Interpolator, weights: Path | None, acceleration: Acceleration
) -> Interpolator:
    if isinstance(interpolation, str):
        return interpolator(interpolation, weights, acceleration)
    return interpolation
