"""Each image of an interval on its own, in batches of one shape."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from streams import FunctionTranslator, frames_of, textured
from torch import Tensor

from operators.base import TranslatorTraits
from operators.frame import Interval
from operators.translate import Translate


def interval_of_two() -> Interval:
    first, second = frames_of([textured(6, 8, seed) for seed in (1, 2)])
    images = torch.stack([torch.lerp(first.image, second.image, t) for t in (0, 0.25, 0.5, 0.75)])
    return Interval(first.index, 4, (0, 1, 2, 3), images, 4, first.pts, first.time_base)


def test_each_image_is_translated_on_its_own() -> None:
    interval = interval_of_two()
    translator = FunctionTranslator(lambda images: 1 - images)

    (result,) = Translate(translator, batch=1).process(interval)

    torch.testing.assert_close(result.images, 1 - interval.images)
    assert translator.batches == [(1, 3, 6, 8)] * 4


def test_batches_have_one_shape_whatever_the_interval_holds() -> None:
    last = replace(interval_of_two(), num_present=1)
    translator = FunctionTranslator(lambda images: 1 - images)
    operator = Translate(translator, batch=3)

    list(operator.process(interval_of_two()))
    (result,) = operator.process(last)

    assert set(translator.batches) == {(3, 3, 6, 8)}
    assert result.images.shape == last.images.shape


@pytest.mark.parametrize(("keep", "count"), [("none", 0), ("original", 1), ("all", 4)])
def test_sources_travel_on_as_asked(keep: str, count: int) -> None:
    interval = interval_of_two()
    operator = Translate(FunctionTranslator(lambda images: 1 - images), keep_sources=keep)

    (result,) = operator.process(interval)

    if count == 0:
        assert result.sources is None
    else:
        assert torch.equal(result.sources, interval.images[:count])


def test_a_batch_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="batch must be at least 1, got 0"):
        Translate(FunctionTranslator(lambda images: images), batch=0)


def test_masks_reach_only_a_model_that_takes_them() -> None:
    interval = interval_of_two()
    missing = torch.zeros(4, 1, 6, 8, dtype=torch.bool)
    missing[2, 0, 1, 1] = True
    interval = replace(interval, masks=missing)
    painter = FunctionTranslator(
        lambda images, masks: torch.where(masks > 0, torch.ones_like(images), images),
        TranslatorTraits(takes_mask=True),
    )

    (painted,) = Translate(painter).process(interval)
    (plain,) = Translate(FunctionTranslator(lambda images: images)).process(interval)

    assert painted.images[2, :, 1, 1].tolist() == [1, 1, 1]
    assert torch.equal(plain.images, interval.images)


def test_an_output_that_is_no_picture_is_neither_clamped_nor_called_one() -> None:
    traits = TranslatorTraits(channels=1, is_picture=False)
    depth = FunctionTranslator(lambda images: 40 * images[:, :1], traits)

    (result,) = Translate(depth).process(interval_of_two())

    assert not result.is_picture
    torch.testing.assert_close(result.images, 40 * interval_of_two().images[:, :1])


class Cramped:
    """A translator with room for a few images only.

    Args:
        room: How many.
        traits: What it declares.
    """

    name = "cramped"

    def __init__(self, room: int, traits: TranslatorTraits | None = None) -> None:
        self.traits = traits or TranslatorTraits()
        self.sizes: list[int] = []
        self._room = room

    def setup(self, device: torch.device) -> None: ...

    def __call__(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        self.sizes.append(images.shape[0])
        if images.shape[0] > self._room:
            msg = "CUDA out of memory"
            raise torch.OutOfMemoryError(msg)
        return 1 - images


def test_out_of_memory_halves_the_batch_for_good() -> None:
    images = torch.rand(5, 3, 4, 6)
    interval = Interval(0, 5, (0, 1, 2, 3, 4), images, 5, 0, Fraction(1, 25))
    cramped = Cramped(room=1)
    translate = Translate(cramped)

    results = [result for _ in range(2) for result in translate.process(interval)]

    for result in results:
        assert torch.equal(result.images, 1 - images)
    assert cramped.sizes == [5, 2, *[1] * 5, *[1] * 5]


@pytest.mark.parametrize("cramped", [Cramped(0), Cramped(1, TranslatorTraits(batch=2))])
def test_out_of_memory_that_no_smaller_batch_can_help_is_raised(cramped: Cramped) -> None:
    with pytest.raises(torch.OutOfMemoryError):
        list(Translate(cramped).process(interval_of_two()))
