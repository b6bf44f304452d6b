"""Where half precision must stop: positions, correlations and shares are computed in float32."""

import torch
from torch import Tensor


def exact(tensor: Tensor) -> Tensor:
    """The tensor with at least 32 bits a number; itself where it has them."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def full_precision(tensor: Tensor) -> torch.autocast:
    """A context in which operations on the device of ``tensor`` keep the types of their inputs."""
    return torch.autocast(tensor.device.type, enabled=False)
