"""Networks made faster, under the same contract: float32 tensors in, float32 tensors out.

Four ways, each of which changes the last digits of a result, so that each is either asked for in
the configuration or a fixed property of a network on a kind of device:

- half precision: convolutions and linear layers compute in float16. What must not lose digits
  (positions, correlations, softmax, memory) stays in float32, by autocast or because the network
  says so with ``operators.functional.precision``;
- channels last: the memory layout that convolutions of some devices prefer;
- compilation by ``torch.compile``, which fuses what is between the convolutions;
- CUDA graphs, see ``operators.cuda_graphs``.
"""

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from operators.cuda_graphs import Replayed
from operators.errors import ModelError
from operators.functional.precision import exact
from operators.models.entry import Entry
from operators.nested import mapped

Precision = Literal["float32", "float16"]

# Sums of many products, which tensor cores are made for; slopes follow the type of their input.
HALVED = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear, nn.PReLU)
CPP_COMPILERS = ("c++", "g++", "clang++")


@dataclass(frozen=True, slots=True)
class Acceleration:
    """How a network is made faster; by default not at all.

    Attributes:
        precision: ``float16`` needs CUDA.
        compile: Compile at the first call, which then takes a minute or so.
        channels_last: Keep pictures with their channels together.
        cuda_graphs: Record the network, where it can be recorded.
    """

    precision: Precision = "float32"
    compile: bool = False
    channels_last: bool = False
    cuda_graphs: bool = False


PLAIN = Acceleration()


def fitted(how: Acceleration, entry: Entry, device: torch.device) -> Acceleration:
    """What is asked for, as far as it pays for a network, and what pays for it in any case.

    Args:
        how: What is asked for.
        entry: Which network.
        device: Where it runs.
    """
    return replace(
        how,
        compile=how.compile and device.type in entry.compiles_on,
        channels_last=how.channels_last or device.type in entry.channels_last_on,
        cuda_graphs=how.cuda_graphs and device.type == "cuda" and entry.is_recordable,
    )


class Accelerated(nn.Module):
    """A network on its device, called as before.

    On CUDA float32 means float32: convolutions that round to TF32, which is PyTorch's default,
    are not used, nor algorithms that give other bits from call to call.

    Args:
        network: What is called, for inference only; it is moved and changed.
        device: Where it runs.
        how: How it is made faster.

    Raises:
        ModelError: If the device cannot do it, or a compiler is missing.
    """

    def __init__(self, network: nn.Module, device: torch.device, how: Acceleration = PLAIN) -> None:
        super().__init__()
        require_possible(how, device)
        self.network = prepared(network, how).to(device)
        self._device = device
        self._precision = how.precision
        call: Callable[..., Any] = torch.compile(self.network) if how.compile else self.network
        self._call = Replayed(call) if how.cuda_graphs else call

    def forward(self, *inputs: Any) -> Any:
        """What the network gives, its floating point tensors in float32 and row by row."""
        with _numbers(self._device, self._precision):
            return mapped(self._call(*inputs), _ordinary)


def accelerated(
    network: nn.Module, device: torch.device, how: Acceleration, parts: tuple[str, ...] = ()
) -> nn.Module:
    """A network on its device, made faster as a whole or in parts.

    Args:
        network: It is moved and changed.
        device: Where it runs.
        how: How it is made faster.
        parts: Attributes of the network that are networks themselves and do its work, where its
            callers call more than its ``forward``.

    Returns:
        The same network if there are parts, else an :class:`Accelerated` one.

    Raises:
        ModelError: If the device cannot do it, or a compiler is missing.
    """
    if not parts:
        return Accelerated(network, device, how)
    for part in parts:
        setattr(network, part, Accelerated(network.get_submodule(part), device, how))
    return network.to(device)


def prepared(network: nn.Module, how: Acceleration) -> nn.Module:
    """The network with its weights in the type and the layout that were asked for."""
    for module in network.modules():
        if how.precision == "float16" and isinstance(module, HALVED):
            module.half()
        if how.channels_last and isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            # The stubs know this argument only together with others.
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def require_possible(how: Acceleration, device: torch.device) -> None:
    """Require what the device and this machine can do.

    Raises:
        ModelError: Names what is missing.
    """
    if device.type != "cuda" and (how.precision == "float16" or how.cuda_graphs):
        wish = "precision float16" if how.precision == "float16" else "CUDA graphs"
        msg = f"device for {wish} must be cuda, got {device}"
        raise ModelError(msg)
    if not how.compile:
        return
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        msg = "compile needs the package triton on a CUDA device, got none"
        raise ModelError(msg)
    wanted = (os.environ["CXX"],) if "CXX" in os.environ else CPP_COMPILERS
    if not any(shutil.which(compiler) for compiler in wanted):
        msg = f"compile needs a C++ compiler ({' or '.join(wanted)}) on the PATH, got none"
        raise ModelError(msg)


@contextmanager
def _numbers(device: torch.device, precision: Precision) -> Iterator[None]:
    with ExitStack() as stack:
        if device.type == "cuda":
            stack.enter_context(
                torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
            )
        if precision == "float16":
            # Weights are halved already, and cached copies would not outlive a recording.
            autocast = torch.autocast(device.type, torch.float16, cache_enabled=False)
            stack.enter_context(autocast)
        yield


def _ordinary(tensor: Tensor) -> Tensor:
    return (exact(tensor) if tensor.is_floating_point() else tensor).contiguous()
