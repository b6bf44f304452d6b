"""Levels of integers and floating point: the only place where 255 appears."""

import torch
from torch import Tensor

_LARGEST = {torch.uint8: 255.0, torch.uint16: 65535.0}


def to_float(levels: Tensor) -> Tensor:
    """Eight- or sixteen-bit levels to float32 in ``[0, 1]``.

    Args:
        levels: Any shape, uint8 or uint16.

    Returns:
        The same shape, float32, the largest level becoming exactly 1.
    """
    return levels.to(torch.float32).div_(_LARGEST[levels.dtype])


def to_levels(image: Tensor, dtype: torch.dtype = torch.uint8) -> Tensor:
    """Round to levels, halves to even, values outside ``[0, 1]`` clamped.

    Args:
        image: Any shape, floating point in ``[0, 1]``.
        dtype: uint8 or uint16.

    Returns:
        The same shape, of that type. ``to_levels(to_float(x), x.dtype)`` is ``x``.
    """
    # In place after the first step: this runs on every picture between every two stages.
    return image.clamp(0.0, 1.0).mul_(_LARGEST[dtype]).round_().to(dtype)
