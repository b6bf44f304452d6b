"""Flow as data: closed forms, and the published tests one pixel at a time."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from shared import golden
from torch import Tensor

from operators.functional.flow import (
    compose,
    linear_motion,
    motion_boundary,
    occlusion_mask,
    resize_flow,
    squared_length,
    visibility,
)
from operators.functional.warp import backward_warp

seeds = st.integers(0, 2**32 - 1)
displacements = st.floats(-3, 3, width=32)


def constant(u: float, v: float, height: int = 5, width: int = 6) -> Tensor:
    return (
        torch.tensor((u, v), dtype=torch.float32)
        .view(1, 2, 1, 1)
        .expand(1, 2, height, width)
        .clone()
    )


def random_flow(seed: int, size: float = 2.0, height: int = 5, width: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return size * torch.randn(1, 2, height, width, generator=generator)


@given(displacements, displacements, displacements, displacements)
def test_constant_flows_compose_by_addition(u1: float, v1: float, u2: float, v2: float):
    composed = compose(constant(u1, v1), constant(u2, v2))
    np.testing.assert_allclose(composed, constant(u1 + u2, v1 + v2), atol=1e-5)


def test_composition_takes_the_second_step_from_where_the_first_one_ended():
    first = constant(1, 0, height=1, width=3)
    second = torch.tensor([[[[10.0, 20.0, 30.0]], [[0.0, 0.0, 0.0]]]])
    np.testing.assert_allclose(compose(first, second)[0, 0, 0], [21, 31, 31], atol=1e-4)


@given(displacements, displacements)
def test_a_round_trip_that_returns_is_fully_visible(u: float, v: float):
    there, back = constant(u, v), constant(-u, -v)
    np.testing.assert_allclose(visibility(there, back), 1.0, atol=1e-6)
    assert not occlusion_mask(there, back).any()


@given(seeds, st.floats(0.1, 4))
def test_occlusion_is_the_published_inequality_at_every_pixel(seed: int, size: float):
    flow_ab, flow_ba = random_flow(seed, size), random_flow(seed + 1, size)
    returning = backward_warp(flow_ba, flow_ab)
    found = occlusion_mask(flow_ab, flow_ba)
    for y in range(5):
        for x in range(6):
            u, v = flow_ab[0, :, y, x].tolist()
            back_u, back_v = returning[0, :, y, x].tolist()
            missed = (u + back_u) ** 2 + (v + back_v) ** 2
            tolerated = 0.01 * (u**2 + v**2 + back_u**2 + back_v**2) + 0.5
            if not math.isclose(missed, tolerated, rel_tol=1e-4):
                assert found[0, 0, y, x].item() == (missed > tolerated)


@given(seeds, st.floats(0.1, 4))
def test_a_pixel_is_visible_by_more_than_half_unless_it_is_occluded(seed: int, size: float):
    flow_ab, flow_ba = random_flow(seed, size), random_flow(seed + 1, size)
    visible = visibility(flow_ab, flow_ba)
    clear = (visible - 0.5).abs() > 1e-6
    assert torch.equal((visible > 0.5)[clear], ~occlusion_mask(flow_ab, flow_ba)[clear])
    assert (visible > 0).all()
    assert (visible <= 1).all()


def test_what_a_moving_square_uncovers_is_occluded():
    """A square moves right by 4 over a still ground; what it covers next has no counterpart."""
    forward, backward = torch.zeros(1, 2, 12, 20), torch.zeros(1, 2, 12, 20)
    forward[:, 0, 4:8, 4:8] = 4.0
    backward[:, 0, 4:8, 8:12] = -4.0
    expected = torch.zeros(1, 1, 12, 20, dtype=torch.bool)
    expected[:, :, 4:8, 8:12] = True
    assert torch.equal(occlusion_mask(forward, backward), expected)


@given(seeds, st.floats(0.01, 2))
def test_motion_boundary_is_the_published_inequality_at_every_pixel(seed: int, size: float):
    flow = random_flow(seed, size)
    found = motion_boundary(flow)
    for y in range(5):
        for x in range(6):
            gradient = 0.0
            for channel in range(2):
                here = flow[0, channel, y, x].item()
                if x + 1 < 6:
                    gradient += (flow[0, channel, y, x + 1].item() - here) ** 2
                if y + 1 < 5:
                    gradient += (flow[0, channel, y + 1, x].item() - here) ** 2
            tolerated = 0.01 * squared_length(flow)[0, 0, y, x].item() + 0.002
            if not math.isclose(gradient, tolerated, rel_tol=1e-4):
                assert found[0, 0, y, x].item() == (gradient > tolerated)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 4), (4, 1)])
def test_a_line_of_pixels_has_motion_boundaries_along_it_only(height: int, width: int):
    flow = torch.zeros(1, 2, height, width)
    assert not motion_boundary(flow).any()
    flow[..., -1:, -1:] = 1.0
    assert motion_boundary(flow).sum() == (1 if height * width > 1 else 0)


@given(displacements, displacements, st.floats(0.05, 0.95))
def test_linear_motion_of_a_translation_points_back_to_both_frames(u: float, v: float, t: float):
    flow_t0, flow_t1 = linear_motion(constant(u, v), constant(-u, -v), t)
    np.testing.assert_allclose(flow_t0, constant(-t * u, -t * v), atol=1e-5)
    np.testing.assert_allclose(flow_t1, constant((1 - t) * u, (1 - t) * v), atol=1e-5)


@given(seeds, st.floats(0.05, 0.95))
def test_linear_motion_backwards_in_time_exchanges_the_frames(seed: int, t: float):
    forward, backward = random_flow(seed), random_flow(seed + 1)
    flow_t0, flow_t1 = linear_motion(forward, backward, t)
    reversed_t0, reversed_t1 = linear_motion(backward, forward, 1 - t)
    np.testing.assert_allclose(flow_t0, reversed_t1, atol=1e-5)
    np.testing.assert_allclose(flow_t1, reversed_t0, atol=1e-5)


def test_linear_motion_is_equation_4_of_super_slomo():
    flow_t0, flow_t1 = linear_motion(constant(8, 0), constant(0, 16), 0.25)
    np.testing.assert_allclose(flow_t0[0, :, 0, 0], [-0.1875 * 8, 0.0625 * 16])
    np.testing.assert_allclose(flow_t1[0, :, 0, 0], [0.5625 * 8, -0.1875 * 16])


@given(displacements, displacements, st.integers(1, 9), st.integers(1, 9))
def test_a_resized_flow_keeps_its_share_of_the_sides(u: float, v: float, height: int, width: int):
    resized = resize_flow(constant(u, v), height, width)
    expected = constant(u * width / 6, v * height / 5, height, width)
    np.testing.assert_allclose(resized, expected, atol=1e-4)


def test_resizing_to_the_same_size_returns_the_flow_itself():
    flow = random_flow(0)
    assert resize_flow(flow, 5, 6) is flow


def test_a_flow_that_does_not_fit_is_refused_by_name():
    with pytest.raises(ValueError, match="flow_ba must be on the grid of flow_ab, got"):
        occlusion_mask(torch.zeros(1, 2, 4, 5), torch.zeros(1, 2, 5, 5))
    with pytest.raises(ValueError, match=r"flow must be \(B, 2, H, W\), got"):
        motion_boundary(torch.zeros(1, 3, 4, 5))


@pytest.mark.shared
@pytest.mark.parametrize("video", ["v0", "v1"])
def test_occlusions_and_boundaries_match_the_golden_at_every_pixel(video: str):
    arrays, _ = golden("metrics")
    forward = torch.from_numpy(arrays[f"{video}_fw"]).permute(0, 3, 1, 2)
    backward = torch.from_numpy(arrays[f"{video}_bw"]).permute(0, 3, 1, 2)
    found = occlusion_mask(forward, backward) | motion_boundary(forward)
    for pair in range(len(found)):
        expected = torch.from_numpy(arrays[f"{video}_occ_detected_{pair}"]) != 0
        assert torch.equal(found[pair, 0], expected)
