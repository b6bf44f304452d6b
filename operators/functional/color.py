"""Levels of integers and floating point: the only place where 255 appears."""

import cv2
import numpy as np
import torch
from torch import Tensor

_LARGEST = {torch.uint8: 255.0, torch.uint16: 65535.0}
# Numbers that are rounded at once.
_BLOCK = 2**17
_SHARES = np.arange(256, dtype=np.float32) / np.float32(255.0)


def to_float(levels: Tensor) -> Tensor:
    """Eight- or sixteen-bit levels to float32 in ``[0, 1]``.

    Args:
        levels: Any shape, uint8 or uint16.

    Returns:
        The same shape, float32, the largest level becoming exactly 1.
    """
    if _is_for_opencv(levels, torch.uint8):
        return torch.from_numpy(cv2.LUT(_rows(levels), _SHARES)).view(levels.shape)
    return levels.to(torch.float32).div_(_LARGEST[levels.dtype])


def to_levels(image: Tensor, dtype: torch.dtype = torch.uint8) -> Tensor:
    """Round to levels, halves to even, values outside ``[0, 1]`` clamped.

    Args:
        image: Any shape, floating point in ``[0, 1]``.
        dtype: uint8 or uint16.

    Returns:
        The same shape, of that type. ``to_levels(to_float(x), x.dtype)`` is ``x``.
    """
    if dtype == torch.uint8 and _is_for_opencv(image, torch.float32):
        return torch.from_numpy(_rounded(_rows(image), _LARGEST[dtype])).view(image.shape)
    return image.clamp(0.0, 1.0).mul_(_LARGEST[dtype]).round_().to(dtype)


def _rounded(image: np.ndarray, largest: float) -> np.ndarray:
    levels = np.empty(image.shape, np.uint8)
    # Some rows at a time, which are still in the cache when they are rounded.
    num_rows = max(1, _BLOCK // image.shape[1])
    block = np.empty((num_rows, image.shape[1]), np.float32)
    for first in range(0, len(image), num_rows):
        rows = image[first : first + num_rows]
        clamped = np.clip(rows, 0.0, 1.0, out=block[: len(rows)])
        cv2.convertScaleAbs(clamped, levels[first : first + num_rows], alpha=largest)
    return levels


def _is_for_opencv(tensor: Tensor, dtype: torch.dtype) -> bool:
    # This runs on every picture between every two stages. On a CPU OpenCV does in one pass over
    # memory what takes torch two or three: in half of the time, to the same bits.
    is_picture = tensor.ndim > 1 and tensor.numel() > 0 and tensor.dtype == dtype
    return is_picture and tensor.device.type == "cpu" and not torch.compiler.is_compiling()


def _rows(tensor: Tensor) -> np.ndarray:
    """A tensor as OpenCV takes it, with all dimensions but the last in one."""
    return tensor.detach().contiguous().view(-1, tensor.shape[-1]).numpy()
