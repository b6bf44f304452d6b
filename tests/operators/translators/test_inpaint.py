import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from operators.base import Translator
from operators.errors import ModelError
from operators.translators.contract import call_translator
from operators.translators.inpaint import ClassicalInpainting, Method

METHODS = pytest.mark.parametrize("method", ["telea", "ns"])


def ramp(height: int = 16, width: int = 24) -> Tensor:
    """Brightness grows evenly to the right; the channels differ."""
    across = torch.linspace(0.1, 0.8, width).expand(height, width)
    return torch.stack((across, across * 0.5, 1 - across))[None]


def hole(image: Tensor, top: int, left: int, side: int) -> Tensor:
    mask = torch.zeros_like(image[:, :1])
    mask[..., top : top + side, left : left + side] = 1
    return mask


@METHODS
def test_a_hole_in_an_even_ramp_is_filled_from_its_borders(method: Method) -> None:
    image = ramp()
    mask = hole(image, 6, 10, 4)
    grey = torch.where(mask > 0, torch.tensor(0.5), image)

    filled = call_translator(ClassicalInpainting(method), grey, mask)

    inside = (mask > 0).expand_as(image)
    assert (filled - image)[inside].abs().max() < 0.06
    assert (grey - image)[inside].abs().max() > 0.25


@METHODS
def test_known_pixels_come_back_bit_for_bit(method: Method) -> None:
    image = torch.rand(2, 3, 9, 11, generator=torch.Generator().manual_seed(1))
    mask = hole(image, 2, 3, 3)

    filled = call_translator(ClassicalInpainting(method), image, mask)

    known = (mask == 0).expand_as(image)
    assert torch.equal(filled[known], image[known])
    assert not torch.equal(filled[~known], image[~known])


@METHODS
def test_what_the_missing_pixels_hold_is_not_read(method: Method) -> None:
    image = ramp()
    mask = hole(image, 6, 10, 4)

    dark, bright = (
        call_translator(
            ClassicalInpainting(method), torch.where(mask > 0, torch.tensor(value), image), mask
        )
        for value in (0.0, 1.0)
    )

    assert torch.equal(dark, bright)


@METHODS
def test_each_image_of_a_batch_is_filled_by_its_own_mask(method: Method) -> None:
    images = torch.cat((ramp(), 1 - ramp(), ramp()))
    masks = torch.cat((hole(ramp(), 2, 2, 3), hole(ramp(), 9, 15, 5), hole(ramp(), 0, 0, 0)))
    translator = ClassicalInpainting(method)

    together = call_translator(translator, images, masks)

    alone = [call_translator(translator, images[k : k + 1], masks[k : k + 1]) for k in range(3)]
    assert torch.equal(together, torch.cat(alone))
    assert torch.equal(together[2], images[2])


@METHODS
def test_a_frame_with_nothing_known_becomes_mid_grey(method: Method) -> None:
    image = ramp()

    filled = call_translator(ClassicalInpainting(method), image, torch.ones_like(image[:, :1]))

    assert_close(filled, torch.full_like(image, 0.5))


@given(
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    seed=st.integers(0, 50),
    method=st.sampled_from(["telea", "ns"]),
)
def test_any_frame_and_any_mask_give_a_picture(
    height: int, width: int, seed: int, method: Method
) -> None:
    random = np.random.default_rng(seed)
    image = torch.from_numpy(random.random((1, 3, height, width), np.float32))
    mask = torch.from_numpy(random.random((1, 1, height, width)) > 0.5)

    filled = call_translator(ClassicalInpainting(method), image, mask)

    assert filled.shape == image.shape
    assert bool(((filled >= 0) & (filled <= 1)).all())


def test_a_larger_radius_reads_farther() -> None:
    image = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(2))
    mask = hole(image, 8, 8, 8)

    near, far = (
        call_translator(ClassicalInpainting("telea", radius=radius), image, mask)
        for radius in (1.0, 8.0)
    )

    def roughness(filled: Tensor) -> float:
        return float(filled[..., 8:16, 8:16].diff(dim=-1).abs().mean())

    assert roughness(far) < roughness(near)


def test_it_is_a_translator_with_masks() -> None:
    translator = ClassicalInpainting()
    translator.setup(torch.device("cpu"))

    assert isinstance(translator, Translator)
    assert translator.name == "inpaint:telea"
    with pytest.raises(ModelError, match="must be given masks"):
        call_translator(translator, ramp())
    with pytest.raises(ModelError, match="must be given masks, got none"):
        translator(ramp())


@pytest.mark.parametrize(
    ("method", "radius", "message"),
    [
        ("magic", 3.0, "inpainting method must be telea or ns, got 'magic'"),
        ("ns", 0.0, "inpainting radius must be positive, got 0"),
        ("ns", float("nan"), "inpainting radius must be positive, got nan"),
    ],
)
def test_an_unknown_method_or_radius_is_refused(
    method: Method, radius: float, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        ClassicalInpainting(method, radius=radius)
