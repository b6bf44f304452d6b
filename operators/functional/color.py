"""Eight-bit levels and floating point: the only place where 255 appears."""

import torch
from torch import Tensor


def to_float(levels: Tensor) -> Tensor:
    """Eight-bit levels to float32 in ``[0, 1]``.

    Args:
        levels: Any shape, uint8.

    Returns:
        The same shape, float32, level 255 becoming exactly 1.
    """
    return levels / 255.0


def to_levels(image: Tensor) -> Tensor:
    """Round to eight-bit levels, halves to even, values outside ``[0, 1]`` clamped.

    Args:
        image: Any shape, floating point in ``[0, 1]``.

    Returns:
        The same shape, uint8. ``to_levels(to_float(x))`` is ``x``.
    """
    # In place after the first step: this runs on every picture between every two stages.
    return image.clamp(0.0, 1.0).mul_(255.0).round_().to(torch.uint8)
