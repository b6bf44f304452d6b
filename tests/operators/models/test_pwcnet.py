"""PWC-Net against the published code's numbers, and its parts against slow loops."""

import re
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from published import (
    assert_near_golden,
    assert_sums_match,
    published_layout,
    published_names,
    published_weights,
)
from shared import golden, golden_tolerance
from torch import Tensor, nn

from operators.models import pwcnet
from operators.models.pwcnet import PWCNet, cost_volume, from_published, pwc_net, warp_inside

sides = st.integers(1, 6)
seeds = st.integers(0, 2**32 - 1)


def pair(height: int, width: int, batch: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.rand(2, batch, 3, height, width, generator=generator)
    return first, second


def constant_flow(u: float, v: float, height: int, width: int) -> Tensor:
    return torch.tensor((float(u), float(v))).view(1, 2, 1, 1).expand(1, 2, height, width)


@pytest.fixture(scope="module")
def network() -> PWCNet:
    torch.manual_seed(0)
    network = pwc_net().eval().requires_grad_(requires_grad=False)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            # By default signals fade, and then nothing that reaches the pictures shows.
            nn.init.kaiming_normal_(parameter, nonlinearity="leaky_relu")
    return network


@given(sides, sides, st.integers(1, 3), seeds)
def test_a_cost_is_the_mean_product_with_the_feature_at_its_displacement(
    height: int, width: int, channels: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.randn(2, 1, channels, height, width, generator=generator)

    costs = cost_volume(first, second)

    assert costs.shape == (1, 81, height, width)
    for dy in range(-4, 5):
        for dx in range(-4, 5):
            for y in range(height):
                for x in range(width):
                    expected = 0.0
                    if 0 <= y + dy < height and 0 <= x + dx < width:
                        products = first[0, :, y, x] * second[0, :, y + dy, x + dx]
                        expected = products.sum().item() / channels
                    cost = costs[0, 9 * (dy + 4) + dx + 4, y, x].item()
                    assert cost == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("u", "v"), [(0, 0), (2, -1), (-3, 2), (9, 0)])
def test_a_warp_by_whole_pixels_shifts_and_leaves_zero_where_it_left_the_picture(
    u: int, v: int
) -> None:
    features = torch.rand(1, 3, 5, 7) + 1.0

    warped = warp_inside(features, constant_flow(u, v, 5, 7))

    for y in range(5):
        for x in range(7):
            is_inside = 0 <= x + u < 7 and 0 <= y + v < 5
            expected = features[0, :, y + v, x + u] if is_inside else torch.zeros(3)
            torch.testing.assert_close(warped[0, :, y, x], expected, rtol=0, atol=1e-4)


def test_a_feature_counts_only_if_almost_all_of_it_came_from_inside() -> None:
    ones = torch.ones(1, 1, 4, 6)
    assert warp_inside(ones, constant_flow(0.0005, 0.0, 4, 6))[0, 0, 0, -1] > 0.99
    assert warp_inside(ones, constant_flow(0.01, 0.0, 4, 6))[0, 0, 0, -1] == 0.0


def test_parameters_are_as_many_as_in_the_published_network(network: PWCNet) -> None:
    assert sum(parameter.numel() for parameter in network.parameters()) == 9_374_274


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 70), (64, 128), (65, 63)])
def test_pictures_of_any_size_give_a_flow_of_their_size(
    network: PWCNet, height: int, width: int
) -> None:
    assert network(*pair(height, width, batch=2)).shape == (2, 2, height, width)


def test_a_batch_gives_what_its_pairs_give_alone(network: PWCNet) -> None:
    first, second = pair(60, 100, batch=2)
    second = torch.cat((second[:1], first[1:].roll(5, dims=-1)))

    together = network(first, second)

    for i in (0, 1):
        alone = network(first[i : i + 1], second[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-4, atol=1e-3)


def test_the_pyramid_sees_pictures_resized_to_multiples_of_64_with_blue_first(
    network: PWCNet,
) -> None:
    seen = []
    handle = network.pyramid.register_forward_pre_hook(
        lambda _module, inputs: seen.append(inputs[0])
    )
    red = torch.tensor((1.0, 0.0, 0.0)).view(1, 3, 1, 1).expand(1, 3, 50, 130)

    network(red, red)

    handle.remove()
    blue_green_red = torch.tensor((0.0, 0.0, 1.0)).view(1, 3, 1, 1).expand(1, 3, 64, 192)
    torch.testing.assert_close(seen[0], blue_green_red)


def test_a_unit_of_flow_is_twenty_pixels_and_follows_the_size_of_the_pictures() -> None:
    """Parts that say: one to the right and half a unit down, everywhere."""

    class OneUnit(nn.Module):
        def forward(self, first: Tensor, _second: Tensor, _coarse: object) -> tuple[Tensor, Tensor]:
            return constant_flow(1.0, 0.5, *first.shape[-2:]), first

    class NoCorrection(nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            return torch.zeros_like(features[:, :2])

    network = PWCNet(
        pyramid=pwcnet.FeaturePyramid(),
        decoders=[OneUnit() for _ in range(5)],
        context=NoCorrection(),
    )

    flow = network(*pair(32, 96))  # resized to 64 and 128

    expected = constant_flow(20.0 * 96 / 128, 10.0 * 32 / 64, 32, 96)
    torch.testing.assert_close(flow, expected)


@pytest.mark.parametrize(
    ("sniklaus", "nvlabs", "own"),
    [
        ("Extractor.{}One.2.bias", "conv1aa.0.bias", "pyramid.level1.2.bias"),
        ("Extractor.{}Six.0.weight", "conv6aa.0.weight", "pyramid.level6.0.weight"),
        ("Six.{}One.0.weight", "conv6_0.0.weight", "decoders.0.dense.0.weight"),
        ("Fiv.{}Upflow.bias", "deconv6.bias", "decoders.1.upsample_flow.bias"),
        ("Two.{}Upfeat.weight", "upfeat3.weight", "decoders.4.upsample_features.weight"),
        ("Two.{}Six.0.weight", "predict_flow2.weight", "decoders.4.predict_flow.weight"),
        ("Refiner.{}Main.12.bias", "dc_conv7.bias", "context.12.bias"),
    ],
)
def test_a_layer_is_found_under_either_publishers_name(
    sniklaus: str, nvlabs: str, own: str, network: PWCNet
) -> None:
    tensor = torch.zeros(1)
    names = [f"{word}{sniklaus.format(word)}" for word in ("net", "module")]
    for name in (*names, nvlabs, f"module.{nvlabs}", own):
        assert from_published({name: tensor, "deconv2.weight": tensor}) == {own: tensor}
    assert own in network.state_dict()


def test_pictures_of_different_sizes_are_refused(network: PWCNet) -> None:
    first, second = pair(64, 64)
    with pytest.raises(ValueError, match="second must be on the grid of first"):
        network(first, second[..., :63])
    with pytest.raises(ValueError, match=r"first must be \(B, 3, H, W\)"):
        network(first[0], second)


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    found = published_weights("pwcnet")
    assert_sums_match(found, "pwcnet")
    return found


@pytest.fixture(scope="module")
def published_network(weights: dict[str, Tensor]) -> PWCNet:
    network = pwc_net().eval().requires_grad_(requires_grad=False)
    network.load_state_dict(from_published(weights))
    return network


@pytest.mark.shared
def test_keys_and_shapes_are_those_of_the_published_file(network: PWCNet) -> None:
    layout = {key: torch.empty(shape) for key, (shape, _) in published_layout("pwcnet").items()}
    expected = {key: tensor.shape for key, tensor in from_published(layout).items()}
    assert {key: tensor.shape for key, tensor in network.state_dict().items()} == expected


@pytest.mark.shared
def test_a_file_may_have_the_names_of_either_publisher(weights: dict[str, Tensor]) -> None:
    expected = from_published(weights)
    files = {key.replace("net", "module", 1): tensor for key, tensor in weights.items()}
    files = {re.sub(r"\.net(?=[A-Z])", ".module", key): t for key, t in files.items()}
    nvlabs = {"deconv2.weight": torch.zeros(2, 2, 4, 4), "deconv2.bias": torch.zeros(2)}
    names = published_names("pwcnet_nvlabs_map")
    for key, tensor in weights.items():
        layer, _, leaf = key.rpartition(".")
        nvlabs[f"{names[layer]}.{leaf}"] = tensor

    assert "moduleExtractor.moduleOne.0.weight" in files
    for file in (
        files,
        nvlabs,
        {"state_dict": nvlabs},
        {f"module.{key}": tensor for key, tensor in nvlabs.items()},
        expected,
    ):
        found = from_published(file)
        assert found.keys() == expected.keys()
        assert all(found[key] is tensor for key, tensor in expected.items())


@dataclass(frozen=True)
class Stages:
    """What passes between the parts of a network.

    Attributes:
        cost: Cost volume of the coarsest level.
        flows: Of levels 6 to 2, in units of 20 pixels.
        quarter: Refined flow at a quarter of the size, in pixels of the full picture.
    """

    cost: Tensor
    flows: list[Tensor]
    quarter: Tensor


def stages(network: PWCNet, first: Tensor, second: Tensor) -> Stages:
    costs: list[Tensor] = []
    flows: list[Tensor] = []
    corrections: list[Tensor] = []
    handles = [
        network.decoders[0]
        .dense[0]
        .register_forward_pre_hook(lambda _module, inputs: costs.append(inputs[0])),
        network.context.register_forward_hook(
            lambda _module, _inputs, output: corrections.append(output)
        ),
    ]
    for decoder in network.decoders:
        handle = decoder.register_forward_hook(
            lambda _module, _inputs, output: flows.append(output[0])
        )
        handles.append(handle)
    network(first, second)
    for handle in handles:
        handle.remove()
    return Stages(costs[0], flows, 20 * (flows[-1] + corrections[0]))


@pytest.mark.shared
def test_every_stage_matches_the_golden_of_the_published_code(published_network: PWCNet) -> None:
    arrays, _ = golden("pwcnet")
    tolerance = golden_tolerance("pwcnet")
    first, second = torch.from_numpy(arrays["frame0"]), torch.from_numpy(arrays["frame1"])

    pyramid = published_network.pyramid(first.flip(1))
    found = stages(published_network, first, second)
    flow = published_network(first, second)

    for level in (2, 4, 6):
        assert_near_golden(pyramid[level - 1], arrays[f"feat{level}_frame0"], tolerance)
    assert_near_golden(found.cost, arrays["corr6_lrelu"], tolerance)
    for level, coarse in zip((6, 5, 4, 3, 2), found.flows, strict=True):
        assert_near_golden(coarse, arrays[f"flow{level}"], tolerance)
    assert_near_golden(found.quarter, arrays["flow_quarter"], tolerance)
    assert_near_golden(flow[0], arrays["flow"], tolerance)


@pytest.mark.shared
def test_an_odd_size_matches_the_golden_of_the_published_code(published_network: PWCNet) -> None:
    arrays, _ = golden("pwcnet")
    first, second = (torch.from_numpy(arrays[f"odd_frame{i}"]) for i in (0, 1))
    flow = published_network(first, second)[0]
    assert_near_golden(flow, arrays["odd_flow"], golden_tolerance("pwcnet"))


@pytest.mark.shared
def test_the_other_publishers_threshold_differs_from_the_golden_by_as_much_as_was_measured(
    published_network: PWCNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays, meta = golden("pwcnet")
    first, second = torch.from_numpy(arrays["frame0"]), torch.from_numpy(arrays["frame1"])
    monkeypatch.setattr(pwcnet, "INSIDE_SHARE", 0.9999)

    quarter = stages(published_network, first, second).quarter

    difference = np.abs(quarter.numpy() - arrays["flow_quarter"]).max()
    assert difference == pytest.approx(meta["nvlabs_max_abs_diff"], rel=1e-3)
