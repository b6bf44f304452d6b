"""Which recording serves which inputs; a recorder that runs anywhere stands in for CUDA's."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from operators.cuda_graphs import Replay, Replayed, record


class FakeRecorder:
    """Counts what is recorded; a replay runs the network, but with the values it recorded."""

    def __init__(self) -> None:
        self.num_recorded = 0

    def __call__(self, network: Callable[..., Any], inputs: tuple[Any, ...]) -> Replay:
        self.num_recorded += 1

        def replay(given: tuple[Any, ...]) -> Any:
            pairs = zip(inputs, given, strict=True)
            return network(*(new if isinstance(new, Tensor) else old for old, new in pairs))

        return replay


def scaled(tensor: Tensor, factor: float) -> Tensor:
    return tensor * factor


def test_inputs_of_one_kind_share_a_recording_and_plain_values_are_part_of_the_kind() -> None:
    recorder = FakeRecorder()
    network = Replayed(scaled, recorder=recorder)

    for value in (1.0, 2.0):
        for factor in (0.25, 0.5):
            given = torch.full((2, 3), value)
            assert torch.equal(network(given, factor), given * factor)
    assert recorder.num_recorded == 2
    network(torch.ones(3, 2), 0.5)
    network(torch.ones(2, 3, dtype=torch.float64), 0.5)
    network(torch.ones(3, 2).T, 0.5)
    assert recorder.num_recorded == 5


def test_only_the_recordings_that_were_used_last_are_kept() -> None:
    recorder = FakeRecorder()
    network = Replayed(scaled, recorder=recorder, most=2)
    small, middle, large = (torch.ones(size) for size in (1, 2, 3))

    for given in (small, middle, small, large):
        network(given, 1.0)
    assert recorder.num_recorded == 3
    network(small, 1.0)
    assert recorder.num_recorded == 3
    network(middle, 1.0)
    assert recorder.num_recorded == 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_replay_computes_anew_and_what_it_gave_before_stays() -> None:
    weight = torch.rand(3, 3, device="cuda")

    def network(inputs: tuple[Tensor, None]) -> tuple[Tensor, Tensor]:
        return inputs[0] @ weight, inputs[0] + 1.0

    first, second = torch.rand(2, 4, 3, device="cuda").unbind()
    replay = record(network, ((first, None),))

    of_first = replay(((first, None),))
    of_second = replay(((second, None),))

    for given, results in ((first, of_first), (second, of_second)):
        for found, expected in zip(results, network((given, None)), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=0)
