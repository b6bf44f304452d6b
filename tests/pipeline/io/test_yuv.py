"""Matrix and range, against the formulas of the standards written out for one pixel."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from pipeline.io.yuv import matrix_in_use, rgb_from_yuv, yuv_from_rgb

RED_AND_BLUE = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}


def pixel_to_rgb(y: int, cb: int, cr: int, matrix: int, full: bool, bits: int) -> list[float]:
    """H.273 by hand: from levels to R'G'B', clamped."""
    kr, kb = RED_AND_BLUE[matrix]
    one = 2 ** (bits - 8)
    if full:
        luma, blue, red = y / (2**bits - 1), cb - 128 * one, cr - 128 * one
        blue, red = blue / (2**bits - 1), red / (2**bits - 1)
    else:
        luma = (y - 16 * one) / (219 * one)
        blue, red = (cb - 128 * one) / (224 * one), (cr - 128 * one) / (224 * one)
    r = luma + 2 * (1 - kr) * red
    b = luma + 2 * (1 - kb) * blue
    g = (luma - kr * r - kb * b) / (1 - kr - kb)
    return [min(1.0, max(0.0, value)) for value in (r, g, b)]


@given(
    levels=st.tuples(*[st.integers(0, 255)] * 3),
    matrix=st.sampled_from((1, 6, 9)),
    full=st.booleans(),
    bits=st.sampled_from((8, 10, 12)),
)
def test_one_pixel_agrees_with_the_standard(
    levels: Sequence[int], matrix: int, full: bool, bits: int
):
    levels = [level << (bits - 8) for level in levels]
    tensor = torch.tensor(levels, dtype=torch.float32).view(3, 1, 1)

    image = rgb_from_yuv(tensor, matrix, is_full_range=full, bits=bits)

    expected = torch.tensor(pixel_to_rgb(*levels, matrix, full, bits))
    assert_close(image.flatten(), expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("matrix", [1, 6, 9])
@pytest.mark.parametrize("full", [False, True])
def test_levels_survive_the_way_through_rgb_and_back(matrix: int, full: bool):
    """Every third level of each axis, so long as the colour exists."""
    axis = torch.arange(0, 256, 3, dtype=torch.float32)
    levels = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")).flatten(2)
    image = rgb_from_yuv(levels, matrix, is_full_range=full, bits=8)

    returned = yuv_from_rgb(image, matrix, is_full_range=full, bits=8)

    exists = ((image > 0) & (image < 1)).all(dim=0)
    assert exists.sum() > 10_000
    assert torch.equal(returned[:, exists], levels[:, exists])


def test_white_and_black_are_where_the_ranges_say():
    white = torch.ones(3, 1, 1)

    assert yuv_from_rgb(white, 1, is_full_range=False, bits=8).flatten().tolist() == [235, 128, 128]
    assert yuv_from_rgb(white, 1, is_full_range=True, bits=8).flatten().tolist() == [255, 128, 128]
    assert yuv_from_rgb(0 * white, 6, is_full_range=False, bits=10).flatten().tolist() == [
        64,
        512,
        512,
    ]


def test_values_outside_the_range_are_clamped():
    image = torch.tensor([2.0, 2.0, 2.0]).view(3, 1, 1)

    assert yuv_from_rgb(image, 1, is_full_range=False, bits=8).flatten().tolist() == [235, 128, 128]


def test_an_unspecified_matrix_follows_the_height():
    assert matrix_in_use(2, 719) == 6
    assert matrix_in_use(2, 720) == 1
    assert matrix_in_use(6, 1080) == 6
