from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from operators.base import TranslatorTraits
from operators.errors import ModelError
from operators.translators.traits import (
    InputSize,
    TraitOverrides,
    declared_traits,
    from_range,
    probe,
)

ANY_SIZE = InputSize()


def test_what_is_said_goes_over_what_is_said_elsewhere_and_then_over_the_defaults() -> None:
    said = TraitOverrides(scale=2, takes_mask=False)
    elsewhere = TraitOverrides(scale=4, takes_mask=True, multiple=8)

    traits = said.over(elsewhere).traits("net")

    assert traits == TranslatorTraits(scale=2, takes_mask=False, multiple=8)


def test_an_output_of_other_than_three_channels_is_no_picture_unless_somebody_says_so() -> None:
    assert not TraitOverrides(channels=1).traits("depth").is_picture
    assert TraitOverrides(channels=1, is_picture=True).traits("grey").is_picture
    assert TraitOverrides(channels=3).traits("style").is_picture


def test_an_impossible_trait_is_refused_with_the_name_of_the_model() -> None:
    with pytest.raises(ModelError, match="model 'net': translator trait batch must be a whole"):
        TraitOverrides(batch=0).traits("net")


def test_traits_are_declared_as_an_object_or_as_a_mapping() -> None:
    traits = TranslatorTraits(channels=1, scale=2, is_picture=True, is_deterministic=False)

    assert declared_traits("net", traits).traits("net") == traits
    assert declared_traits("net", {"scale": 2}) == TraitOverrides(scale=2)


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        (7, "traits must be TranslatorTraits or a mapping, got int"),
        ({"size": 2}, "traits must be among channels, scale, .*got 'size'"),
        ({"scale": True}, "trait scale must be a whole number, got True"),
        ({"scale": "2"}, "scale must be a whole number of at least 1, got '2'"),
        ({"takes_mask": 1}, "trait takes_mask must be true or false, got 1"),
        ({"multiple": 0}, "multiple must be a whole number of at least 1, got 0"),
    ],
)
def test_a_wrong_declaration_is_refused(declaration: object, message: str) -> None:
    with pytest.raises(ModelError, match=f"model 'net': .*{message}"):
        declared_traits("net", declaration)


def strided(multiple: int, scale: int, channels: int, *, raises: bool):
    """A model that works only on multiples: it fails on others, or returns another size."""

    def call(images: Tensor, masks: Tensor | None) -> Tensor:
        height, width = images.shape[-2:]
        if raises and (height % multiple or width % multiple):
            msg = "odd size"
            raise RuntimeError(msg)
        small = F.avg_pool2d(images, multiple) if multiple > 1 else images
        grown = F.interpolate(small, scale_factor=multiple * scale)
        return grown[:, :1].expand(-1, channels, -1, -1)

    return call


@given(
    exponent=st.integers(0, 5),
    scale=st.integers(1, 4),
    channels=st.integers(1, 5),
    raises=st.booleans(),
)
def test_the_dry_run_finds_channels_scale_and_the_smallest_multiple(
    exponent: int, scale: int, channels: int, raises: bool
) -> None:
    call = strided(2**exponent, scale, channels, raises=raises)

    found = probe("net", call, TraitOverrides(), ANY_SIZE)

    assert (found.channels, found.scale, found.multiple) == (channels, scale, 2**exponent)


@pytest.mark.parametrize("axis", [2, 3])
def test_a_multiple_that_only_one_side_needs_is_found(axis: int) -> None:
    def call(images: Tensor, masks: Tensor | None) -> Tensor:
        if images.shape[axis] % 8:
            msg = "odd size"
            raise RuntimeError(msg)
        return images

    assert probe("net", call, TraitOverrides(), ANY_SIZE).multiple == 8


def test_nothing_is_run_when_everything_is_known() -> None:
    def call(images: Tensor, masks: Tensor | None) -> Tensor:
        raise AssertionError

    known = TraitOverrides(channels=3, scale=1, multiple=1)

    assert probe("net", call, known, ANY_SIZE) == known


def test_a_declared_multiple_is_respected_by_the_dry_run() -> None:
    found = probe("net", strided(48, 1, 3, raises=True), TraitOverrides(multiple=48), ANY_SIZE)

    assert found == TraitOverrides(multiple=48, channels=3, scale=1)


def test_the_dry_run_respects_a_fixed_size_a_fixed_batch_and_masks() -> None:
    seen = []

    def call(images: Tensor, masks: Tensor | None) -> Tensor:
        assert masks is not None
        seen.append((tuple(images.shape), tuple(masks.shape)))
        return images

    known = TraitOverrides(batch=2, takes_mask=True)
    found = probe("net", call, known, InputSize(2, 40, 56))

    assert found.multiple == 1
    assert set(seen) == {((2, 3, 40, 56), (2, 1, 40, 56))}


def test_a_model_that_needs_more_than_a_small_frame_gets_a_larger_one() -> None:
    def call(images: Tensor, masks: Tensor | None) -> Tensor:
        if images.shape[-1] < 200:
            msg = "too small"
            raise RuntimeError(msg)
        return images

    assert probe("net", call, TraitOverrides(), ANY_SIZE).multiple == 1


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda images: images[..., ::2, ::2], r"whole multiple .* got \(1, 3, 32, 32\) for"),
        (lambda images: images[..., 1:], r"got \(1, 3, 64, 63\)"),
        (lambda images: images.repeat(1, 1, 1, 2), r"got \(1, 3, 64, 128\)"),
        (lambda images: images[0], r"got \(3, 64, 64\)"),
        (lambda images: [images], "got list"),
        (lambda images: images.nonsense, "declare channels, scale and multiple, got: .*nonsense"),
    ],
)
def test_a_model_that_returns_no_whole_multiple_is_refused(
    answer: Callable[[Tensor], object], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        probe("net", lambda images, _masks: answer(images), TraitOverrides(), ANY_SIZE)


def test_out_of_memory_in_the_dry_run_is_not_taken_for_an_answer() -> None:
    def call(images: Tensor, masks: Tensor | None) -> Tensor:
        if images.shape[-1] != 64:
            raise torch.OutOfMemoryError
        return images

    with pytest.raises(torch.OutOfMemoryError):
        probe("net", call, TraitOverrides(), ANY_SIZE)


def test_a_frame_of_another_size_than_the_fixed_one_is_refused_with_the_remedy() -> None:
    size = InputSize(None, 48, 64)

    size.require("net", torch.zeros(1, 3, 48, 64))
    with pytest.raises(
        ModelError,
        match="'net' must be given frames 64 wide and 48 high, got 50 wide and 48 high; "
        "resize with --size 48x64",
    ):
        size.require("net", torch.zeros(1, 3, 48, 50))


def test_a_batch_that_contradicts_the_file_is_refused() -> None:
    fixed = InputSize(batch=1)

    assert fixed.with_batch("net", TraitOverrides()).batch == 1
    assert ANY_SIZE.with_batch("net", TraitOverrides(batch=4)).batch == 4
    with pytest.raises(ModelError, match="'net' must run in batches of 1, got 4"):
        fixed.with_batch("net", TraitOverrides(batch=4))


def test_white_comes_back_as_one_and_whole_numbers_are_left_for_the_contract_to_refuse() -> None:
    assert from_range(torch.tensor([0.0, 51.0, 255.0]), 255).tolist() == pytest.approx([0, 0.2, 1])
    assert from_range(torch.tensor([255], dtype=torch.uint8), 255).dtype == torch.uint8
