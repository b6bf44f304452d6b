"""Backward warping against one pixel at a time."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from published import assert_near_golden
from shared import golden, golden_tolerance

from operators.functional.warp import Padding, backward_warp, inside, sample_positions

sides = st.integers(1, 6)
seeds = st.integers(0, 2**32 - 1)
paddings = st.sampled_from(("border", "zeros"))


def random_case(height: int, width: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A picture and a flow that also leaves it on every side, whole steps among the rest."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(2, 3, height, width, generator=generator)
    flow = 8 * torch.rand(2, 2, height, width, generator=generator) - 4
    whole = torch.rand(2, 1, height, width, generator=generator) < 0.3
    return image, torch.where(whole, flow.round(), flow)


def one_pixel(picture: np.ndarray, x: float, y: float, padding: Padding) -> np.ndarray:
    """Bilinear interpolation of a ``(C, H, W)`` picture at one position."""
    _, height, width = picture.shape
    if padding == "border":
        x = min(max(x, 0.0), width - 1.0)
        y = min(max(y, 0.0), height - 1.0)
    left, top = math.floor(x), math.floor(y)
    total = np.zeros(picture.shape[0])
    for column in (left, left + 1):
        for row in (top, top + 1):
            share = (1 - abs(x - column)) * (1 - abs(y - row))
            if 0 <= column < width and 0 <= row < height:
                total += share * picture[:, row, column]
    return total


@given(sides, sides, seeds, paddings)
def test_warp_reads_each_pixel_where_the_flow_points(
    height: int, width: int, seed: int, padding: Padding
):
    image, flow = random_case(height, width, seed)
    warped = backward_warp(image, flow, padding)
    for batch in range(2):
        picture = image[batch].numpy()
        for y in range(height):
            for x in range(width):
                u, v = flow[batch, :, y, x].tolist()
                expected = one_pixel(picture, x + u, y + v, padding)
                np.testing.assert_allclose(warped[batch, :, y, x], expected, atol=1e-5)


@pytest.mark.parametrize(("height", "width", "channel"), [(1, 5, 1), (5, 1, 0), (1, 1, 0)])
def test_zeros_lie_beside_a_line_of_pixels(height: int, width: int, channel: int):
    flow = torch.zeros(1, 2, height, width)
    flow[:, channel] = 3.0
    warped = backward_warp(torch.ones(1, 1, height, width), flow, "zeros")
    assert torch.equal(warped, torch.zeros_like(warped))


def test_the_first_flow_channel_moves_right_and_the_second_down():
    image = torch.arange(12.0).view(1, 1, 3, 4)
    right = torch.tensor((1.0, 0.0)).view(1, 2, 1, 1).expand(1, 2, 3, 4)
    down = torch.tensor((0.0, 1.0)).view(1, 2, 1, 1).expand(1, 2, 3, 4)
    np.testing.assert_allclose(
        backward_warp(image, right)[0, 0], [[1, 2, 3, 3], [5, 6, 7, 7], [9, 10, 11, 11]], atol=1e-5
    )
    np.testing.assert_allclose(
        backward_warp(image, down)[0, 0], [[4, 5, 6, 7], [8, 9, 10, 11], [8, 9, 10, 11]], atol=1e-5
    )


@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 13), (64, 48), (90, 1920)])
def test_no_motion_changes_less_than_a_tenth_of_an_eight_bit_level(height: int, width: int):
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    for padding in ("border", "zeros"):
        warped = backward_warp(image, torch.zeros(1, 2, height, width), padding)
        assert (warped - image).abs().max() < 0.1 / 255


@given(sides, sides, seeds)
def test_border_padding_never_leaves_the_range_of_the_picture(height: int, width: int, seed: int):
    image, flow = random_case(height, width, seed)
    warped = backward_warp(image, 100 * flow)
    for batch in range(2):
        assert warped[batch].min() >= image[batch].min() - 1e-6
        assert warped[batch].max() <= image[batch].max() + 1e-6


@given(sides, sides, seeds)
def test_inside_is_true_where_the_position_lies_within_the_pixel_centres(
    height: int, width: int, seed: int
):
    _, flow = random_case(height, width, seed)
    positions = sample_positions(flow)
    found = inside(flow)
    for batch in range(2):
        for y in range(height):
            for x in range(width):
                u, v = flow[batch, :, y, x].tolist()
                at_x, at_y = positions[batch, :, y, x].tolist()
                assert at_x == pytest.approx(x + u, abs=1e-5)
                assert at_y == pytest.approx(y + v, abs=1e-5)
                within = 0 <= at_x <= width - 1 and 0 <= at_y <= height - 1
                assert found[batch, 0, y, x].item() == within


def test_warp_refuses_a_flow_on_another_grid():
    with pytest.raises(ValueError, match="flow must be on the grid of image, got"):
        backward_warp(torch.zeros(1, 3, 4, 5), torch.zeros(1, 2, 5, 4))


def test_warp_refuses_a_flow_of_three_channels():
    with pytest.raises(ValueError, match=r"flow must be \(B, 2, H, W\), got \(1, 3, 4, 5\)"):
        backward_warp(torch.zeros(1, 3, 4, 5), torch.zeros(1, 3, 4, 5))


@pytest.mark.shared
def test_warp_matches_the_golden_of_the_published_resampling_kernel():
    arrays, _ = golden("metrics")
    image = torch.from_numpy(arrays["v1_gt_u8"][:1]).permute(0, 3, 1, 2) / 255.0
    flow = torch.from_numpy(arrays["v1_fw"][:1]).permute(0, 3, 1, 2)
    warped = backward_warp(image, flow)
    assert_near_golden(warped, arrays["resample_out"], golden_tolerance("metrics"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_pictures_are_sampled_at_exact_positions(dtype: torch.dtype):
    """Column numbers of a wide picture, shifted by a quarter pixel."""
    columns = torch.arange(1920, dtype=torch.float32) % 16
    image = columns.expand(1, 1, 2, 1920)
    flow = torch.zeros(1, 2, 2, 1920)
    flow[:, 0] = 0.25

    warped = backward_warp(image.to(dtype), flow)

    assert warped.dtype == dtype
    torch.testing.assert_close(warped.float(), backward_warp(image, flow), atol=0.05, rtol=0)


def test_positions_of_half_precision_flow_tell_the_columns_of_a_wide_picture_apart():
    flow = torch.full((1, 2, 1, 4096), 0.25, dtype=torch.float16)

    positions = sample_positions(flow)

    expected = [column + 0.25 for column in range(4096)]
    assert positions[0, 0, 0].tolist() == expected
