"""InceptionV3 against the published code's numbers, and what sets the FID's variant apart."""

import numpy as np
import pytest
import torch
from published import (
    assert_near_golden,
    assert_sums_match,
    published_layout,
    published_weights,
)
from shared import golden, golden_tolerance
from torch import Tensor, nn

from operators.models.inception import (
    ConvNorm,
    InceptionA,
    InceptionB,
    InceptionE,
    InceptionV3,
    from_published,
)


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def fill_with(value: float, convolution: nn.Conv2d) -> None:
    nn.init.constant_(convolution.weight, value)


@pytest.fixture(scope="module")
def network() -> InceptionV3:
    torch.manual_seed(0)
    network = InceptionV3().eval().requires_grad_(requires_grad=False)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            # PyTorch's own values let pictures fade away on their way through so many layers.
            nn.init.kaiming_normal_(module.weight)
    return network


def test_parameters_are_as_many_as_in_the_published_network(network: InceptionV3) -> None:
    assert sum(p.numel() for p in network.parameters()) == 23_850_960
    assert sum(p.numel() for p in network.fc.parameters()) == 1008 * (2048 + 1)


def test_pictures_of_any_size_give_2048_features_each_by_itself(network: InceptionV3) -> None:
    pictures = images(2, 3, 20, 31)
    together = network(pictures)
    assert together.shape == (2, 2048)
    torch.testing.assert_close(together[1:], network(pictures[1:]), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(together[0], together[1], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(("height", "width"), [(299, 299), (598, 120)])
def test_the_network_sees_a_square_of_299_in_minus_one_to_one(
    network: InceptionV3, height: int, width: int
) -> None:
    """Each pixel is read from the four around its place, however much smaller the square is."""
    picture = images(1, 3, height, width)
    seen: list[Tensor] = []

    def stop(_module: nn.Module, inputs: tuple[Tensor]) -> None:
        seen.append(inputs[0])
        raise InterruptedError

    handle = network.Conv2d_1a_3x3.register_forward_pre_hook(stop)
    with pytest.raises(InterruptedError):
        network(picture)
    handle.remove()

    assert seen[0].shape == (1, 3, 299, 299)
    for y, x in ((0, 0), (150, 7), (298, 298), (33, 201)):
        # Centres of pixels half a pixel from the edge, the border repeated.
        at = [
            min(max((place + 0.5) * side / 299 - 0.5, 0.0), side - 1.0)
            for place, side in ((y, height), (x, width))
        ]
        total = 0.0
        for row in range(height):
            if abs(at[0] - row) < 1:
                for column in range(width):
                    share = max(0.0, 1 - abs(at[1] - column)) * (1 - abs(at[0] - row))
                    total += share * picture[0, 1, row, column].item()
        assert seen[0][0, 1, y, x].item() == pytest.approx(2 * total - 1, abs=1e-4)


def test_normalisation_adds_a_thousandth_to_the_variance() -> None:
    layer = ConvNorm(1, 1, 1).eval()
    fill_with(1.0, layer.conv)
    nn.init.constant_(layer.bn.running_var, 0.003)

    found = layer(torch.tensor([1.0, -1.0]).view(1, 1, 1, 2)).flatten()

    assert found.tolist() == pytest.approx([1 / 0.004**0.5, 0.0])


def pooled_by(block: InceptionA | InceptionE, features: Tensor) -> Tensor:
    """What the pooling path of a block, the last, makes of features of one channel."""
    fill_with(1.0, block.branch_pool.conv)
    nn.init.constant_(block.branch_pool.bn.running_var, 1 - 1e-3)
    return block.eval()(features)[0, -1].detach()


def test_the_mean_at_the_border_is_over_what_lies_within() -> None:
    features = torch.arange(9.0).view(1, 1, 3, 3)
    expected = [[2.0, 2.5, 3.0], [3.5, 4.0, 4.5], [5.0, 5.5, 6.0]]
    for block in (InceptionA(1, pool_width=1), InceptionE(1, is_max_pooled=False)):
        np.testing.assert_allclose(pooled_by(block, features), expected, rtol=1e-5)


def test_the_last_block_takes_the_largest_instead_of_the_mean(network: InceptionV3) -> None:
    features = torch.arange(9.0).view(1, 1, 3, 3)
    expected = [[4.0, 5.0, 5.0], [7.0, 8.0, 8.0], [7.0, 8.0, 8.0]]
    found = pooled_by(InceptionE(1, is_max_pooled=True), features)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert (network.Mixed_7b.is_max_pooled, network.Mixed_7c.is_max_pooled) == (False, True)


def test_a_block_that_halves_passes_the_largest_on_after_its_convolutions() -> None:
    features = images(1, 2, 7, 9)
    found = InceptionB(2).eval()(features)
    assert found.shape == (1, 384 + 96 + 2, 3, 4)
    windows = features.unfold(2, 3, 2).unfold(3, 3, 2)
    torch.testing.assert_close(found[:, -2:], windows.amax(dim=(-2, -1)))


def test_other_shapes_are_refused(network: InceptionV3) -> None:
    with pytest.raises(ValueError, match=r"images must be \(B, 3, H, W\), got \(3, 9, 9\)"):
        network(images(3, 9, 9))


def test_a_file_older_than_the_counters_of_the_normalisation_is_read(network: InceptionV3) -> None:
    state = network.state_dict()
    old = {f"module.{k}": v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    assert len(old) < len(state)

    found = from_published(old)

    assert found.keys() == state.keys()
    assert all(found[key].shape == tensor.shape for key, tensor in state.items())
    given = {**state, "Mixed_5b.branch1x1.bn.num_batches_tracked": torch.tensor(7)}
    assert from_published(given)["Mixed_5b.branch1x1.bn.num_batches_tracked"] == 7


@pytest.fixture(scope="module")
def published_network() -> InceptionV3:
    weights = published_weights("inception_fid")
    assert_sums_match(weights, "inception_fid")
    network = InceptionV3().eval().requires_grad_(requires_grad=False)
    network.load_state_dict(from_published(weights))
    return network


@pytest.mark.shared
def test_the_layout_is_that_of_the_published_file(network: InceptionV3) -> None:
    layout = {key: shape for key, (shape, _) in published_layout("inception_fid").items()}
    assert {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()} == layout


@pytest.mark.shared
def test_features_at_every_depth_match_the_golden_of_the_published_code(
    published_network: InceptionV3,
) -> None:
    arrays, _ = golden("inception_fid")
    tolerance = golden_tolerance("inception_fid")
    heard: dict[str, Tensor] = {}
    # The published code cuts the network before these layers.
    handles = [
        published_network.get_submodule(name).register_forward_pre_hook(
            lambda _module, inputs, name=name: heard.update({name: inputs[0]})
        )
        for name in ("Conv2d_3b_1x1", "Mixed_5b", "Mixed_7a")
    ]

    found = published_network(torch.from_numpy(arrays["frame"]))

    for handle in handles:
        handle.remove()
    assert_near_golden(heard["Conv2d_3b_1x1"][:, ::8, ::2, ::2], arrays["block0_s"], tolerance)
    assert_near_golden(heard["Mixed_5b"][:, ::12, ::2, ::2], arrays["block1_s"], tolerance)
    assert_near_golden(heard["Mixed_7a"][:, ::16], arrays["block2_s"], tolerance)
    assert_near_golden(found, arrays["pool3"], tolerance)


@pytest.mark.shared
def test_a_picture_that_is_made_smaller_matches_the_golden(published_network: InceptionV3) -> None:
    arrays, _ = golden("inception_fid")
    found = published_network(torch.from_numpy(arrays["large_frame"]))
    assert_near_golden(found, arrays["large_pool3"], golden_tolerance("inception_fid"))
