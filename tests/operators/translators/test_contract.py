import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from operators.base import TranslatorTraits
from operators.errors import ModelError
from operators.translators.contract import call_translator


class Recorder:
    """Enlarges by nearest neighbour, whatever it is given, and remembers what that was."""

    name = "recorder"

    def __init__(self, **traits: int | bool) -> None:
        self.traits = TranslatorTraits(**traits)
        self.seen: list[Tensor] = []
        self.seen_masks: list[Tensor | None] = []

    def setup(self, device: torch.device) -> None: ...

    def __call__(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        self.seen.append(images)
        self.seen_masks.append(masks)
        scale = self.traits.scale
        return images.repeat_interleave(scale, 2).repeat_interleave(scale, 3)


class Returns(Recorder):
    """Returns or raises what it was made with."""

    def __init__(self, answer: object, **traits: int | bool) -> None:
        super().__init__(**traits)
        self.answer = answer

    def __call__(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[return-value] # the point of the test


def pictures(batch: int, height: int, width: int) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(3))


@given(
    height=st.integers(1, 13),
    width=st.integers(1, 13),
    multiple=st.sampled_from([1, 2, 4, 5, 8, 32]),
    scale=st.integers(1, 3),
)
def test_padding_to_a_multiple_leaves_no_trace_in_the_result(
    height: int, width: int, multiple: int, scale: int
) -> None:
    images = pictures(2, height, width)
    model = Recorder(multiple=multiple, scale=scale)

    result = call_translator(model, images)

    expected = np.kron(images.numpy(), np.ones((1, 1, scale, scale), np.float32))
    assert_close(result.numpy(), expected, rtol=0, atol=0)
    assert all(side % multiple == 0 for side in model.seen[0].shape[-2:])
    assert model.seen[0].shape[2] < height + multiple
    assert model.seen[0].shape[3] < width + multiple


@pytest.mark.parametrize(
    ("height", "width", "modes"),
    [(9, 10, ("reflect", "reflect")), (2, 10, ("edge", "reflect")), (1, 1, ("edge", "edge"))],
)
def test_a_side_is_reflected_where_it_is_long_enough_and_otherwise_repeated(
    height: int, width: int, modes: tuple[str, str]
) -> None:
    images = pictures(1, height, width)
    model = Recorder(multiple=8)

    call_translator(model, images)

    wide = np.pad(images.numpy(), ((0, 0), (0, 0), (0, 0), (0, -width % 8)), mode=modes[1])
    both = np.pad(wide, ((0, 0), (0, 0), (0, -height % 8), (0, 0)), mode=modes[0])
    assert_close(model.seen[0].numpy(), both, rtol=0, atol=0)


@given(num_images=st.integers(1, 7), batch=st.integers(1, 4))
def test_every_call_has_the_same_batch_and_no_image_is_lost_or_moved(
    num_images: int, batch: int
) -> None:
    images = pictures(num_images, 3, 2)
    model = Recorder()

    result = call_translator(model, images, batch=batch)

    assert_close(result, images, rtol=0, atol=0)
    assert {seen.shape[0] for seen in model.seen} == {batch}
    everything = torch.cat(model.seen)
    for filler in everything[num_images:]:
        assert_close(filler, images[-1], rtol=0, atol=0)


def test_the_batch_that_a_model_declares_wins() -> None:
    model = Recorder(batch=2)

    call_translator(model, pictures(3, 2, 2), batch=5)

    assert [seen.shape[0] for seen in model.seen] == [2, 2]


def test_masks_are_padded_like_the_images_and_arrive_as_numbers() -> None:
    images = pictures(3, 5, 6)
    masks = images[:, :1] > 0.5
    model = Recorder(multiple=4, takes_mask=True)

    call_translator(model, images, masks, batch=2)

    for seen, seen_masks in zip(model.seen, model.seen_masks, strict=True):
        assert seen_masks is not None
        assert seen_masks.dtype == torch.float32
        assert_close(seen_masks, (seen[:, :1] > 0.5).float())


def test_a_model_that_does_not_take_masks_is_given_none() -> None:
    model = Recorder()

    call_translator(model, pictures(1, 4, 4), torch.ones(1, 1, 4, 4))

    assert model.seen_masks == [None]


def test_a_model_that_needs_masks_is_not_called_without() -> None:
    with pytest.raises(ModelError, match="'recorder' must be given masks, got a video without"):
        call_translator(Recorder(takes_mask=True), pictures(1, 4, 4))


def test_masks_of_another_grid_are_refused() -> None:
    with pytest.raises(ValueError, match=r"masks must be \(2, 1, 4, 5\), got \(2, 1, 5, 4\)"):
        call_translator(Recorder(takes_mask=True), pictures(2, 4, 5), torch.ones(2, 1, 5, 4))


def test_pictures_are_clamped_and_other_results_are_not() -> None:
    wild = torch.tensor([-2.0, 0.5, 7.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4)

    picture = call_translator(Returns(wild), pictures(1, 4, 4))
    logits = call_translator(Returns(wild, is_picture=False), pictures(1, 4, 4))

    assert picture[0, :, 0, 0].tolist() == [0.0, 0.5, 1.0]
    assert logits[0, :, 0, 0].tolist() == [-2.0, 0.5, 7.0]


def test_half_precision_results_become_single_precision() -> None:
    result = call_translator(Returns(torch.zeros(1, 3, 4, 4).half()), pictures(1, 4, 4))

    assert result.dtype == torch.float32


def test_a_model_that_writes_into_its_input_does_not_change_the_images() -> None:
    class Careless(Recorder):
        def __call__(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
            return images.zero_()

    images = pictures(2, 4, 4)
    before = images.clone()

    call_translator(Careless(), images)

    assert_close(images, before, rtol=0, atol=0)


def test_the_result_may_be_written_into_and_needs_no_gradient() -> None:
    class Learns(Recorder):
        weight = torch.ones(1, requires_grad=True)

        def __call__(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
            return images * self.weight

    result = call_translator(Learns(), pictures(1, 4, 4))

    assert not result.requires_grad
    result += 1.0


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            torch.zeros(1, 3, 24, 32),
            r"'recorder' must return \(1, 3, 48, 64\) for \(1, 3, 24, 32\), got \(1, 3, 24, 32\)",
        ),
        (torch.zeros(1, 1, 48, 64), r"got \(1, 1, 48, 64\)"),
        (torch.zeros(2, 3, 48, 64), r"got \(2, 3, 48, 64\)"),
        (torch.zeros(3, 48, 64), r"got \(3, 48, 64\)"),
        (np.zeros((1, 3, 48, 64)), r"must return a torch tensor \(1, 3, 48, 64\), got ndarray"),
        (None, "got NoneType"),
        (torch.zeros(1, 3, 48, 64, dtype=torch.uint8), "floating point, got torch.uint8"),
    ],
)
def test_a_result_of_another_type_or_shape_is_refused(answer: object, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        call_translator(Returns(answer, scale=2), pictures(1, 24, 32))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("is_picture", [True, False])
@pytest.mark.parametrize("where", [0, 4242, -1])
def test_a_value_that_is_not_finite_is_refused_with_its_frame(
    bad: float, is_picture: bool, where: int
) -> None:
    answer = torch.linspace(-1e38, 1e38, 3 * 41 * 37).view(1, 3, 41, 37)
    answer.view(-1)[where] = bad

    with pytest.raises(ModelError, match="got 1 NaN or infinite of 4551 on frame 118"):
        call_translator(Returns(answer, is_picture=is_picture), pictures(1, 41, 37), frame=118)


def test_what_a_model_raises_becomes_one_line_that_names_model_frame_and_cause() -> None:
    cause = RuntimeError("shapes differ:\n  here and\n  there")

    with pytest.raises(ModelError) as caught:
        call_translator(Returns(cause), pictures(1, 2, 2), frame=7)

    assert str(caught.value) == (
        "translator 'recorder' failed on frame 7: RuntimeError: shapes differ: here and there"
    )
    assert caught.value.__cause__ is cause


def test_running_out_of_memory_reaches_the_runner_unchanged() -> None:
    cause = torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError) as caught:
        call_translator(Returns(cause), pictures(1, 2, 2))

    assert caught.value is cause


@pytest.mark.parametrize("shape", [(3, 4, 4), (1, 1, 4, 4), (1, 4, 4, 3)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"images must be \(B, 3, H, W\)"):
        call_translator(Recorder(), torch.zeros(shape))


def test_a_batch_that_repeats_the_one_before_is_translated_once() -> None:
    """Of a, a, b, b, a in batches of one, only what follows its equal is spared."""
    a, b = pictures(2, 4, 6)
    images = torch.stack((a, a, b, b, a))
    model = Recorder(batch=1, scale=2)

    translated = call_translator(model, images)

    assert [seen[0].tolist() for seen in model.seen] == [a.tolist(), b.tolist(), a.tolist()]
    assert torch.equal(translated, images.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_a_last_batch_that_is_filled_up_may_repeat_the_one_before() -> None:
    images = pictures(1, 4, 6).expand(3, -1, -1, -1)
    model = Recorder(batch=2)

    translated = call_translator(model, images)

    assert len(model.seen) == 1
    assert torch.equal(translated, images)


def test_equal_images_with_other_masks_are_translated_again() -> None:
    images = pictures(1, 4, 6).expand(3, -1, -1, -1)
    masks = torch.zeros(3, 1, 4, 6)
    masks[2, 0, 1, 1] = 1
    model = Recorder(batch=1, takes_mask=True)

    call_translator(model, images, masks)

    assert len(model.seen) == 2


def test_a_model_that_is_not_deterministic_is_asked_every_time() -> None:
    images = pictures(1, 4, 6).expand(3, -1, -1, -1)
    model = Recorder(batch=1, is_deterministic=False)

    call_translator(model, images)

    assert len(model.seen) == 3
