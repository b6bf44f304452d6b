"""Optical flow as data: consistency, occlusion, composition, change of size."""

import torch
import torch.nn.functional as F
from torch import Tensor

from operators.check import require_flow, require_same_grid
from operators.functional.warp import backward_warp

# Thresholds of Sundaram et al. (2010) as used by Ruder et al. (2016) and everybody since.
RELATIVE_TOLERANCE = 0.01
ABSOLUTE_TOLERANCE_PX2 = 0.5
BOUNDARY_RELATIVE_TOLERANCE = 0.01
BOUNDARY_ABSOLUTE_TOLERANCE = 0.002


def squared_length(flow: Tensor) -> Tensor:
    """``(B, 2, H, W)`` to ``(B, 1, H, W)``: squared displacement in square pixels."""
    return (flow * flow).sum(dim=1, keepdim=True)


def round_trip_excess(flow_ab: Tensor, flow_ba: Tensor) -> Tensor:
    """Squared round-trip error as a multiple of what the occlusion test tolerates.

    Args:
        flow_ab: ``(B, 2, H, W)`` on the grid of ``a``, pixels.
        flow_ba: ``(B, 2, H, W)`` on the grid of ``b``, pixels.

    Returns:
        ``(B, 1, H, W)``, zero for a perfect round trip, 1 at the threshold of
        :func:`occlusion_mask`.

    Source:
        Ruder et al., "Artistic style transfer for videos", 2016, section 4.3:
        ``|w̃ + ŵ|² > 0.01 (|w̃|² + |ŵ|²) + 0.5``.
    """
    require_flow("flow_ab", flow_ab)
    require_flow("flow_ba", flow_ba)
    require_same_grid("flow_ba", flow_ba, "flow_ab", flow_ab)
    returning = backward_warp(flow_ba, flow_ab)
    tolerated = (
        RELATIVE_TOLERANCE * (squared_length(flow_ab) + squared_length(returning))
        + ABSOLUTE_TOLERANCE_PX2
    )
    return squared_length(flow_ab + returning) / tolerated


def occlusion_mask(flow_ab: Tensor, flow_ba: Tensor) -> Tensor:
    """True where a pixel of ``a`` has no counterpart in ``b``.

    Args:
        flow_ab: ``(B, 2, H, W)`` on the grid of ``a``, pixels.
        flow_ba: ``(B, 2, H, W)`` on the grid of ``b``, pixels.

    Returns:
        ``(B, 1, H, W)`` bool, from forward-backward consistency.
    """
    return round_trip_excess(flow_ab, flow_ba) > 1.0


def visibility(flow_ab: Tensor, flow_ba: Tensor) -> Tensor:
    """How surely a pixel of ``a`` is seen in ``b``: a soft form of :func:`occlusion_mask`.

    Args:
        flow_ab: ``(B, 2, H, W)`` on the grid of ``a``, pixels.
        flow_ba: ``(B, 2, H, W)`` on the grid of ``b``, pixels.

    Returns:
        ``(B, 1, H, W)`` in ``(0, 1]``; one half exactly where the occlusion test would flip.
    """
    return 1.0 / (1.0 + round_trip_excess(flow_ab, flow_ba))


def motion_boundary(flow: Tensor) -> Tensor:
    """True where the flow changes abruptly.

    Args:
        flow: ``(B, 2, H, W)`` in pixels.

    Returns:
        ``(B, 1, H, W)`` bool: ``|∇u|² + |∇v|² > 0.01 |f|² + 0.002`` with forward differences,
        zero past the last row and column (Ruder et al. 2016, section 4.3).
    """
    require_flow("flow", flow)
    dx = F.pad(flow[..., :, 1:] - flow[..., :, :-1], (0, 1, 0, 0))
    dy = F.pad(flow[..., 1:, :] - flow[..., :-1, :], (0, 0, 0, 1))
    gradient = squared_length(dx) + squared_length(dy)
    tolerated = BOUNDARY_RELATIVE_TOLERANCE * squared_length(flow) + BOUNDARY_ABSOLUTE_TOLERANCE
    return gradient > tolerated


def compose(flow_ab: Tensor, flow_bc: Tensor) -> Tensor:
    """The flow from ``a`` to ``c`` by way of ``b``.

    Args:
        flow_ab: ``(B, 2, H, W)`` on the grid of ``a``, pixels.
        flow_bc: ``(B, 2, H, W)`` on the grid of ``b``, pixels.

    Returns:
        ``(B, 2, H, W)`` on the grid of ``a``: ``flow_ab(p) + flow_bc(p + flow_ab(p))``.
    """
    return flow_ab + backward_warp(flow_bc, flow_ab)


def resize_flow(flow: Tensor, height: int, width: int) -> Tensor:
    """Bring a flow onto another grid; the displacements grow with it.

    Args:
        flow: ``(B, 2, H, W)`` in pixels of its own grid.
        height: New height.
        width: New width.

    Returns:
        ``(B, 2, height, width)`` in pixels of the new grid; ``flow`` itself if the size is the
        same.
    """
    require_flow("flow", flow)
    old_height, old_width = flow.shape[-2:]
    if (old_height, old_width) == (height, width):
        return flow
    resized = F.interpolate(flow, size=(height, width), mode="bilinear", align_corners=False)
    scale = torch.tensor((width / old_width, height / old_height), device=flow.device)
    return resized * scale.to(flow.dtype).view(1, 2, 1, 1)


def linear_motion(forward: Tensor, backward: Tensor, t: float) -> tuple[Tensor, Tensor]:
    """Flows from an instant between two frames back to both, motion taken as linear.

    Args:
        forward: ``(B, 2, H, W)``, from the first frame to the second, pixels.
        backward: ``(B, 2, H, W)``, from the second frame to the first, pixels.
        t: The instant, 0 at the first frame and 1 at the second.

    Returns:
        ``flow_t0`` and ``flow_t1``, each ``(B, 2, H, W)`` on the grid of the instant.

    Source:
        Jiang et al., "Super SloMo", CVPR 2018, equation (4).
    """
    flow_t0 = t * t * backward - t * (1.0 - t) * forward
    flow_t1 = (1.0 - t) * (1.0 - t) * forward - t * (1.0 - t) * backward
    return flow_t0, flow_t1
