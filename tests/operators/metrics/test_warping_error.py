"""The warping error against a loop over pixels, closed forms and the published numbers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from shared import golden, golden_tolerance
from torch import Tensor

from operators.metrics.warping_error import (
    WarpingError,
    pair_errors,
    touches_hole,
    valid_pixels,
)

Video = dict[str, Tensor]
HEIGHT, WIDTH = 5, 6


def random_video(seed: int, num_frames: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    frames = torch.rand(num_frames, 3, HEIGHT, WIDTH, generator=generator)
    # Whole steps: warping then only picks pixels, and the truth below needs no interpolation.
    flow = torch.randint(-2, 3, (num_frames - 1, 2, HEIGHT, WIDTH), generator=generator).float()
    valid = torch.rand(num_frames - 1, 1, HEIGHT, WIDTH, generator=generator) < 0.7
    valid[..., 0, 0] = True
    return frames, flow, valid


def error_by_loop(earlier: Tensor, later: Tensor, flow: Tensor, valid: Tensor) -> float:
    """Squared difference summed over channels, averaged over valid pixels: the printed formula."""
    total, count = 0.0, 0
    for y in range(HEIGHT):
        for x in range(WIDTH):
            if valid[0, y, x]:
                at_x = min(max(x + int(flow[0, y, x]), 0), WIDTH - 1)
                at_y = min(max(y + int(flow[1, y, x]), 0), HEIGHT - 1)
                total += ((earlier[:, y, x] - later[:, at_y, at_x]) ** 2).sum().item()
                count += 1
    return total / count


@given(st.integers(0, 2**32 - 1))
def test_the_error_of_a_pair_is_that_of_a_loop_over_its_valid_pixels(seed: int):
    frames, flow, valid = random_video(seed)
    expected = [
        error_by_loop(frames[a], frames[a + 1], flow[a], valid[a]) for a in range(len(flow))
    ]
    summed = pair_errors(frames[:-1], frames[1:], flow, valid, channels="sum")
    averaged = pair_errors(frames[:-1], frames[1:], flow, valid)
    np.testing.assert_allclose(summed, expected, rtol=1e-4)
    np.testing.assert_allclose(averaged, np.divide(expected, 3), rtol=1e-4)


def test_a_video_that_moves_as_its_flow_says_has_no_error():
    wide = torch.rand(1, 3, 8, 30, generator=torch.Generator().manual_seed(0))
    frames = torch.cat([wide[..., start : start + 20] for start in (6, 4, 2)])
    forward = torch.tensor((2.0, 0.0)).view(1, 2, 1, 1).expand(2, 2, 8, 20)
    valid = torch.ones(2, 1, 8, 20, dtype=torch.bool)
    valid[..., -2:] = False  # what leaves the picture has no counterpart
    errors = pair_errors(frames[:-1], frames[1:], forward, valid)
    np.testing.assert_allclose(errors, 0.0, atol=1e-10)


def test_flicker_by_a_tenth_is_an_error_of_a_hundredth():
    still = torch.zeros(1, 2, HEIGHT, WIDTH)
    metric = WarpingError("still")
    for level in (0.5, 0.6):
        dark, light = torch.full((2, 1, 3, HEIGHT, WIDTH), level).unbind()
        metric.update(dark, light + 0.1, still, still)
    assert metric.result().value == pytest.approx(0.01, rel=1e-5)


def test_a_pair_without_valid_pixels_is_skipped_or_counts_as_zero():
    frames, flow, valid = random_video(1)
    valid[1] = False
    first = pair_errors(frames[:1], frames[1:2], flow[:1], valid[:1]).item()
    for treatment, expected in (("skip", first), ("zero", first / 2)):
        metric = WarpingError("flow", no_valid_pixels=treatment)
        metric.update_valid(frames[:-1], frames[1:], flow, valid)
        result = metric.result()
        assert result.value == pytest.approx(expected)
        assert (result.num_pairs, result.num_without_valid_pixels) == (2, 1)


def test_a_video_of_nothing_comparable_has_no_error_to_report():
    assert math.isnan(WarpingError("flow").result().value)
    frames, flow, valid = random_video(1)
    metric = WarpingError("flow")
    metric.update_valid(frames[:-1], frames[1:], flow, valid & False)
    assert math.isnan(metric.result().value)


def test_pixels_that_are_not_numbers_count_only_where_they_are_compared():
    frames, flow, valid = random_video(1)
    flow[:] = 0
    frames[0, :, 2, 2] = math.nan
    valid[0, :, 2, 2] = False
    assert pair_errors(frames[:-1], frames[1:], flow, valid).isfinite().all()
    valid[0, :, 2, 2] = True
    metric = WarpingError("flow")
    metric.update_valid(frames[:-1], frames[1:], flow, valid)
    assert math.isnan(metric.result().value)


def test_pairs_one_at_a_time_give_the_result_of_all_at_once():
    frames, flow, _ = random_video(3, num_frames=5)
    backward = -flow
    holes = torch.rand(5, 1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(3)) < 0.5
    at_once, one_by_one = WarpingError("flow"), WarpingError("flow")
    at_once.update(frames[:-1], frames[1:], 0.1 * flow, 0.1 * backward, (holes[:-1], holes[1:]))
    for a in range(4):
        here, following = slice(a, a + 1), slice(a + 1, a + 2)
        one_by_one.update(
            frames[here],
            frames[following],
            0.1 * flow[here],
            0.1 * backward[here],
            (holes[here], holes[following]),
        )
    assert at_once.result().value == pytest.approx(one_by_one.result().value, rel=1e-9)
    assert at_once.result().num_pairs == one_by_one.result().num_pairs == 4
    assert at_once.result().flow_name == "flow"


def test_a_pixel_touches_a_hole_if_it_is_in_one_or_its_flow_lands_in_one():
    hole_a = torch.zeros(1, 1, 1, 6, dtype=torch.bool)
    hole_b = hole_a.clone()
    hole_a[..., 0] = True
    hole_b[..., 4] = True
    forward = torch.zeros(1, 2, 1, 6)
    forward[:, 0] = 1.5  # between two pixels: touching one of them is enough
    expected = torch.tensor([True, False, True, True, False, False])
    assert torch.equal(touches_hole(hole_a, hole_b, forward)[0, 0, 0], expected)


def test_frames_on_another_grid_are_refused_by_name():
    frames, flow, valid = random_video(0)
    with pytest.raises(ValueError, match="later must be on the grid of earlier, got"):
        pair_errors(frames[:-1], frames[1:, :, 1:], flow, valid)


def video_of(arrays: dict[str, np.ndarray], name: str) -> Video:
    """A golden video as tensors in the layout of the project."""

    def channels_first(key: str) -> Tensor:
        return torch.from_numpy(arrays[f"{name}_{key}"]).permute(0, 3, 1, 2)

    return {
        "frames": channels_first("comp_u8") / 255.0,
        "forward": channels_first("fw"),
        "backward": channels_first("bw"),
        "valid": torch.from_numpy(arrays[f"{name}_occ_used"])[:, None] == 0,
        "holes": torch.from_numpy(arrays[f"{name}_mask_known"])[:, None] == 0,
    }


@pytest.mark.shared
@pytest.mark.parametrize(("index", "name"), [(0, "v0"), (1, "v1")])
def test_both_published_conventions_and_the_masked_variant_match_the_golden(index: int, name: str):
    arrays, _ = golden("metrics")
    video, tolerance = video_of(arrays, name), golden_tolerance("metrics")
    frames, forward, holes = video["frames"], video["forward"], video["holes"]
    touching = video["valid"] & touches_hole(holes[:-1], holes[1:], forward)
    for key, treatment, counted in (
        ("warp_error", "skip", video["valid"]),
        ("lai_warp_error", "zero", video["valid"]),
        ("warp_error_mask", "skip", touching),
    ):
        metric = WarpingError("as published", no_valid_pixels=treatment)
        metric.update_valid(frames[:-1], frames[1:], forward, counted)
        assert metric.result().value == pytest.approx(float(arrays[key][index]), rel=tolerance)


@pytest.mark.shared
def test_the_whole_metric_from_flows_alone_matches_the_golden():
    """Of the first video the valid pixels are those that are detected, so nothing is handed in."""
    arrays, _ = golden("metrics")
    video, tolerance = video_of(arrays, "v0"), golden_tolerance("metrics")
    frames, holes = video["frames"], video["holes"]
    for key, given_holes in (("warp_error", None), ("warp_error_mask", (holes[:-1], holes[1:]))):
        metric = WarpingError("as published")
        metric.update(frames[:-1], frames[1:], video["forward"], video["backward"], given_holes)
        assert metric.result().value == pytest.approx(float(arrays[key][0]), rel=tolerance)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["v0", "v1"])
def test_valid_pixels_match_the_golden_exactly(name: str):
    arrays, _ = golden("metrics")
    video = video_of(arrays, name)
    found = valid_pixels(video["forward"], video["backward"])
    for pair in range(len(found)):
        detected = torch.from_numpy(arrays[f"{name}_occ_detected_{pair}"]) != 0
        assert torch.equal(found[pair, 0], ~detected)
