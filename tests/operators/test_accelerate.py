import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sample_networks import sample_inputs, seeded_network, tensors_of
from torch import Tensor, nn

from operators import accelerate
from operators.accelerate import PLAIN, Accelerated, Acceleration, fitted
from operators.errors import ModelError
from operators.estimators import NetworkFlow
from operators.models import registry
from operators.models.entry import Entry
from operators.models.superslomo import SuperSloMo

CUDA = torch.device("cuda", 0)


@pytest.fixture
def tiny() -> nn.Module:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3, padding=1), nn.PReLU(), nn.ConvTranspose2d(8, 2, 4, 2, 1))
    return nn.Sequential(*layers).eval().requires_grad_(requires_grad=False)


@pytest.fixture
def half_anywhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let half precision run on the CPU, where it is slow, to see its numbers."""
    monkeypatch.setattr(accelerate, "require_possible", lambda how, device: None)
    return


def entry(**fields: object) -> Entry:
    return replace(registry.entry("interpolator", "rife-4.6"), **fields)


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def test_without_a_wish_the_bits_are_those_of_the_network(
    tiny: nn.Module, cpu: torch.device
) -> None:
    images = torch.rand(2, 3, 9, 11)

    assert torch.equal(Accelerated(tiny, cpu)(images), tiny(images))


def test_channels_last_changes_the_layout_inside_and_not_the_picture(
    tiny: nn.Module, cpu: torch.device
) -> None:
    images = torch.rand(2, 3, 9, 11)
    expected = tiny(images)

    found = Accelerated(tiny, cpu, Acceleration(channels_last=True))(images)

    assert tiny[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert not tiny[0].weight.is_contiguous()
    assert found.is_contiguous()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.usefixtures("half_anywhere")
@pytest.mark.parametrize("name", ["rife-4.6", "rife-4.25", "mosaic", "lai", "raft-small"])
def test_half_precision_takes_and_gives_float32_and_is_near_it(
    name: str, cpu: torch.device
) -> None:
    made = next(candidate for candidate in registry.entries() if candidate.name == name)
    inputs = sample_inputs(made, 64, 64)
    with torch.no_grad():
        expected = tensors_of(seeded_network(made)(*inputs))
        network = Accelerated(seeded_network(made), cpu, Acceleration("float16"))
        found = tensors_of(network(*inputs))

    halved = [weight for weight in network.parameters() if weight.dtype == torch.float16]
    assert sum(weight.numel() for weight in halved) > 0.9 * made.parameters
    for part, reference in zip(found, expected, strict=True):
        assert part.dtype == torch.float32
        assert 0.0 < relative_error(part, reference) < 1e-2


def test_what_the_device_cannot_do_is_refused_in_one_line(
    tiny: nn.Module, cpu: torch.device
) -> None:
    with pytest.raises(ModelError, match=r"^device for precision float16 must be cuda, got cpu$"):
        Accelerated(tiny, cpu, Acceleration("float16"))
    with pytest.raises(ModelError, match=r"^device for CUDA graphs must be cuda, got cpu$"):
        Accelerated(tiny, cpu, Acceleration(cuda_graphs=True))


def test_a_missing_compiler_is_named_in_one_line(
    tiny: nn.Module, cpu: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    wish = Acceleration(compile=True)

    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ModelError, match=r"^compile needs a C\+\+ compiler \(c\+\+ or g\+\+"):
        Accelerated(tiny, cpu, wish)
    monkeypatch.setenv("CXX", "mycc")
    with pytest.raises(ModelError, match=r"\(mycc\) on the PATH, got none$"):
        Accelerated(tiny, cpu, wish)
    monkeypatch.setattr(accelerate.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"^compile needs the package triton on a CUDA device"):
        Accelerated(tiny, CUDA, wish)


def test_on_cuda_convolutions_neither_round_to_tf32_nor_vary() -> None:
    cudnn = torch.backends.cudnn
    before = (cudnn.allow_tf32, cudnn.deterministic)

    with accelerate._numbers(CUDA, "float32"):
        assert (cudnn.allow_tf32, cudnn.deterministic) == (False, True)
    assert (cudnn.allow_tf32, cudnn.deterministic) == before


def test_only_what_pays_for_a_network_is_done_and_what_always_pays_is(cpu: torch.device) -> None:
    wish = Acceleration("float16", compile=True, cuda_graphs=True)
    recordable = entry(is_recordable=True, compiles_on=("cpu",), channels_last_on=("cuda",))

    assert fitted(wish, recordable, CUDA) == Acceleration(
        "float16", compile=False, channels_last=True, cuda_graphs=True
    )
    on_cpu = fitted(wish, entry(is_recordable=True, compiles_on=("cpu",)), cpu)
    assert on_cpu == Acceleration("float16", compile=True)
    plain = fitted(PLAIN, entry(is_recordable=True, channels_last_on=("cpu",)), cpu)
    assert plain == Acceleration(channels_last=True)


def test_a_network_that_is_called_by_its_methods_is_accelerated_in_its_parts(
    tmp_path: Path, cpu: torch.device
) -> None:
    made = registry.entry("flow", "super-slomo")
    torch.save(seeded_network(made).state_dict(), tmp_path / made.files[0])
    estimator = NetworkFlow(made, tmp_path, Acceleration(channels_last=True))
    inputs = sample_inputs(made, 64, 64)

    estimator.setup(cpu)

    network = estimator._loaded()
    assert isinstance(network, SuperSloMo)
    assert isinstance(network.flow_computation, Accelerated)
    assert isinstance(network.arbitrary_time, Accelerated)
    found, expected = estimator(*inputs), seeded_network(made)(*inputs)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_compiled_network_gives_the_picture_of_the_plain_one(
    tiny: nn.Module, cpu: torch.device
) -> None:
    images = torch.rand(2, 3, 16, 16)
    expected = tiny(images)

    found = Accelerated(tiny, cpu, Acceleration(compile=True))(images)

    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
