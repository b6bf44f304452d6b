"""The whole method against the literal implementation, and against itself done otherwise."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from literal import dense_timeline, literal_framewise, literal_hypercon, round_to_levels
from shared import shared_path
from streams import FunctionTranslator, ListSink, ListSource, frames_of, moving
from torch import Tensor

from operators.base import TranslatorTraits
from operators.frame import Frame, Interval
from operators.translators.load import load_translator
from pipeline.local_runner import LocalRunner
from pipeline.recipes import framewise, hypercon
from pipeline.stage import Pipeline, Stage
from pipeline.wire import Wire

HEIGHT, WIDTH = 48, 64


def posterise(images: Tensor) -> Tensor:
    """A harsh translator: neighbouring levels end up far apart, as flickering models do."""
    red, green, blue = images.unbind(1)
    return torch.stack((torch.sin(9 * green) / 2 + 0.5, 1 - blue, (red * 4).round() / 4), dim=1)


def posterise_one(frame: np.ndarray) -> np.ndarray:
    """The same for one frame of the literal implementation."""
    image = torch.from_numpy(frame.astype(np.float32)).permute(2, 0, 1)[None]
    return posterise(image)[0].permute(1, 2, 0).numpy()


def fill_with_mean(images: Tensor, masks: Tensor) -> Tensor:
    """A masked translator: holes take the mean colour of what is known."""
    known = 1 - masks
    mean = (images * known).sum(dim=(2, 3), keepdim=True) / known.sum(dim=(2, 3), keepdim=True)
    return torch.where(masks > 0, mean.expand_as(images), images)


def fill_one(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    image = torch.from_numpy(frame.astype(np.float32)).permute(2, 0, 1)[None]
    hole = torch.from_numpy(mask)[None, None].float()
    return fill_with_mean(image, hole)[0].permute(1, 2, 0).numpy()


def run(
    images: list[Tensor],
    stages: tuple[Stage, ...],
    masks: list[Tensor] | None = None,
    wire: Wire | None = None,
) -> np.ndarray:
    """Levels ``(N, H, W, 3)`` of what a pipeline makes of the images."""
    sink = ListSink()
    pipeline = Pipeline(ListSource(frames_of(images, masks)), stages, sink, wire)
    LocalRunner("cpu").run(pipeline)
    return sink.images().transpose(0, 2, 3, 1)


def as_arrays(images: list[Tensor]) -> list[np.ndarray]:
    return [image.permute(1, 2, 0).double().numpy() for image in images]


def levels(frames: list[np.ndarray]) -> np.ndarray:
    return np.rint(np.stack([round_to_levels(frame) for frame in frames]) * 255).astype(np.uint8)


def share_beyond_one_level(actual: np.ndarray, expected: np.ndarray) -> float:
    difference = np.abs(actual.astype(int) - expected.astype(int))
    return float((difference > 1).mean())


@pytest.mark.parametrize(
    ("insert", "radius", "dilation", "pool", "flow_on"),
    [
        (3, 2, 1, "mean", "translated"),
        (3, 2, 1, "mean", "source"),
        (1, 3, 1, "median", "translated"),
        (2, 1, 4, "mean", "source"),
        (0, 1, 1, "median", "source"),
        (4, 1, 1, "mean", "translated"),
    ],
)
def test_exact_alignment_agrees_with_the_literal_implementation(
    insert: int, radius: int, dilation: int, pool: str, flow_on: str
) -> None:
    images = moving(5, HEIGHT, WIDTH)

    actual = run(
        images,
        hypercon(
            FunctionTranslator(posterise),
            insert=insert,
            radius=radius,
            dilation=dilation,
            pool=pool,
            alignment="exact",
            flow_on=flow_on,
        ),
    )
    expected = literal_hypercon(
        as_arrays(images), posterise_one, insert, radius, dilation, pool=pool, flow_on=flow_on
    )

    assert share_beyond_one_level(actual, levels(expected)) <= 0.001


def test_masked_video_agrees_with_the_literal_implementation() -> None:
    images = moving(4, HEIGHT, WIDTH)
    masks = []
    for n in range(4):
        mask = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.bool)
        mask[0, 10 + 2 * n : 25 + 2 * n, 20:40] = True
        masks.append(mask)
    translator = FunctionTranslator(fill_with_mean, TranslatorTraits(takes_mask=True))

    stages = hypercon(translator, radius=2, pool="median", alignment="exact", masked=True)
    actual = run(images, stages, masks)
    expected = literal_hypercon(
        as_arrays(images), fill_one, 3, 2, 1, pool="median", masks=[m[0].numpy() for m in masks]
    )

    assert share_beyond_one_level(actual, levels(expected)) <= 0.001
    for n, mask in enumerate(masks):
        known = ~mask[0].numpy()
        np.testing.assert_array_equal(actual[n][known], levels(as_arrays(images))[n][known])


def test_framewise_agrees_with_the_literal_implementation() -> None:
    images = moving(3, HEIGHT, WIDTH)

    actual = run(images, framewise(FunctionTranslator(posterise)))

    expected = levels(literal_framewise(as_arrays(images), posterise_one))
    assert np.abs(actual.astype(int) - expected.astype(int)).max() <= 1


@pytest.mark.parametrize("alignment", ["shared", "exact"])
@pytest.mark.parametrize(
    ("insert", "radius", "dilation"), [(9, 1, 1), (4, 1, 2), (3, 2, 2), (2, 1, 3), (5, 2, 5)]
)
def test_demand_gives_the_same_bits_as_doing_everything(
    alignment: str, insert: int, radius: int, dilation: int
) -> None:
    images = moving(5, HEIGHT, WIDTH)
    options = {
        "insert": insert,
        "radius": radius,
        "dilation": dilation,
        "alignment": alignment,
        "batch": 1,
    }
    demanded, everything = FunctionTranslator(posterise), FunctionTranslator(posterise)

    little = run(images, hypercon(demanded, **options))
    much = run(images, hypercon(everything, **options, everything=True))

    np.testing.assert_array_equal(little, much)
    assert len(demanded.batches) < len(everything.batches)


@pytest.mark.parametrize(
    "options",
    [
        {"insert": 0, "radius": 0},
        {"insert": 3, "radius": 2, "strength": 0.0},
        {"insert": 3, "radius": 0},
    ],
)
def test_a_window_of_one_is_framewise(options: dict[str, float]) -> None:
    images = moving(3, HEIGHT, WIDTH)

    alone = run(images, framewise(FunctionTranslator(posterise)))
    windowed = run(images, hypercon(FunctionTranslator(posterise), **options))

    np.testing.assert_array_equal(windowed, alone)


@pytest.mark.parametrize("pool", ["mean", "median", "valid-mean", "valid-median"])
@pytest.mark.parametrize("alignment", ["shared", "exact"])
@pytest.mark.parametrize("consistency", [False, True])
def test_a_still_video_stays_still(pool: str, alignment: str, consistency: bool) -> None:
    images = moving(1, HEIGHT, WIDTH) * 4

    stages = hypercon("identity", pool=pool, alignment=alignment, consistency=consistency)
    actual = run(images, stages)

    expected = np.stack([np.rint(frame * 255) for frame in as_arrays(images)])
    assert np.abs(actual.astype(int) - expected).max() <= 1


def test_flicker_of_a_moving_picture_is_reduced() -> None:
    """A translator whose brightness depends on the moment: the window must average it out."""
    images = moving(8, HEIGHT, WIDTH, dx=1, dy=0)
    moments = iter(torch.rand(1000, generator=torch.Generator().manual_seed(5)).tolist())

    def flicker(batch: Tensor) -> Tensor:
        return 0.5 * batch + 0.5 * torch.tensor([next(moments) for _ in batch]).view(-1, 1, 1, 1)

    pooled = run(images, hypercon(FunctionTranslator(flicker), insert=3, radius=4))
    alone = run(images, framewise(FunctionTranslator(flicker)))

    # Nine samples: the standard deviation falls to a third.
    def brightness_spread(video: np.ndarray) -> float:
        source = np.stack(as_arrays(images)) * 127.5
        return float((video - source).mean(axis=(1, 2, 3)).std())

    assert brightness_spread(pooled) < 0.6 * brightness_spread(alone)


def test_half_float_flow_changes_next_to_nothing() -> None:
    images = moving(5, HEIGHT, WIDTH)

    half = run(images, hypercon(FunctionTranslator(posterise)), wire=Wire(flow="float16"))
    full = run(images, hypercon(FunctionTranslator(posterise)), wire=Wire(flow="float32"))

    assert share_beyond_one_level(half, full) <= 0.001


def read_davis(count: int) -> list[Tensor]:
    folder = shared_path("clips/davis-bmx-trees/frames")
    images = []
    for path in sorted(folder.iterdir())[:count]:
        rgb = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        images.append(torch.from_numpy(rgb).permute(2, 0, 1).float() / 255)
    return images


def built_in_style() -> Callable[[np.ndarray], np.ndarray]:
    """Style 19 for one frame of the literal implementation."""
    translator = load_translator("styles:19")
    translator.setup(torch.device("cpu"))

    def style(frame: np.ndarray) -> np.ndarray:
        image = torch.from_numpy(frame.astype(np.float32)).permute(2, 0, 1)[None]
        return translator(image)[0].permute(1, 2, 0).numpy()

    return style


class Recorder:
    """Passes intervals on and keeps their images as frames of the literal implementation."""

    takes = Interval
    is_stateful = False
    reach = 0

    def __init__(self) -> None:
        self.dense: list[np.ndarray] = []

    def setup(self, device: torch.device) -> None:
        """Nothing to load."""

    def process(self, item: Interval) -> list[Interval]:
        self.dense += as_arrays(list(item.images[: item.num_present]))
        return [item]

    def flush(self) -> list[Interval]:
        return []

    def close(self) -> None:
        """Nothing to release."""


@pytest.mark.shared
@pytest.mark.slow
def test_real_frames_aligned_on_sources_agree_with_the_literal_implementation() -> None:
    images = read_davis(4)

    actual = run(images, hypercon("styles:19", alignment="exact", flow_on="source"))

    expected = literal_hypercon(as_arrays(images), built_in_style(), 3, 2, 1, flow_on="source")
    assert share_beyond_one_level(actual, levels(expected)) <= 0.001


@pytest.mark.shared
def test_real_frames_agree_step_by_step_with_the_literal_implementation() -> None:
    """Each step from what the step before it made.

    Alignment on translated frames multiplies what comes before it: a rounding tie between single
    and double precision in one of thousands of samples of a dense frame changes the texture that
    a style draws, and the flow that is estimated on that texture.
    """
    images, stride = read_davis(3), 4
    interpolate, translate, aggregate = hypercon("styles:19", alignment="exact")
    made, translated = Recorder(), Recorder()
    stages = (interpolate, Stage(made, "made"), translate, Stage(translated, "t"), aggregate)

    actual = run(images, stages)

    timeline, _ = dense_timeline(as_arrays(images), None, stride - 1)
    dense_difference = np.abs(levels(made.dense).astype(int) - levels(timeline).astype(int))
    assert dense_difference.max() <= 1
    assert (dense_difference > 0).mean() <= 0.001
    styled = levels(literal_framewise(made.dense, built_in_style()))
    assert np.abs(levels(translated.dense).astype(int) - styled.astype(int)).max() <= 1
    pooled = levels(literal_hypercon(translated.dense, lambda frame: frame, 0, 2, 1)[::stride])
    assert share_beyond_one_level(actual, pooled) <= 0.001


def test_frames_of_an_interpolated_video_come_in_order_with_their_guides() -> None:
    images = moving(3, HEIGHT, WIDTH)
    sink = ListSink()
    stages = hypercon(FunctionTranslator(posterise), masked=True)

    LocalRunner("cpu").run(Pipeline(ListSource(frames_of(images)), stages, sink))

    assert [frame.index for frame in sink.frames] == [0, 1, 2]
    frame: Frame = sink.frames[1]
    assert frame.guide is not None
    torch.testing.assert_close(frame.guide, images[1], atol=1e-6, rtol=0)
