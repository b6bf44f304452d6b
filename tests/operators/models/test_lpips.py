"""LPIPS against the published code's numbers, and its arithmetic against slow loops."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from published import (
    assert_near_golden,
    assert_sums_match,
    published_layout,
    published_weights,
)
from shared import golden, golden_tolerance
from torch import Tensor, nn

from operators.models.lpips import (
    LPIPS,
    Fire,
    from_published,
    lpips_alex,
    lpips_squeeze,
    lpips_vgg,
    unit_normalize,
)

BUILDERS: dict[str, Callable[[], LPIPS]] = {
    "alex": lpips_alex,
    "vgg": lpips_vgg,
    "squeeze": lpips_squeeze,
}
NUMBERS = {"alex": 2_470_848, "vgg": 14_716_160, "squeeze": 724_736}
SIDES = {"alex": 31, "vgg": 16, "squeeze": 17}
# Layers of torchvision's `features` that have weights, and the LPIPS slice that each is in.
SLICES = {
    "alex": {0: 1, 3: 2, 6: 3, 8: 4, 10: 5},
    "vgg": {0: 1, 2: 1, 5: 2, 7: 2, 10: 3, 12: 3, 14: 3, 17: 4, 19: 4, 21: 4, 24: 5, 26: 5, 28: 5},
    "squeeze": {0: 1, 3: 2, 4: 2, 6: 3, 7: 3, 9: 4, 10: 5, 11: 6, 12: 7},
}
seeds = st.integers(0, 2**32 - 1)


def pair(height: int, width: int, batch: int = 1, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images, references = torch.rand(2, batch, 3, height, width, generator=generator)
    return images, references


@pytest.fixture(scope="module", params=sorted(BUILDERS))
def trunk_name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def network(trunk_name: str) -> LPIPS:
    torch.manual_seed(0)
    return BUILDERS[trunk_name]().eval().requires_grad_(requires_grad=False)


@given(seeds)
def test_the_distance_of_a_layer_is_that_of_a_loop_over_positions_and_channels(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    images, references = torch.rand(2, 2, 3, 2, 3, generator=generator)
    network = LPIPS(trunk=nn.Sequential(nn.Identity()), taps=(0,), channels=(3,), min_side=1)
    weights = torch.rand(3, generator=generator)
    network.heads[0].weight.data = weights.view(1, 3, 1, 1)

    found = network(images, references)

    # 2x - 1, then ImageNet's mean and deviation for pictures in [-1, 1].
    shift, scale = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
    for number in range(2):
        total = 0.0
        for y in range(2):
            for x in range(3):
                vectors = []
                for picture in (images, references):
                    vector = [
                        (2 * picture[number, c, y, x].item() - 1 - shift[c]) / scale[c]
                        for c in range(3)
                    ]
                    length = sum(value**2 for value in vector) ** 0.5
                    vectors.append([value / length for value in vector])
                total += sum(
                    weights[c].item() * (vectors[0][c] - vectors[1][c]) ** 2 for c in range(3)
                )
        assert found[number].item() == pytest.approx(total / 6, rel=1e-4, abs=1e-7)


def test_every_tap_reads_the_output_of_its_own_layer() -> None:
    trunk = nn.Sequential(nn.Identity(), nn.AvgPool2d(2), nn.Identity())
    network = LPIPS(trunk=trunk, taps=(0, 2), channels=(3, 3), min_side=2)
    for factor, head in zip((1.0, 10.0), network.heads, strict=True):
        nn.init.constant_(head.weight, factor)
    images, references = pair(4, 4)

    found = network.layer_distances(images, references)

    def one_layer(first: Tensor, second: Tensor) -> float:
        layer = LPIPS(trunk=nn.Sequential(nn.Identity()), taps=(0,), channels=(3,), min_side=1)
        nn.init.constant_(layer.heads[0].weight, 1.0)
        return layer(first, second).item()

    halved = [nn.functional.avg_pool2d(picture, 2) for picture in (images, references)]
    expected = [one_layer(images, references), 10.0 * one_layer(*halved)]
    np.testing.assert_allclose(found[0].detach(), expected, rtol=1e-4)


def test_vectors_get_length_one_and_zero_stays_zero() -> None:
    features = torch.tensor([[[[3.0, 0.0]], [[4.0, 0.0]]]])

    found = unit_normalize(features)

    np.testing.assert_allclose(found[0, :, 0], [[0.6, 0.0], [0.8, 0.0]], rtol=1e-6)


def test_a_fire_block_puts_the_narrow_half_before_the_wide_one() -> None:
    block = Fire(2, squeezed=1, expanded=1)
    for convolution in (block.squeeze, block.expand1x1, block.expand3x3):
        nn.init.constant_(convolution.weight, 1.0)
        nn.init.zeros_(convolution.bias)

    found = block(torch.ones(1, 2, 3, 3))

    expected_wide = [[8, 12, 8], [12, 18, 12], [8, 12, 8]]  # twice the neighbours within
    np.testing.assert_allclose(found[0, 0].detach(), np.full((3, 3), 2.0))
    np.testing.assert_allclose(found[0, 1].detach(), expected_wide)


def test_parameters_are_as_many_as_in_the_published_networks(
    network: LPIPS, trunk_name: str
) -> None:
    assert sum(p.numel() for p in network.parameters()) == NUMBERS[trunk_name]


def test_heads_read_the_rectified_end_of_every_slice_of_the_published_networks(
    network: LPIPS, trunk_name: str
) -> None:
    ends = {number: layer for layer, number in sorted(SLICES[trunk_name].items())}
    assert sorted(ends) == list(range(1, len(network.heads) + 1))
    for number, layer in ends.items():
        tap = network.taps[number - 1]
        assert tap == layer + (not isinstance(network.trunk[layer], Fire))
        assert isinstance(network.trunk[tap], Fire | nn.ReLU)


def test_equal_pictures_have_no_distance_and_others_have_one(network: LPIPS) -> None:
    images, references = pair(40, 50, batch=2)
    assert network(images, images).tolist() == [0.0, 0.0]
    assert (network.layer_distances(images, references).abs() > 0).all()


def test_pictures_of_a_batch_are_measured_each_by_itself(network: LPIPS) -> None:
    images, references = pair(33, 41, batch=3)
    together = network(images, references)
    alone = [network(images[i : i + 1], references[i : i + 1]).item() for i in range(3)]
    np.testing.assert_allclose(together, alone, rtol=1e-4)


def test_pictures_too_small_for_the_trunk_are_refused(network: LPIPS, trunk_name: str) -> None:
    side = SIDES[trunk_name]
    assert network(*pair(side, 40)).isfinite().all()
    with pytest.raises(ValueError, match=f"images must be at least {side} pixels a side, got 40x"):
        network(*pair(40, side - 1))


def test_pictures_that_do_not_fit_are_refused(network: LPIPS) -> None:
    images, references = pair(40, 40)
    with pytest.raises(ValueError, match="references must be on the grid of images"):
        network(images, references[..., :39])
    with pytest.raises(ValueError, match=r"images must be \(B, 3, H, W\)"):
        network(images[0], references)


def test_files_of_trunk_and_heads_and_of_the_whole_network_are_read(
    network: LPIPS, trunk_name: str
) -> None:
    state = network.state_dict()
    trunk, heads, whole = {}, {}, {}
    for key, tensor in state.items():
        part, index, rest = key.split(".", 2)
        if part == "heads":
            heads[f"lin{index}.model.1.{rest}"] = tensor
            whole[f"lin{index}.model.1.{rest}"] = whole[f"lins.{index}.model.1.{rest}"] = tensor
        else:
            trunk[f"features.{index}.{rest}"] = tensor
            whole[f"net.slice{SLICES[trunk_name][int(index)]}.{index}.{rest}"] = tensor
    trunk["classifier.1.weight"] = torch.zeros(1)
    whole["scaling_layer.shift"] = whole["scaling_layer.scale"] = torch.zeros(1, 3, 1, 1)

    for file in (trunk | heads, whole, {f"module.{key}": value for key, value in whole.items()}):
        found = from_published(file)
        assert found.keys() == state.keys()
        assert all(found[key] is tensor for key, tensor in state.items())
    # Heads on a trunk of random values once passed for LPIPS.
    assert from_published(heads).keys() != state.keys()


@pytest.fixture(scope="module")
def published_network() -> LPIPS:
    """A trunk made by the rule, and the heads as they were published."""
    arrays, _ = golden("lpips_alex")
    weights = published_weights("lpips_alex")
    trunk = {key: tensor for key, tensor in weights.items() if key.startswith("net.")}
    assert_sums_match(trunk, "lpips_alex")
    for index in range(5):
        head = torch.from_numpy(arrays[f"lin{index}"]).view(1, -1, 1, 1)
        weights[f"lin{index}.model.1.weight"] = weights[f"lins.{index}.model.1.weight"] = head
    network = lpips_alex().eval().requires_grad_(requires_grad=False)
    network.load_state_dict(from_published(weights))
    return network


@pytest.mark.shared
def test_the_layout_is_that_of_the_published_file() -> None:
    layout = {key: torch.empty(s) for key, (s, _) in published_layout("lpips_alex").items()}
    expected = {key: tensor.shape for key, tensor in from_published(layout).items()}
    state = lpips_alex().state_dict()
    assert {key: tensor.shape for key, tensor in state.items()} == expected


@pytest.mark.shared
@pytest.mark.parametrize("prefix", ["", "odd_"])
def test_distances_match_the_golden_of_the_published_code(
    published_network: LPIPS, prefix: str
) -> None:
    arrays, _ = golden("lpips_alex")
    tolerance = golden_tolerance("lpips_alex")
    first, second = (torch.from_numpy(arrays[f"{prefix}frame{i}"]) for i in (0, 1))

    per_layer = published_network.layer_distances(first, second)

    assert_near_golden(per_layer[0], arrays[f"{prefix}per_layer"], tolerance)
    assert_near_golden(published_network(first, second), arrays[f"{prefix}lpips"], tolerance)
    assert published_network(first, first).item() == arrays[f"{prefix}lpips_identical"]


@pytest.mark.shared
def test_features_match_the_golden_of_the_published_code(published_network: LPIPS) -> None:
    arrays, _ = golden("lpips_alex")
    heard: list[Tensor] = []
    handles = [
        published_network.trunk[tap].register_forward_hook(
            lambda _module, _inputs, output: heard.append(output)
        )
        for tap in published_network.taps
    ]

    published_network(*(torch.from_numpy(arrays[f"frame{i}"]) for i in (0, 1)))

    for handle in handles:
        handle.remove()
    assert len(heard) == 5
    for depth, features in enumerate(heard, start=1):
        expected = arrays[f"relu{depth}_c4"]
        assert_near_golden(features[:1, ::4], expected, golden_tolerance("lpips_alex"))
