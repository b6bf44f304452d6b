"""The memory against its equations, one pixel at a time."""

import math

import pytest
import torch

from operators.models.convlstm import ConvLSTM


def sigmoid(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value))


def test_a_step_follows_the_equations_at_every_pixel():
    torch.manual_seed(0)
    memory = ConvLSTM(inputs=2, channels=3).double()
    features = torch.randn(1, 2, 3, 4, dtype=torch.double)
    hidden, cell = torch.randn(2, 1, 3, 3, 4, dtype=torch.double)
    weight, bias = memory.Gates.weight.detach(), memory.Gates.bias.detach()

    with torch.no_grad():
        new_hidden, new_cell = memory(features, (hidden, cell))

    read = torch.cat((features, hidden), dim=1)
    for y in range(3):
        for x in range(4):
            gates = [
                bias[gate].item()
                + sum(
                    weight[gate, c, ky, kx].item() * read[0, c, y + ky - 1, x + kx - 1].item()
                    for c in range(5)
                    for ky in range(3)
                    for kx in range(3)
                    if 0 <= y + ky - 1 < 3 and 0 <= x + kx - 1 < 4
                )
                for gate in range(12)
            ]
            for channel in range(3):
                enter, remember, leave, candidate = gates[channel::3]
                kept = sigmoid(remember) * cell[0, channel, y, x].item()
                expected = kept + sigmoid(enter) * math.tanh(candidate)
                assert new_cell[0, channel, y, x].item() == pytest.approx(expected)
                shown = sigmoid(leave) * math.tanh(expected)
                assert new_hidden[0, channel, y, x].item() == pytest.approx(shown)


def test_no_state_is_a_state_of_zeros():
    torch.manual_seed(0)
    memory = ConvLSTM(inputs=2, channels=3).requires_grad_(requires_grad=False)
    features = torch.randn(2, 2, 4, 5)
    zeros = torch.zeros(2, 3, 4, 5)
    torch.testing.assert_close(memory(features, None), memory(features, (zeros, zeros)))


def test_the_state_of_another_size_is_refused():
    memory = ConvLSTM(inputs=2, channels=3)
    state = memory(torch.zeros(1, 2, 4, 5), None)
    with pytest.raises(ValueError, match=r"state must be two tensors \(1, 3, 4, 6\), got"):
        memory(torch.zeros(1, 2, 4, 6), state)
