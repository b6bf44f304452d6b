"""Super SloMo against the published code's numbers, and its wiring against the paper."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from published import assert_near_golden, assert_sums_match, published_layout, published_weights
from shared import golden, golden_note, golden_tolerance
from torch import Tensor, nn

from operators.functional.warp import backward_warp
from operators.models.superslomo import (
    SuperSloMo,
    UNet,
    from_pixels,
    from_published,
    super_slomo,
    to_pixels,
)

SECTIONS = ("state_dictFC", "state_dictAT")
MEAN = torch.tensor((0.429, 0.431, 0.397)).view(1, 3, 1, 1)

sides = st.integers(2, 7)
seeds = st.integers(0, 2**32 - 1)


class Recorder(nn.Module):
    """Stands in for a network: gives a constant for each channel and keeps what it was given."""

    def __init__(self, *constants: float) -> None:
        super().__init__()
        self.constants = torch.tensor(constants)
        self.given = torch.empty(0)

    def forward(self, features: Tensor) -> Tensor:
        self.given = features
        batch, _, height, width = features.shape
        return self.constants.view(1, -1, 1, 1).expand(batch, -1, height, width)


def published_warp(image: Tensor, flow: Tensor) -> Tensor:
    """The sampling of the published code: normalised by W and H, read with aligned corners."""
    height, width = flow.shape[-2:]
    ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    x = 2 * ((xs + flow[:, 0]) / width - 0.5)
    y = 2 * ((ys + flow[:, 1]) / height - 0.5)
    return F.grid_sample(image, torch.stack((x, y), dim=-1), align_corners=True)


def random_flow(height: int, width: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 8 * torch.rand(2, 2, height, width, generator=generator) - 4


def pair(height: int, width: int, batch: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.rand(2, batch, 3, height, width, generator=generator)
    return first, second


@pytest.fixture(scope="module")
def network() -> SuperSloMo:
    torch.manual_seed(0)
    return super_slomo().eval().requires_grad_(requires_grad=False)


@given(sides, sides, seeds)
def test_a_flow_in_pixels_reads_what_the_published_sampling_read(
    height: int, width: int, seed: int
) -> None:
    flow = random_flow(height, width, seed)
    image = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(seed))

    warped = backward_warp(image, to_pixels(flow), padding="zeros")

    torch.testing.assert_close(warped, published_warp(image, flow), rtol=0, atol=1e-5)


@given(sides, sides, seeds)
def test_from_pixels_undoes_to_pixels(height: int, width: int, seed: int) -> None:
    flow = random_flow(height, width, seed)
    torch.testing.assert_close(from_pixels(to_pixels(flow)), flow, rtol=0, atol=1e-5)


def test_parameters_are_as_many_as_in_the_published_networks(network: SuperSloMo) -> None:
    def count(module: nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    assert count(network.flow_computation) == 19_794_116
    assert count(network.arbitrary_time) == 19_816_357


def test_both_flows_come_from_one_pass_and_first_points_to_second() -> None:
    network = SuperSloMo(flow_computation=Recorder(3.0, -2.0, 7.0, 5.0), arbitrary_time=Recorder())
    first, second = pair(32, 64)

    forward, backward = network.flows(first, second)

    given = network.flow_computation.given
    torch.testing.assert_close(given, torch.cat((first - MEAN, second - MEAN), dim=1))
    for flow, (u, v) in ((forward, (3.0, -2.0)), (backward, (7.0, 5.0))):
        # Column 40 and row 20 are read at (40 + u) 63 / 64 and (20 + v) 31 / 32.
        assert flow[0, 0, 20, 40].item() == pytest.approx((40 + u) * 63 / 64 - 40, abs=1e-5)
        assert flow[0, 1, 20, 40].item() == pytest.approx((20 + v) * 31 / 32 - 20, abs=1e-5)
    assert torch.equal(network(first, second), forward)


def test_flows_of_the_instant_are_equation_4_plus_what_the_network_changes() -> None:
    changes = Recorder(0.5, -1.0, 2.0, 0.25, 0.0)
    network = SuperSloMo(flow_computation=Recorder(3.0, -2.0, 7.0, 5.0), arbitrary_time=changes)
    first, second = pair(32, 32)
    t = 0.25
    forward, backward = torch.tensor((3.0, -2.0)), torch.tensor((7.0, 5.0))
    coarse_t0 = (-t * (1 - t) * forward + t**2 * backward).view(1, 2, 1, 1).expand(1, 2, 32, 32)
    coarse_t1 = ((1 - t) ** 2 * forward - t * (1 - t) * backward).view(1, 2, 1, 1)
    coarse_t1 = coarse_t1.expand(1, 2, 32, 32)

    flow_t0, flow_t1, _ = network.grids(first, second, network.flows(first, second), t)

    expected_t0 = coarse_t0 + torch.tensor((0.5, -1.0)).view(1, 2, 1, 1)
    expected_t1 = coarse_t1 + torch.tensor((2.0, 0.25)).view(1, 2, 1, 1)
    torch.testing.assert_close(from_pixels(flow_t0), expected_t0, rtol=0, atol=1e-5)
    torch.testing.assert_close(from_pixels(flow_t1), expected_t1, rtol=0, atol=1e-5)
    parts = (
        first - MEAN,
        second - MEAN,
        forward.view(1, 2, 1, 1).expand(1, 2, 32, 32),
        backward.view(1, 2, 1, 1).expand(1, 2, 32, 32),
        coarse_t1,
        coarse_t0,
        published_warp(second - MEAN, coarse_t1),
        published_warp(first - MEAN, coarse_t0),
    )
    torch.testing.assert_close(changes.given, torch.cat(parts, dim=1), rtol=0, atol=1e-4)


@pytest.mark.parametrize("t", [0.25, 0.5, 0.9])
@pytest.mark.parametrize("logit", [-3.0, 0.0, 4.0])
def test_the_weight_shares_by_nearness_and_visibility(t: float, logit: float) -> None:
    changes = Recorder(0.0, 0.0, 0.0, 0.0, logit)
    network = SuperSloMo(flow_computation=Recorder(0.0, 0.0, 0.0, 0.0), arbitrary_time=changes)
    first, second = pair(32, 32)

    weight = network.grids(first, second, network.flows(first, second), t)[2]

    visible_0 = 1 / (1 + np.exp(-logit))
    expected = t * (1 - visible_0) / ((1 - t) * visible_0 + t * (1 - visible_0))
    assert weight.shape == (1, 1, 32, 32)
    torch.testing.assert_close(weight, torch.full_like(weight, expected), rtol=0, atol=1e-6)


def test_any_size_gives_what_the_border_repeated_by_hand_gives(network: SuperSloMo) -> None:
    first, second = pair(40, 33, batch=2)
    by_hand = [F.pad(image, (0, 31, 0, 24), mode="replicate") for image in (first, second)]

    flows = network.flows(first, second)
    padded_flows = network.flows(*by_hand)
    found = network.grids(first, second, flows, 0.5)

    for flow, padded in zip(flows, padded_flows, strict=True):
        torch.testing.assert_close(flow, padded[..., :40, :33])
    repeated = tuple(F.pad(flow, (0, 31, 0, 24), mode="replicate") for flow in flows)
    for part, padded in zip(found, network.grids(*by_hand, repeated, 0.5), strict=True):
        torch.testing.assert_close(part, padded[..., :40, :33])
    assert [tuple(part.shape) for part in found] == [(2, 2, 40, 33)] * 2 + [(2, 1, 40, 33)]


def test_what_is_no_pair_of_networks_is_left_for_the_loader_to_refuse() -> None:
    file = {"state_dictFC": torch.zeros(1), "state_dictAT": torch.zeros(1)}
    assert from_published(file) == file


def test_a_published_file_loads_whole_whatever_its_log_says() -> None:
    parts = {"flow_computation": UNet(6, 4), "arbitrary_time": UNet(20, 5)}
    file = {
        "epoch": 199,
        "loss": [0.5],
        "state_dictFC": parts["flow_computation"].state_dict(),
        "state_dictAT": {
            f"module.{key}": tensor for key, tensor in parts["arbitrary_time"].state_dict().items()
        },
    }
    network = super_slomo()

    network.load_state_dict(from_published(file))

    for name, part in parts.items():
        for key, tensor in part.state_dict().items():
            assert torch.equal(network.state_dict()[f"{name}.{key}"], tensor)
    assert from_published(network.state_dict()).keys() == network.state_dict().keys()


@pytest.mark.parametrize("t", [0.0, 1.0, -0.5, float("nan")])
def test_grids_refuse_an_instant_that_is_not_between_the_frames(
    network: SuperSloMo, t: float
) -> None:
    first, second = pair(32, 32)
    flows = (torch.zeros(1, 2, 32, 32), torch.zeros(1, 2, 32, 32))
    with pytest.raises(ValueError, match="t must be strictly between 0 and 1, got"):
        network.grids(first, second, flows, t)


def test_frames_and_flows_of_another_size_are_refused(network: SuperSloMo) -> None:
    first, second = pair(32, 32)
    flows = (torch.zeros(1, 2, 32, 32), torch.zeros(1, 2, 32, 64))
    with pytest.raises(ValueError, match="second must be on the grid of first"):
        network.flows(first, second[..., :31])
    with pytest.raises(ValueError, match=r"first must be \(B, 3, H, W\), got \(1, 1, 32, 32\)"):
        network.flows(first[:, :1], second)
    with pytest.raises(ValueError, match=r"flows\[1\] must be on the grid of first"):
        network.grids(first, second, flows, 0.5)


@pytest.fixture(scope="module")
def published_network() -> SuperSloMo:
    file = {section: published_weights("superslomo", section) for section in SECTIONS}
    for section, weights in file.items():
        assert_sums_match(weights, "superslomo", section)
    network = super_slomo().eval().requires_grad_(requires_grad=False)
    network.load_state_dict(from_published(file))
    return network


@pytest.mark.shared
def test_keys_and_shapes_are_those_of_the_published_file(network: SuperSloMo) -> None:
    layout = {
        section: {key: torch.empty(shape) for key, (shape, _) in entries.items()}
        for section in SECTIONS
        for entries in [published_layout("superslomo", section)]
    }
    expected = {key: tensor.shape for key, tensor in from_published(layout).items()}
    assert {key: tensor.shape for key, tensor in network.state_dict().items()} == expected


def fused(first: Tensor, second: Tensor, grids: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """The frame of the instant as the published code makes it: the mean colour outside."""
    flow_t0, flow_t1, weight = grids
    warped_0 = backward_warp(first - MEAN, flow_t0, padding="zeros")
    warped_1 = backward_warp(second - MEAN, flow_t1, padding="zeros")
    return (1 - weight) * warped_0 + weight * warped_1 + MEAN


@pytest.mark.shared
def test_flows_and_grids_match_the_golden_of_the_published_code(
    published_network: SuperSloMo,
) -> None:
    arrays, _ = golden("superslomo")
    tolerance = golden_tolerance("superslomo")
    first, second = torch.from_numpy(arrays["frame0"]), torch.from_numpy(arrays["frame1"])

    flows = published_network.flows(first, second)

    assert_near_golden(from_pixels(flows[0]), arrays["F01"], tolerance)
    assert_near_golden(from_pixels(flows[1]), arrays["F10"], tolerance)
    for t, suffix in ((0.25, "t025"), (0.5, "t050")):
        grids = published_network.grids(first, second, flows, t)
        visible_0 = arrays[f"Vt0_{suffix}"]
        weight = t * (1 - visible_0) / ((1 - t) * visible_0 + t * (1 - visible_0))
        assert_near_golden(from_pixels(grids[0]), arrays[f"Ft0_{suffix}"], tolerance)
        assert_near_golden(from_pixels(grids[1]), arrays[f"Ft1_{suffix}"], tolerance)
        assert_near_golden(grids[2], weight, tolerance)
        assert_near_golden(fused(first, second, grids), arrays[f"fused_{suffix}"], tolerance)


@pytest.mark.shared
def test_pictures_warped_for_refinement_match_the_golden_of_the_published_code(
    published_network: SuperSloMo,
) -> None:
    arrays, _ = golden("superslomo")
    first, second = torch.from_numpy(arrays["frame0"]), torch.from_numpy(arrays["frame1"])
    given = []
    handle = published_network.arbitrary_time.register_forward_pre_hook(
        lambda _module, inputs: given.append(inputs[0])
    )

    published_network.grids(first, second, published_network.flows(first, second), 0.25)

    handle.remove()
    tolerance = golden_tolerance("superslomo")
    assert_near_golden(given[0][:, 17:20], arrays["warp0_coarse_t025"], tolerance)


def enlarge(levels: Tensor, height: int, width: int) -> Tensor:
    """As Pillow does: bilinear along rows, then columns, eight bits in between and after."""

    def weights(old: int, new: int) -> Tensor:
        centres = (torch.arange(new, dtype=torch.float64)[:, None] + 0.5) * old / new
        shares = (1 - (torch.arange(old) + 0.5 - centres).abs()).clamp(min=0)
        # In fixed point, which decides the many halves of a resize by such odd factors.
        return (shares / shares.sum(dim=1, keepdim=True) * 2**22).round() / 2**22

    wide = (levels.double() @ weights(levels.shape[-1], width).T + 0.5).floor()
    return (weights(levels.shape[-2], height) @ wide + 0.5).floor()


@pytest.mark.shared
def test_pictures_match_the_golden_of_the_published_converter_script(
    published_network: SuperSloMo,
) -> None:
    """Its way of reading and writing around the network: shrink, truncate, enlarge."""
    arrays, _ = golden("superslomo")
    tolerance = golden_tolerance("superslomo")
    first, second = (torch.from_numpy(arrays[f"odd_resized{i}_u8"]) / 255.0 for i in (0, 1))
    height, width, _ = arrays["odd_frame0_u8"].shape
    allowed = r"Allow \+-(\d+) level on at most a few in 10\^(\d+) bytes"
    most, power = golden_note("superslomo", allowed)

    flows = published_network.flows(first, second)
    # The script takes the mean off this one too, and truncation shows what rounding that leaves.
    pictures = {0.0: (first - MEAN) + MEAN}
    for t in (0.25, 0.5, 0.75):
        pictures[t] = fused(first, second, published_network.grids(first, second, flows, t))

    assert_near_golden(from_pixels(flows[0]), arrays["odd_F01"], tolerance)
    assert_near_golden(from_pixels(flows[1]), arrays["odd_F10"], tolerance)
    assert_near_golden(pictures[0.25], arrays["odd_fused_t025"], tolerance)
    assert_near_golden(pictures[0.5], arrays["odd_fused_t050"], tolerance)
    for picture, expected in zip(pictures.values(), arrays["odd_public_png_u8"], strict=True):
        enlarged = enlarge((picture * 255.0).byte(), height, width)
        difference = enlarged[0].permute(1, 2, 0) - torch.from_numpy(expected).float()
        assert difference.abs().max() <= most
        # "A few" of so many.
        assert (difference != 0).float().mean() <= 5 / 10**power
