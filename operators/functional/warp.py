"""Backward warping. The coordinate convention of the project is stated here, once.

Convention:
    A flow ``flow_ab`` lives on the grid of ``a`` and points into ``b``: channel 0 is the
    displacement to the right, channel 1 downwards, both in pixels. Pixel centres sit at whole
    coordinates, so the corner pixels are at ``(0, 0)`` and ``(W - 1, H - 1)``
    (``align_corners=True``). Pictures are clamped at the border, masks read zero outside.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from operators.check import require_flow, require_same_grid

Padding = Literal["border", "zeros"]


def sample_positions(flow: Tensor) -> Tensor:
    """Where each output pixel reads from.

    Args:
        flow: ``(B, 2, H, W)`` in pixels.

    Returns:
        ``(B, 2, H, W)``, x then y, in pixels of the source.
    """
    require_flow("flow", flow)
    height, width = flow.shape[-2:]
    ys = torch.arange(height, device=flow.device, dtype=flow.dtype).view(1, height, 1)
    xs = torch.arange(width, device=flow.device, dtype=flow.dtype).view(1, 1, width)
    return torch.stack((flow[:, 0] + xs, flow[:, 1] + ys), dim=1)


def backward_warp(image: Tensor, flow: Tensor, padding: Padding = "border") -> Tensor:
    """Sample ``image`` where ``flow`` points.

    Output pixel ``(x, y)`` is read from ``image`` at ``(x + u, y + v)`` by bilinear
    interpolation, so ``flow`` must be defined on the grid of the *output*.

    Args:
        image: ``(B, C, H, W)`` floating point, any value range.
        flow: ``(B, 2, H, W)`` in pixels.
        padding: What lies outside: the nearest border pixel, or zero.

    Returns:
        ``(B, C, H, W)`` in the type of ``image``.

    Raises:
        ValueError: If the shapes disagree or ``flow`` has not exactly two channels.

    Source:
        Jaderberg et al., "Spatial Transformer Networks", NeurIPS 2015, section 3.3; the paper's
        ``warp(x, F)(p) = x(p + F(p))``.
    """
    require_flow("flow", flow)
    require_same_grid("flow", flow, "image", image)
    height, width = image.shape[-2:]
    positions = sample_positions(flow)
    # A side of one pixel has no extent to normalise by; any finite scale samples its pixel.
    x = positions[:, 0] * (2.0 / max(width - 1, 1)) - 1.0
    y = positions[:, 1] * (2.0 / max(height - 1, 1)) - 1.0
    grid = torch.stack((x, y), dim=-1).to(image.dtype)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode=padding, align_corners=True)


def inside(flow: Tensor) -> Tensor:
    """True where the sample lies within the picture.

    Args:
        flow: ``(B, 2, H, W)`` in pixels.

    Returns:
        ``(B, 1, H, W)`` bool.
    """
    height, width = flow.shape[-2:]
    x, y = sample_positions(flow).unbind(dim=1)
    within = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return within[:, None]
