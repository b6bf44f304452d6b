"""Every network of the table on CUDA, as a run would call it, against itself on the CPU.

In float32 no number may be off by more than a thousandth of the largest. Half precision moves the
edges between what is seen and what is hidden by a pixel here and there, so that there it is the
root mean square of the error that must be within a hundredth of that of the result.
"""

import pytest
import torch
from sample_networks import sample_inputs, seeded_network, tensors_of
from torch import Tensor

from operators.accelerate import PLAIN, Acceleration, accelerated
from operators.models.entry import Entry
from operators.models.registry import entries
from operators.nested import mapped

HEIGHT, WIDTH = 128, 192

NETWORKS = list({entry.network: entry for entry in entries() if entry.network}.values())
RUNNING = [entry for entry in NETWORKS if entry.kind != "evaluation"]
RECORDABLE = [entry for entry in RUNNING if entry.is_recordable]

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def name_of(entry: Entry) -> str:
    return entry.name


def results(entry: Entry, device: str, how: Acceleration = PLAIN, calls: int = 1) -> list[Tensor]:
    """What the network of an entry returns at its last call, on the CPU."""
    place = torch.device(device)
    network = accelerated(seeded_network(entry), place, how, entry.parts)
    inputs = mapped(sample_inputs(entry, HEIGHT, WIDTH), lambda tensor: tensor.to(place))
    with torch.no_grad():
        for _ in range(calls):
            result = network(*inputs)
    return [tensor.cpu() for tensor in tensors_of(result)]


@pytest.mark.parametrize("entry", NETWORKS, ids=name_of)
def test_cuda_gives_the_numbers_of_the_cpu(entry: Entry) -> None:
    pairs = zip(results(entry, "cuda"), results(entry, "cpu"), strict=True)
    for found, expected in pairs:
        assert (found - expected).abs().max() <= 1e-3 * expected.abs().max()


@pytest.mark.parametrize("entry", RUNNING, ids=name_of)
def test_half_precision_gives_nearly_the_numbers_of_the_cpu(entry: Entry) -> None:
    pairs = zip(results(entry, "cuda", Acceleration("float16")), results(entry, "cpu"), strict=True)
    for found, expected in pairs:
        assert found.dtype == torch.float32
        assert (found - expected).norm() <= 1e-2 * expected.norm()


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("entry", RECORDABLE, ids=name_of)
def test_a_recorded_network_gives_the_bits_of_the_plain_one(entry: Entry, precision: str) -> None:
    wish = Acceleration("float16" if precision == "float16" else "float32")
    recorded = Acceleration(wish.precision, cuda_graphs=True)
    pairs = zip(
        results(entry, "cuda", recorded, calls=2), results(entry, "cuda", wish), strict=True
    )
    for found, expected in pairs:
        assert torch.equal(found, expected)


@pytest.mark.parametrize("entry", RUNNING, ids=name_of)
def test_the_same_call_gives_the_same_bits(entry: Entry) -> None:
    pairs = zip(results(entry, "cuda", calls=2), results(entry, "cuda"), strict=True)
    for found, expected in pairs:
        assert torch.equal(found, expected)
