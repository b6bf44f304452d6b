import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from published import assert_near_golden, published_layout
from shared import golden, golden_tolerance, weight_file

from operators.estimators import NetworkFlow
from operators.models import registry
from operators.models.gmflow import GMFlow, match_everywhere, match_nearby, upsample_convex
from operators.models.gmflow_transformer import (
    add_position,
    merge_windows,
    shifted_window_mask,
    split_windows,
)


@pytest.mark.shared
def test_golden_flow_both_ways_in_one_pass_agrees_with_the_original_network() -> None:
    arrays, meta = golden("gmflow")
    tolerance = golden_tolerance("gmflow")
    path = weight_file(meta["flownet_sha256"])
    estimator = NetworkFlow(registry.entry("flow", "gmflow"), path)
    estimator.setup(torch.device("cpu"))

    forward, backward = estimator.pair(
        torch.from_numpy(arrays["frame0"]), torch.from_numpy(arrays["frame1"])
    )

    assert_near_golden(forward, arrays["flow01"], tolerance)
    assert_near_golden(backward[..., ::2, ::2], arrays["flow10_s2"], tolerance)


@pytest.mark.shared
def test_golden_features_agree_with_the_original_backbone() -> None:
    arrays, meta = golden("gmflow")
    tolerance = golden_tolerance("gmflow")
    network = registry.entry("flow", "gmflow").load(weight_file(meta["flownet_sha256"]))
    assert isinstance(network, GMFlow)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)

    coarse, fine = network.backbone((torch.from_numpy(arrays["frame0"]) - mean) / deviation)

    assert_near_golden(fine[:, ::8, ::2, ::2], arrays["feat_hi_c8"], tolerance)
    assert_near_golden(coarse[:, ::8], arrays["feat_lo_c8"], tolerance)


@pytest.mark.shared
def test_keys_and_shapes_are_the_published_ones() -> None:
    own = [(key, tuple(value.shape)) for key, value in GMFlow().state_dict().items()]

    assert own == [(key, shape) for key, (shape, _) in published_layout("gmflow").items()]


def test_it_has_as_many_parameters_as_published() -> None:
    assert sum(parameter.numel() for parameter in GMFlow().parameters()) == 4_716_720


@given(windows=st.integers(1, 3), height=st.integers(1, 3), width=st.integers(1, 3))
def test_windows_are_rectangles_in_reading_order(windows: int, height: int, width: int) -> None:
    features = torch.arange(2.0 * windows * height * windows * width).view(
        2, windows * height, windows * width, 1
    )

    parts = split_windows(features, windows)

    for number in range(2 * windows**2):
        image, row, column = number // windows**2, number // windows % windows, number % windows
        expected = features[
            image, row * height : (row + 1) * height, column * width : (column + 1) * width
        ]
        assert torch.equal(parts[number], expected)
    assert torch.equal(merge_windows(parts, windows), features)


@pytest.mark.parametrize(("height", "width", "windows"), [(8, 12, 2), (16, 16, 4), (4, 6, 2)])
def test_after_the_shift_only_neighbours_attend_to_each_other(
    height: int, width: int, windows: int
) -> None:
    """Neighbours: pixels whose distance did not change when the shift wrapped them around."""
    window = (height // windows, width // windows)
    mask = shifted_window_mask(height, width, windows, torch.device("cpu"))

    for number in range(windows**2):
        top, left = number // windows * window[0], number % windows * window[1]
        cells = [(top + y, left + x) for y in range(window[0]) for x in range(window[1])]
        origin = [((y + window[0] // 2) % height, (x + window[1] // 2) % width) for y, x in cells]
        for a, (ya, xa) in enumerate(cells):
            for b, (yb, xb) in enumerate(cells):
                moved_together = (
                    origin[a][0] - origin[b][0] == ya - yb
                    and origin[a][1] - origin[b][1] == xa - xb
                )
                assert float(mask[number, a, b]) == (0.0 if moved_together else -100.0)


def test_position_codes_pair_sine_and_cosine_and_start_again_in_each_window() -> None:
    coded = add_position(torch.zeros(1, 8, 6, 4), windows=2)[0]

    for y in range(6):
        for x in range(4):
            for half, (place, length) in enumerate(((y % 3, 3), (x % 2, 2))):
                for pair in range(2):
                    angle = (place + 1) / length * 2 * math.pi / 10000 ** (2 * pair / 4)
                    channel = 4 * half + 2 * pair
                    assert float(coded[channel, y, x]) == pytest.approx(math.sin(angle), abs=1e-4)
                    assert float(coded[channel + 1, y, x]) == pytest.approx(
                        math.cos(angle), abs=1e-4
                    )


def test_matching_everywhere_finds_the_one_pixel_that_is_alike() -> None:
    torch.manual_seed(0)
    codes = F.normalize(torch.randn(1, 64, 5, 7), dim=1) * 60.0

    flow = match_everywhere(codes, codes.roll((2, -1), dims=(2, 3)))

    for y in range(5):
        for x in range(7):
            there = ((y + 2) % 5, (x - 1) % 7)
            expected = torch.tensor([there[1] - x, there[0] - y], dtype=torch.float32)
            torch.testing.assert_close(flow[0, :, y, x], expected, atol=1e-3, rtol=0.0)


def test_matching_nearby_is_the_expected_offset_over_the_pixels_that_exist() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(2, 1, 6, 4, 5)
    radius = 2

    flow = match_nearby(first, second, radius)

    for y in range(4):
        for x in range(5):
            total = expected_x = expected_y = 0.0
            for v in range(max(0, y - radius), min(4, y + radius + 1)):
                for u in range(max(0, x - radius), min(5, x + radius + 1)):
                    score = float((first[0, :, y, x] * second[0, :, v, u]).sum()) / math.sqrt(6)
                    total += math.exp(score)
                    expected_x += math.exp(score) * (u - x)
                    expected_y += math.exp(score) * (v - y)
            assert float(flow[0, 0, y, x]) == pytest.approx(expected_x / total, abs=1e-4)
            assert float(flow[0, 1, y, x]) == pytest.approx(expected_y / total, abs=1e-4)


def test_convex_upsampling_weighs_the_nine_neighbours_of_each_fine_pixel() -> None:
    torch.manual_seed(0)
    flow, weights = torch.randn(1, 2, 3, 4), torch.randn(1, 9 * 4, 3, 4)

    fine = upsample_convex(flow, weights, factor=2)

    share = weights.view(9, 2, 2, 3, 4).softmax(dim=0)
    for y in range(6):
        for x in range(8):
            expected = torch.zeros(2)
            for k in range(9):
                v, u = y // 2 + k // 3 - 1, x // 2 + k % 3 - 1
                if 0 <= v < 3 and 0 <= u < 4:
                    expected += share[k, y % 2, x % 2, y // 2, x // 2] * 2 * flow[0, :, v, u]
            torch.testing.assert_close(fine[0, :, y, x], expected)
