"""The motion parts of VINet in closed form."""

import pytest
import torch
from torch import nn

from operators.models.pwcnet import cost_volume
from operators.models.vinet_flow import FlowNetwork, MaskNetwork, enlarge_flow


@pytest.mark.parametrize("scale", [2, 4])
def test_an_enlarged_flow_moves_as_far_in_the_picture(scale: int):
    flow = torch.tensor((1.5, -2.0)).view(1, 2, 1, 1).expand(1, 2, 3, 5)
    enlarged = enlarge_flow(flow, scale)
    assert torch.equal(enlarged, (scale * flow[:, :, :1, :1]).expand(1, 2, 3 * scale, 5 * scale))


def test_a_network_without_opinion_leaves_the_flow_as_it_was():
    network = FlowNetwork(3, is_coarsest=False).requires_grad_(requires_grad=False)
    for parameter in network.parameters():
        parameter.zero_()
    target, reference, flow = torch.rand(2, 3, 6, 7), torch.rand(2, 3, 6, 7), torch.rand(2, 2, 6, 7)
    assert torch.equal(network(target, reference, flow), flow)


def test_the_estimator_reads_features_costs_and_flow_in_this_order():
    class Spy(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            self.inputs = inputs
            return torch.zeros_like(inputs[:, :2])

    network = FlowNetwork(3, is_coarsest=False)
    network.flow_estimator = spy = Spy()
    target, reference, flow = torch.rand(1, 3, 6, 7), torch.rand(1, 3, 6, 7), torch.rand(1, 2, 6, 7)

    network(target, reference, flow)
    expected = torch.cat((target, cost_volume(target, reference), flow), dim=1)
    assert torch.equal(spy.inputs, expected)
    network(target, reference)
    assert torch.equal(spy.inputs, expected[:, :-2])


def test_a_mask_depends_only_on_the_difference_and_lies_between_zero_and_one():
    torch.manual_seed(0)
    network = MaskNetwork(4).requires_grad_(requires_grad=False)
    target, candidate = torch.randn(2, 1, 4, 5, 6)

    mask = network(target, candidate)

    assert mask.shape == (1, 1, 5, 6)
    assert 0.0 < mask.min() <= mask.max() < 1.0
    assert torch.equal(network(candidate, target), mask)
    torch.testing.assert_close(network(target + 8.0, candidate + 8.0), mask, rtol=0, atol=1e-5)
