"""Luma and chroma to RGB and back: the matrix and the range of a video, in floating point.

swscale could do this, but its conversion to full range shifts chroma by half a level and its
16-bit RGB has white at 65280; a video that is decoded and encoded again must keep its colours.

Source:
    ITU-R BT.601, BT.709 and BT.2020; quantisation as in ITU-T H.273, section 8.3.
"""

import torch
from torch import Tensor

# AVColorSpace to the shares of red and blue in luma; green has the rest.
LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.601, 625 lines
    6: (0.299, 0.114),  # BT.601, 525 lines
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020
    10: (0.2627, 0.0593),  # BT.2020 with constant luminance, taken as the common form
}
BT709 = 1
BT601 = 6
HD_HEIGHT = 720


def matrix_in_use(matrix: int, height: int) -> int:
    """The matrix that a stream is read with.

    Args:
        matrix: ``AVColorSpace`` as tagged.
        height: Of the picture, in pixels.

    Returns:
        The tagged matrix; where it is unspecified or not a matrix of luma weights, what players
        assume: BT.709 from 720 lines, BT.601 below.
    """
    if matrix in LUMA_WEIGHTS:
        return matrix
    return BT709 if height >= HD_HEIGHT else BT601


def rgb_from_yuv(levels: Tensor, matrix: int, *, is_full_range: bool, bits: int) -> Tensor:
    """Integer levels of Y', Cb and Cr to R'G'B'.

    Args:
        levels: ``(3, H, W)`` float32 holding whole numbers from 0 to ``2**bits - 1``.
        matrix: A key of ``LUMA_WEIGHTS``.
        is_full_range: True for levels from 0 to the largest, false for the limited range.
        bits: Of a level, at least 8.

    Returns:
        ``(3, H, W)`` float32 in ``[0, 1]``; what lies outside, such as super-white, is clamped.
    """
    scale, zero = _quantisation(is_full_range=is_full_range, bits=bits)
    decode = torch.linalg.inv(_luma_chroma(matrix)) / scale
    offset = -decode @ zero
    flat = levels.flatten(start_dim=1)
    rgb = torch.addmm(offset[:, None].float(), decode.float(), flat)
    return rgb.clamp_(0.0, 1.0).view_as(levels)


def yuv_from_rgb(image: Tensor, matrix: int, *, is_full_range: bool, bits: int) -> Tensor:
    """R'G'B' to integer levels of Y', Cb and Cr: the inverse of :func:`rgb_from_yuv`.

    Args:
        image: ``(3, H, W)`` float32 in ``[0, 1]``; values outside are clamped.
        matrix: A key of ``LUMA_WEIGHTS``.
        is_full_range: True for levels from 0 to the largest, false for the limited range.
        bits: Of a level, at least 8.

    Returns:
        ``(3, H, W)`` float32 holding whole numbers, halves rounded to even.
    """
    scale, zero = _quantisation(is_full_range=is_full_range, bits=bits)
    encode = _luma_chroma(matrix) * scale[:, None]
    flat = image.clamp(0.0, 1.0).flatten(start_dim=1)
    levels = torch.addmm(zero[:, None].float(), encode.float(), flat)
    return levels.round_().clamp_(0.0, float((1 << bits) - 1)).view_as(image)


def _luma_chroma(matrix: int) -> Tensor:
    """``(3, 3)`` float64 from R'G'B' to Y' in ``[0, 1]`` and Cb, Cr in ``[-1/2, 1/2]``."""
    red, blue = LUMA_WEIGHTS[matrix]
    luma = torch.tensor((red, 1.0 - red - blue, blue), dtype=torch.float64)
    red_axis, _, blue_axis = torch.eye(3, dtype=torch.float64)
    cb = (blue_axis - luma) / (2.0 * (1.0 - blue))
    cr = (red_axis - luma) / (2.0 * (1.0 - red))
    return torch.stack((luma, cb, cr))


def _quantisation(*, is_full_range: bool, bits: int) -> tuple[Tensor, Tensor]:
    """Levels per unit and level of zero for Y', Cb and Cr, each ``(3,)`` float64."""
    unit = float(1 << (bits - 8))
    neutral = 128.0 * unit
    if is_full_range:
        largest = float((1 << bits) - 1)
        scale, zero = (largest, largest, largest), (0.0, neutral, neutral)
    else:
        scale = (219.0 * unit, 224.0 * unit, 224.0 * unit)
        zero = (16.0 * unit, neutral, neutral)
    return torch.tensor(scale, dtype=torch.float64), torch.tensor(zero, dtype=torch.float64)
