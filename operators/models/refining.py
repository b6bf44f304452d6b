"""What all versions of RIFE share: the answer of the last refinement, and changes of size."""

from abc import abstractmethod
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RefiningNetwork(nn.Module):
    """A network that refines the flow and the mask of an instant block by block."""

    def forward(self, first: Tensor, second: Tensor, t: float) -> tuple[Tensor, Tensor, Tensor]:
        """Grids of the instant ``t`` between two frames.

        Args:
            first: ``(B, 3, H, W)`` RGB in ``[0, 1]``.
            second: The same.
            t: The instant, 0 at the first frame and 1 at the second.

        Returns:
            ``flow_t0`` and ``flow_t1``, ``(B, 2, H, W)`` in pixels, and ``weight_of_1``,
            ``(B, 1, H, W)`` in ``[0, 1]``.
        """
        *_, (flow, mask) = self.refinements(first, second, t)
        # The sigmoid of the mask is the share of the first frame.
        return flow[:, :2], flow[:, 2:4], torch.sigmoid(-mask)

    @abstractmethod
    def refinements(
        self, first: Tensor, second: Tensor, t: float
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Flow ``(B, 4, H, W)`` and mask logits ``(B, 1, H, W)`` after each block, in order."""


def resize(tensor: Tensor, factor: float) -> Tensor:
    """Scale ``(B, C, H, W)`` by a factor, bilinear; the values stay as they are."""
    if factor == 1:
        return tensor
    return F.interpolate(tensor, scale_factor=factor, mode="bilinear", align_corners=False)
