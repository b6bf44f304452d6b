"""RAFT, large and small, against the published code's numbers, and its parts against slow loops."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
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

from operators.models.raft import (
    RAFT,
    CorrelationPyramid,
    from_published,
    raft_large,
    raft_small,
    upsample_convex,
)

BUILDERS: dict[str, Callable[..., RAFT]] = {"large": raft_large, "small": raft_small}
SIZES = tuple(BUILDERS)

seeds = st.integers(0, 2**32 - 1)


def pair(height: int, width: int, batch: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.rand(2, batch, 3, height, width, generator=generator)
    return first, second


@pytest.fixture(scope="module", params=SIZES)
def network(request: pytest.FixtureRequest) -> RAFT:
    torch.manual_seed(0)
    return BUILDERS[request.param](num_updates=2).eval().requires_grad_(requires_grad=False)


def read(picture: np.ndarray, x: float, y: float) -> float:
    """Bilinear interpolation of an ``(H, W)`` picture at one position, zero outside."""
    height, width = picture.shape
    total = 0.0
    for row in range(height):
        for column in range(width):
            share = max(0.0, 1 - abs(x - column)) * max(0.0, 1 - abs(y - row))
            total += share * picture[row, column]
    return total


@given(st.integers(4, 7), st.integers(4, 7), seeds)
def test_a_lookup_reads_similarities_around_the_position_at_every_level(
    height: int, width: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.randn(2, 1, 5, height, width, generator=generator)
    positions = 10 * torch.rand(1, 2, height, width, generator=generator) - 2

    found = CorrelationPyramid(first, second, num_levels=2, radius=1).lookup(positions)

    assert found.shape == (1, 2 * 3 * 3, height, width)
    row, column = seed % height, seed % width
    similarity = torch.einsum("c,chw->hw", first[0, :, row, column], second[0]) / 5**0.5
    halved = F.avg_pool2d(similarity[None, None], 2)[0, 0]
    x, y = positions[0, :, row, column].tolist()
    channel = 0
    for scale, level in ((1, similarity), (2, halved)):
        for dx in (-1, 0, 1):
            for dy in (-1, 0, 1):
                expected = read(level.numpy(), x / scale + dx, y / scale + dy)
                actual = found[0, channel, row, column].item()
                assert actual == pytest.approx(expected, abs=1e-4)
                channel += 1


def test_pairs_of_a_batch_are_not_mixed_by_a_lookup() -> None:
    first, second = torch.randn(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    positions = torch.full((3, 2, 5, 6), 2.25)
    build = partial(CorrelationPyramid, num_levels=2, radius=1)

    together = build(first, second).lookup(positions)

    for i in range(3):
        alone = build(first[i : i + 1], second[i : i + 1]).lookup(positions[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone)


def test_convex_upsampling_mixes_nine_neighbours_of_the_enlarged_flow() -> None:
    generator = torch.Generator().manual_seed(0)
    flow = torch.randn(1, 2, 3, 4, generator=generator)
    logits = torch.randn(1, 576, 3, 4, generator=generator)

    found = upsample_convex(flow, logits)

    assert found.shape == (1, 2, 24, 32)
    for y, x in ((0, 0), (7, 8), (12, 20), (23, 31), (9, 15)):
        row, column = y // 8, x // 8
        exponentials = [
            np.exp(logits[0, 64 * k + 8 * (y % 8) + x % 8, row, column].item()) for k in range(9)
        ]
        for axis in (0, 1):
            expected = 0.0
            for k in range(9):
                from_row, from_column = row + k // 3 - 1, column + k % 3 - 1
                if 0 <= from_row < 3 and 0 <= from_column < 4:
                    neighbour = 8 * flow[0, axis, from_row, from_column].item()
                    expected += exponentials[k] / sum(exponentials) * neighbour
            assert found[0, axis, y, x].item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("size", "number"), [("large", 5_257_536), ("small", 990_162)])
def test_parameters_are_as_many_as_in_the_published_networks(size: str, number: int) -> None:
    assert sum(parameter.numel() for parameter in BUILDERS[size]().parameters()) == number


@pytest.mark.parametrize(("height", "width"), [(1, 1), (130, 140), (50, 129)])
def test_pictures_of_any_size_give_a_flow_of_their_size(
    network: RAFT, height: int, width: int
) -> None:
    flow = network(*pair(height, width))
    assert flow.shape == (1, 2, height, width)
    assert flow.isfinite().all()


def test_padding_repeats_the_border_evenly_on_both_sides(network: RAFT) -> None:
    first, second = pair(131, 150)
    by_hand = [F.pad(image, (1, 1, 2, 3), mode="replicate") for image in (first, second)]
    torch.testing.assert_close(network(first, second), network(*by_hand)[..., 2:133, 1:151])


def test_a_batch_gives_what_its_pairs_give_alone(network: RAFT) -> None:
    first, second = pair(128, 136, batch=2)

    together = network(first, second)

    for i in (0, 1):
        alone = network(first[i : i + 1], second[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-4, atol=1e-3)


def test_the_flow_adds_up_the_changes_of_every_update() -> None:
    """Parts that say: a pixel and a half more to the left, every time."""

    class Shrink(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return F.avg_pool2d(image, 8)

    class MoveLeft(nn.Module):
        def forward(
            self, hidden: Tensor, _context: Tensor, _found: Tensor, flow: Tensor
        ) -> tuple[Tensor, Tensor]:
            return hidden, torch.tensor((-1.5, 0.0)).view(1, 2, 1, 1).expand_as(flow)

    network = RAFT(
        feature_encoder=Shrink(),
        context_encoder=Shrink(),
        correlation=partial(CorrelationPyramid, num_levels=2, radius=1),
        update_block=MoveLeft(),
        mask_predictor=None,
        hidden_size=1,
        num_updates=3,
    )

    flow = network(*pair(128, 136))

    expected = torch.tensor((8 * 3 * -1.5, 0.0)).view(1, 2, 1, 1).expand(1, 2, 128, 136)
    torch.testing.assert_close(flow, expected)


@pytest.mark.parametrize("num_updates", [0, -1])
def test_fewer_than_one_update_is_refused(num_updates: int) -> None:
    with pytest.raises(ValueError, match="num_updates must be at least 1, got"):
        raft_small(num_updates)


@pytest.mark.parametrize(
    ("authors", "own"),
    [
        ("fnet.conv1.weight", "feature_encoder.convnormrelu.0.weight"),
        ("cnet.norm1.running_var", "context_encoder.convnormrelu.1.running_var"),
        ("cnet.conv2.bias", "context_encoder.conv.bias"),
        ("cnet.layer2.0.conv2.bias", "context_encoder.layer2.0.convnormrelu2.0.bias"),
        ("cnet.layer3.1.norm1.weight", "context_encoder.layer3.1.convnormrelu1.1.weight"),
        ("cnet.layer2.0.downsample.1.bias", "context_encoder.layer2.0.downsample.1.bias"),
        ("update_block.encoder.convf2.bias", "update_block.motion_encoder.convflow2.0.bias"),
        ("update_block.encoder.conv.bias", "update_block.motion_encoder.conv.0.bias"),
        ("update_block.gru.convq2.bias", "update_block.recurrent_block.convgru2.convq.bias"),
        ("update_block.flow_head.conv1.bias", "update_block.flow_head.conv1.bias"),
        ("update_block.mask.2.weight", "mask_predictor.conv.weight"),
    ],
)
def test_a_layer_is_found_under_the_authors_name_and_under_torchvisions(
    authors: str, own: str
) -> None:
    tensor = torch.zeros(1)
    for name in (authors, f"module.{authors}", own):
        file = {name: tensor, "cnet.layer2.0.norm3.bias": tensor}
        assert from_published(file) == {own: tensor}
    assert own in raft_large().state_dict()


def test_pictures_of_different_sizes_are_refused(network: RAFT) -> None:
    first, second = pair(128, 128)
    with pytest.raises(ValueError, match="second must be on the grid of first"):
        network(first, second[..., :127])
    with pytest.raises(ValueError, match=r"first must be \(B, 3, H, W\)"):
        network(first[0], second)


@pytest.fixture(scope="module", params=SIZES)
def size(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def published_network(size: str) -> RAFT:
    weights = published_weights(f"raft_{size}")
    # The authors' norm3 and downsample.1 are one tensor under two names, the later one filled.
    shared = {key.replace("norm3", "downsample.1"): key for key in weights if "norm3" in key}
    for kept, duplicate in shared.items():
        weights[duplicate] = weights[kept]
    assert_sums_match(weights, f"raft_{size}")
    network = BUILDERS[size]().eval().requires_grad_(requires_grad=False)
    network.load_state_dict(from_published(weights))
    return network


@pytest.mark.shared
def test_the_authors_names_become_torchvisions_and_duplicates_go(size: str) -> None:
    layout = {key: torch.empty(s) for key, (s, _) in published_layout(f"raft_{size}").items()}
    names = published_names(f"raft_{size}_torchvision_map")
    expected = {names[key]: tensor for key, tensor in layout.items() if key in names}

    for prefix in ("", "module."):
        found = from_published({f"{prefix}{key}": tensor for key, tensor in layout.items()})
        assert found.keys() == expected.keys()
        assert all(found[key] is tensor for key, tensor in expected.items())
    assert from_published(expected).keys() == expected.keys()
    state = BUILDERS[size]().state_dict()
    assert {key: tensor.shape for key, tensor in state.items()} == {
        key: tensor.shape for key, tensor in expected.items()
    }


@pytest.mark.shared
@pytest.mark.parametrize("num_updates", [1, 4, 12])
def test_the_flow_matches_the_golden_of_the_published_code(
    published_network: RAFT, size: str, num_updates: int
) -> None:
    arrays, _ = golden(f"raft_{size}")
    first, second = torch.from_numpy(arrays["frame0"]), torch.from_numpy(arrays["frame1"])
    published_network.num_updates = num_updates

    flow = published_network(first, second)

    expected = arrays[f"flow_iter{num_updates:02}"]
    assert_near_golden(flow, expected, golden_tolerance(f"raft_{size}"))


@pytest.mark.shared
def test_features_and_coarse_flow_match_the_golden_of_the_published_code(
    published_network: RAFT, size: str
) -> None:
    arrays, _ = golden(f"raft_{size}")
    tolerance = golden_tolerance(f"raft_{size}")
    first, second = torch.from_numpy(arrays["frame0"]), torch.from_numpy(arrays["frame1"])
    heard: dict[str, list[Tensor]] = {}
    handles = [
        published_network.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: heard.setdefault(name, []).append(output)
        )
        for name in ("feature_encoder", "context_encoder", "update_block.flow_head")
    ]
    published_network.num_updates = 4

    published_network(first, second)

    for handle in handles:
        handle.remove()
    assert_near_golden(heard["feature_encoder"][0][:1, ::8], arrays["fmap0_c8"], tolerance)
    assert_near_golden(heard["context_encoder"][0][:, ::8], arrays["cnet_c8"], tolerance)
    coarse = torch.stack(heard["update_block.flow_head"]).sum(dim=0)
    assert_near_golden(coarse, arrays["flow_low_iter04"], tolerance)


@pytest.mark.shared
def test_an_odd_size_matches_the_golden_of_the_published_code(
    published_network: RAFT, size: str
) -> None:
    arrays, _ = golden(f"raft_{size}")
    first, second = (torch.from_numpy(arrays[f"odd_frame{i}"]) for i in (0, 1))
    published_network.num_updates = 4

    flow = published_network(first, second)

    assert_near_golden(flow, arrays["odd_flow_iter04"], golden_tolerance(f"raft_{size}"))
