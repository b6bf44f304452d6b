"""The painting parts of VINet in closed form."""

import pytest
import torch
from torch import Tensor, nn

from operators.models.vinet_gated import (
    Aggregation,
    Bottleneck,
    Decoder,
    Encoder,
    GatedConv,
    GatedConv3d,
    GatedUpConv,
)


def pass_through(conv: nn.Conv2d | nn.Conv3d, value: float, gate: float) -> None:
    """Make a gated convolution of one channel read only the pixel itself."""
    with torch.no_grad():
        conv.weight.zero_()
        centre = tuple(side // 2 for side in conv.weight.shape[2:])
        conv.weight[(0, 0, *centre)] = value
        conv.weight[(1, 0, *centre)] = gate


def sigmoid(values: Tensor) -> Tensor:
    return 1.0 / (1.0 + torch.exp(-values))


def test_the_first_half_of_the_channels_is_the_value_and_the_second_its_gate():
    values = torch.tensor(((-2.0, 0.5), (3.0, -0.1)))
    flat, deep = GatedConv(1, 1), GatedConv3d(1, 1)
    pass_through(flat.conv, 2.0, -3.0)
    pass_through(deep.conv, 2.0, -3.0)

    expected = (2.0 * values).clamp(min=0.0) * sigmoid(-3.0 * values)
    torch.testing.assert_close(flat(values[None, None])[0, 0].detach(), expected)
    torch.testing.assert_close(deep(values[None, None, None])[0, 0, 0].detach(), expected)


def test_an_upsampling_layer_interpolates_and_lets_a_fifth_of_negative_values_through():
    up = GatedUpConv(1, 1)
    pass_through(up.conv[1], 1.0, 0.0)
    ramp = torch.tensor((-4.0, 4.0)).view(1, 1, 1, 1, 2)

    output = up(ramp).detach()

    assert output.shape == (1, 1, 1, 2, 4)
    expected = torch.tensor((-4.0 * 0.2, -2.0 * 0.2, 2.0, 4.0)) / 2.0
    torch.testing.assert_close(output[0, 0, 0], expected.expand(2, 4))


@pytest.mark.parametrize("dilation", [1, 4])
def test_dilation_spreads_the_kernel_and_keeps_the_size(dilation: int):
    for conv, rest in (
        (GatedConv(1, 1, dilation=dilation), (9, 11)),
        (GatedConv3d(1, 1, dilation=dilation), (1, 9, 11)),
    ):
        point = torch.zeros(1, 1, *rest)
        point[..., 4, 5] = 1.0
        with torch.no_grad():
            conv.conv.weight.fill_(1.0)
        reached = conv(point).detach().reshape(9, 11).nonzero()
        assert {tuple(place.tolist()) for place in reached} == {
            (4 + dy, 5 + dx) for dy in (-dilation, 0, dilation) for dx in (-dilation, 0, dilation)
        }


def test_aggregation_sees_every_map_of_the_stack():
    pool = Aggregation(1, count=5)
    with torch.no_grad():
        pool.stAgg.conv.weight.zero_()
        pool.stAgg.conv.weight[0, 0, :, 1, 1] = torch.tensor((1.0, 10.0, 100.0, 1000.0, 10000.0))
    stack = torch.tensor((5.0, 4.0, 3.0, 2.0, 1.0)).view(1, 1, 5, 1, 1).expand(1, 1, 5, 4, 6)
    output = pool(stack).detach()
    torch.testing.assert_close(output, torch.full((1, 1, 4, 6), 12345.0 * 0.5))


@pytest.mark.parametrize(("halves", "first"), [(False, 1), (True, 2)])
def test_an_encoder_halves_three_times_and_once_more_if_told(halves: bool, first: int):
    pyramid = Encoder(halves=halves)(torch.zeros(2, 5, 32, 48))
    height, width = 32 // first, 48 // first
    assert pyramid.full.shape == (2, 32, height, width)
    assert pyramid.half.shape == (2, 64, height // 2, width // 2)
    assert pyramid.quarter.shape == (2, 96, height // 4, width // 4)
    assert pyramid.eighth.shape == (2, 128, height // 8, width // 8)


@pytest.mark.parametrize(("doubles", "scale"), [(False, 8), (True, 16)])
def test_a_decoder_undoes_what_the_encoder_halved(doubles: bool, scale: int):
    decoder = Decoder(doubles=doubles)
    picture = decoder(torch.rand(2, 128, 2, 3), torch.rand(2, 96, 4, 6), torch.rand(2, 64, 8, 12))
    assert picture.shape == (2, 3, 2 * scale, 3 * scale)


def test_the_bottleneck_reaches_fifteen_features_far():
    """One plain layer and dilations of 2, 4 and 8: 1 + 2 + 4 + 8."""
    torch.manual_seed(0)
    bottleneck = Bottleneck().double().requires_grad_(requires_grad=False)
    features = torch.rand(1, 256, 1, 40, dtype=torch.double)
    moved = features.clone()
    moved[..., 20] += 1.0
    changed = (bottleneck(moved) - bottleneck(features)).abs().amax(dim=(0, 1, 2)).nonzero()
    assert (changed.min(), changed.max()) == (20 - 15, 20 + 15)
