"""Interpolators: where a frame between two frames reads from, and the blends that follow.

An interpolator gives sampling grids and a weight, not only a picture, because the masks of a
masked video must take the same way as its pictures.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from operators.base import Grids
from operators.check import require_flow, require_pair, require_same_grid
from operators.functional.flow import linear_motion, visibility
from operators.functional.warp import backward_warp
from operators.models.superslomo import SuperSloMo
from operators.weighted import Weighted

# Bilinear weights of a wholly known neighbourhood may sum to just less than one.
KNOWN_AT_LEAST = 1.0 - 1e-3


class LinearInterpolator:
    """Linear motion along the flow of the pair; what only one frame sees is taken from it."""

    reads_flow = True

    def setup(self, device: torch.device) -> None:
        """Nothing to load."""

    def __call__(
        self,
        first: Tensor,
        second: Tensor,
        flow: tuple[Tensor, Tensor] | None,
        times: tuple[float, ...],
    ) -> list[Grids]:
        """Grids and blend weight for each instant.

        Args:
            first: ``(1, 3, H, W)`` float32 RGB in ``[0, 1]``; only its size is read.
            second: The same.
            flow: Forward and backward flow of the pair, each ``(1, 2, H, W)``, pixels.
            times: Instants strictly between 0 and 1.

        Raises:
            ValueError: If there is no flow, it is on another grid, or a time is out of range.

        Source:
            Jiang et al., "Super SloMo", CVPR 2018: equation (4) for the flows, and its fusion by
            visibility for the weight, with forward-backward consistency in place of the
            visibility that its network learned.
        """
        _require_between(first, second, times)
        if flow is None:
            msg = "flow must be the forward and backward flow of the pair, got None"
            raise ValueError(msg)
        forward, backward = flow
        for name, tensor in (("forward", forward), ("backward", backward)):
            require_flow(name, tensor)
            require_same_grid(name, tensor, "first", first)
        first_seen_in_second = visibility(forward, backward)
        second_seen_in_first = visibility(backward, forward)
        grids = []
        for t in times:
            flow_t0, flow_t1 = linear_motion(forward, backward, t)
            share_0 = (1.0 - t) * backward_warp(second_seen_in_first, flow_t1)
            share_1 = t * backward_warp(first_seen_in_second, flow_t0)
            grids.append(Grids(flow_t0, flow_t1, share_1 / (share_0 + share_1)))
        return grids


class RifeInterpolator(Weighted):
    """A RIFE network of the registry, which finds motion and occlusion by itself.

    Images are extended at the right and at the bottom, by zeros as in training, to the multiple
    that the network needs; the grids are cut back.

    Args:
        entry: Which network.
        weights: A weight file, or a folder to search for it, instead of the usual folders.

    Source:
        Huang et al., "Real-Time Intermediate Flow Estimation for Video Frame Interpolation",
        ECCV 2022.
    """

    reads_flow = False

    @torch.no_grad()
    def __call__(
        self,
        first: Tensor,
        second: Tensor,
        flow: tuple[Tensor, Tensor] | None,  # noqa: ARG002 - the contract names it
        times: tuple[float, ...],
    ) -> list[Grids]:
        """Grids and blend weight for each instant.

        Args:
            first: ``(1, 3, H, W)`` float32 RGB in ``[0, 1]``, any size.
            second: The same.
            flow: Not read.
            times: Instants strictly between 0 and 1.

        Raises:
            ValueError: If the images disagree or a time is out of range.
        """
        _require_between(first, second, times)
        network = self._loaded()
        height, width = first.shape[-2:]
        padding = (0, -width % self.entry.multiple, 0, -height % self.entry.multiple)
        first, second = F.pad(first, padding), F.pad(second, padding)
        grids = []
        for t in times:
            found: tuple[Tensor, Tensor, Tensor] = network(first, second, t)
            flow_t0, flow_t1, weight = (part[..., :height, :width] for part in found)
            grids.append(Grids(flow_t0.contiguous(), flow_t1.contiguous(), weight.contiguous()))
        return grids


class SuperSloMoInterpolator(Weighted):
    """Super SloMo, which finds flow and visibility by itself and takes pictures of any size.

    Args:
        entry: Which weights.
        weights: A weight file, or a folder to search for it, instead of the usual places.

    Source:
        Jiang et al., "Super SloMo: High Quality Estimation of Multiple Intermediate Frames for
        Video Interpolation", CVPR 2018.
    """

    reads_flow = False

    @torch.no_grad()
    def __call__(
        self,
        first: Tensor,
        second: Tensor,
        flow: tuple[Tensor, Tensor] | None,  # noqa: ARG002 - the contract names it
        times: tuple[float, ...],
    ) -> list[Grids]:
        """Grids and blend weight for each instant; the flow of the pair is found once.

        Args:
            first: ``(1, 3, H, W)`` float32 RGB in ``[0, 1]``, any size.
            second: The same.
            flow: Not read: the network refines flow of its own kind.
            times: Instants strictly between 0 and 1.

        Raises:
            ValueError: If the images disagree or a time is out of range.
        """
        _require_between(first, second, times)
        network = cast("SuperSloMo", self._loaded())
        flows = network.flows(first, second)
        return [Grids(*network.grids(first, second, flows, t)) for t in times]


def blend(first: Tensor, second: Tensor, grids: Grids) -> Tensor:
    """The picture at an instant between two frames, paper equation (2).

    Args:
        first: ``(B, C, H, W)`` floating point.
        second: The same.
        grids: Where the instant reads from.

    Returns:
        ``(B, C, H, W)``.
    """
    weight = grids.weight_of_1
    warped_first = backward_warp(first, grids.flow_t0)
    warped_second = backward_warp(second, grids.flow_t1)
    return (1.0 - weight) * warped_first + weight * warped_second


def blend_masks(first: Tensor, second: Tensor, grids: Grids) -> Tensor:
    """The mask at an instant between two frames; a pixel is known only if all it reads is.

    Holes can only grow: what is read from outside a picture is missing too.

    Args:
        first: ``(B, 1, H, W)`` bool, true where missing.
        second: The same.
        grids: Where the instant reads from; the same as for the pictures.

    Returns:
        ``(B, 1, H, W)`` bool, true where missing.

    Source:
        The paper's mask equation, its threshold at 1 with a tolerance for rounding.
    """
    weight = grids.weight_of_1
    known_first = (~first).to(grids.flow_t0.dtype)
    known_second = (~second).to(grids.flow_t1.dtype)
    warped_first = backward_warp(known_first, grids.flow_t0, padding="zeros")
    warped_second = backward_warp(known_second, grids.flow_t1, padding="zeros")
    known = (1.0 - weight) * warped_first + weight * warped_second
    return ~(known >= KNOWN_AT_LEAST)


def _require_between(first: Tensor, second: Tensor, times: tuple[float, ...]) -> None:
    require_pair(first, second)
    for t in times:
        if not 0.0 < t < 1.0:
            msg = f"times must be strictly between 0 and 1, got {t}"
            raise ValueError(msg)
