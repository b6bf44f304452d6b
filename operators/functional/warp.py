"""Backward warping. The coordinate convention of the project is stated here, once.

Convention:
    A flow ``flow_ab`` lives on the grid of ``a`` and points into ``b``: channel 0 is the
    displacement to the right, channel 1 downwards, both in pixels. Pixel centres sit at whole
    coordinates, so the corner pixels are at ``(0, 0)`` and ``(W - 1, H - 1)``, which papers and
    libraries call ``align_corners=True``. Pictures are clamped at the border, masks read zero
    outside.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from operators.check import require_flow, require_images, require_same_grid
from operators.functional.precision import exact

Padding = Literal["border", "zeros"]


def sample_positions(flow: Tensor) -> Tensor:
    """Where each output pixel reads from.

    Args:
        flow: ``(B, 2, H, W)`` in pixels.

    Returns:
        ``(B, 2, H, W)``, x then y, in pixels of the source, with 32 bits a number at least: half
        floats cannot tell the columns of a wide picture apart.
    """
    require_flow("flow", flow)
    flow = exact(flow)
    height, width = flow.shape[-2:]
    ys = torch.arange(height, device=flow.device, dtype=flow.dtype).view(1, height, 1)
    xs = torch.arange(width, device=flow.device, dtype=flow.dtype).view(1, 1, width)
    return torch.stack((flow[:, 0] + xs, flow[:, 1] + ys), dim=1)


def bilinear_sample(image: Tensor, positions: Tensor, padding: Padding) -> Tensor:
    """Read ``image`` at arbitrary positions, on an output grid of any size.

    Args:
        image: ``(B, C, H, W)`` floating point, any value range.
        positions: ``(B, 2, H', W')``, x then y, in pixels of ``image``.
        padding: What lies outside: the nearest border pixel, or zero.

    Returns:
        ``(B, C, H', W')`` in the type of ``image``.

    Raises:
        ValueError: If ``positions`` has not exactly two channels or the batches differ.

    Source:
        Jaderberg et al., "Spatial Transformer Networks", NeurIPS 2015, section 3.3.
    """
    require_images("image", image)
    require_images("positions", positions, channels=2)
    if positions.shape[0] != image.shape[0]:
        msg = (
            f"positions must have the batch of image, "
            f"got {tuple(positions.shape)} for {tuple(image.shape)}"
        )
        raise ValueError(msg)
    height, width = image.shape[-2:]
    # Half floats cannot tell the columns of a wide picture apart.
    exact = torch.promote_types(torch.float32, torch.promote_types(image.dtype, positions.dtype))
    # Pixel centres are whole here. Counting grid_sample's -1 to 1 between the outer pixel edges
    # (align_corners=False) rather than centres is the same points, keeps a side of one pixel from
    # dividing by zero, and rounds half as much.
    x = (2.0 * positions[:, 0] + 1.0) / width - 1.0
    y = (2.0 * positions[:, 1] + 1.0) / height - 1.0
    sampled = F.grid_sample(
        image.to(exact),
        torch.stack((x, y), dim=-1).to(exact),
        mode="bilinear",
        padding_mode=padding,
        align_corners=False,
    )
    return sampled.to(image.dtype)


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
        The paper's ``warp(x, F)(p) = x(p + F(p))``.
    """
    require_flow("flow", flow)
    require_same_grid("flow", flow, "image", image)
    return bilinear_sample(image, sample_positions(flow), padding)


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
