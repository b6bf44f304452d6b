"""Warping error: how much consecutive frames disagree after the motion between them is undone.

The flow comes from the caller, computed on the unprocessed video (the input for style transfer,
the ground truth for inpainting). Values of different flow estimators are not comparable, so the
name of the estimator is part of the result.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from operators.check import require_images, require_same_grid
from operators.functional.flow import motion_boundary, occlusion_mask
from operators.functional.warp import backward_warp

Channels = Literal["mean", "sum"]
NoValidPixels = Literal["skip", "zero"]


def valid_pixels(forward: Tensor, backward: Tensor) -> Tensor:
    """Where the flow between two frames can be trusted.

    Args:
        forward: ``(B, 2, H, W)`` from the earlier frame to the later, pixels.
        backward: ``(B, 2, H, W)`` from the later frame to the earlier, pixels.

    Returns:
        ``(B, 1, H, W)`` bool on the grid of the earlier frame, false where it is occluded in the
        later one or lies on a motion boundary.

    Source:
        Ruder et al., "Artistic style transfer for videos", 2016, section 4.3, as applied by
        Lai et al., "Learning blind video temporal consistency", ECCV 2018, section 4.2.
    """
    return ~(occlusion_mask(forward, backward) | motion_boundary(forward))


def touches_hole(hole_a: Tensor, hole_b: Tensor, forward: Tensor) -> Tensor:
    """Where the earlier frame is missing, or the flow lands on what is missing of the later.

    Args:
        hole_a: ``(B, 1, H, W)`` bool, true where the earlier frame is missing.
        hole_b: ``(B, 1, H, W)`` bool, true where the later frame is missing.
        forward: ``(B, 2, H, W)`` from the earlier frame to the later, pixels.

    Returns:
        ``(B, 1, H, W)`` bool on the grid of the earlier frame: the pixels of the masked variant.
    """
    return hole_a | (backward_warp(hole_b.to(forward.dtype), forward) > 0)


def pair_errors(
    earlier: Tensor, later: Tensor, forward: Tensor, valid: Tensor, channels: Channels = "mean"
) -> Tensor:
    """The warping error of each pair of frames.

    Args:
        earlier: ``(B, C, H, W)`` floating point, RGB in ``[0, 1]``.
        later: The frames that follow.
        forward: ``(B, 2, H, W)`` from the earlier frames to the later, pixels.
        valid: ``(B, 1, H, W)`` bool on the grid of the earlier frames.
        channels: Whether the squared differences of a pixel are averaged over channels, as all
            public code does, or summed, as the paper's formula reads: three times as much.

    Returns:
        ``(B,)`` float64: ``Σ_p M(p) |o_a − warp(o_b, F_ab)|²(p) / Σ_p M(p)``, NaN for a pair
        without valid pixels.

    Raises:
        ValueError: If the shapes disagree.

    Source:
        Szeto et al., "HyperCon", WACV 2021, section 4 (``E_warp``).
    """
    require_images("earlier", earlier)
    require_same_grid("later", later, "earlier", earlier)
    require_same_grid("forward", forward, "earlier", earlier)
    require_same_grid("valid", valid, "earlier", earlier)
    squared = (earlier - backward_warp(later, forward)).double().square()
    per_pixel = squared.mean(dim=1) if channels == "mean" else squared.sum(dim=1)
    counted = valid[:, 0]
    # A product would let what is not finite at an invalid pixel through.
    compared = torch.where(counted, per_pixel, 0.0)
    return compared.sum(dim=(1, 2)) / counted.sum(dim=(1, 2))


@dataclass(frozen=True, slots=True)
class WarpingErrorResult:
    """The warping error of a video.

    Attributes:
        value: Mean over pairs; NaN if there was no pair to average.
        num_pairs: Pairs of consecutive frames.
        num_without_valid_pixels: Pairs in which no pixel was compared.
        flow_name: The flow estimator that it was measured with.
    """

    value: float
    num_pairs: int
    num_without_valid_pixels: int
    flow_name: str


class WarpingError:
    """The mean warping error of a video, fed one or more pairs of frames at a time.

    Args:
        flow_name: The flow estimator that the caller uses, recorded in the result.
        channels: As for :func:`pair_errors`.
        no_valid_pixels: Whether a pair without valid pixels is left out of the mean (the video
            inpainting evaluation) or counts as zero (Lai et al.).
    """

    def __init__(
        self,
        flow_name: str,
        channels: Channels = "mean",
        no_valid_pixels: NoValidPixels = "skip",
    ) -> None:
        self._flow_name = flow_name
        self._channels: Channels = channels
        self._no_valid_pixels = no_valid_pixels
        self._errors: list[float] = []
        self._num_without_valid_pixels = 0

    def update(
        self,
        earlier: Tensor,
        later: Tensor,
        forward: Tensor,
        backward: Tensor,
        holes: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        """Add pairs of consecutive output frames.

        Args:
            earlier: ``(B, C, H, W)`` floating point, RGB in ``[0, 1]``.
            later: The frames that follow.
            forward: ``(B, 2, H, W)`` from earlier to later unprocessed frame, pixels.
            backward: ``(B, 2, H, W)`` from later to earlier unprocessed frame, pixels.
            holes: ``(B, 1, H, W)`` bool, true where missing, of earlier and later frames, to
                measure only pixels that touch a hole; None to measure everywhere.
        """
        valid = valid_pixels(forward, backward)
        if holes is not None:
            valid = valid & touches_hole(*holes, forward)
        self.update_valid(earlier, later, forward, valid)

    def update_valid(self, earlier: Tensor, later: Tensor, forward: Tensor, valid: Tensor) -> None:
        """Add pairs whose valid pixels are known already; arguments of :func:`pair_errors`."""
        errors = pair_errors(earlier, later, forward, valid, self._channels)
        comparable = valid.flatten(start_dim=1).any(dim=1)
        self._errors += errors[comparable].tolist()
        self._num_without_valid_pixels += int((~comparable).sum())

    def result(self) -> WarpingErrorResult:
        """The mean over all pairs so far."""
        num_pairs = len(self._errors) + self._num_without_valid_pixels
        counted = num_pairs if self._no_valid_pixels == "zero" else len(self._errors)
        return WarpingErrorResult(
            value=math.fsum(self._errors) / counted if counted else math.nan,
            num_pairs=num_pairs,
            num_without_valid_pixels=self._num_without_valid_pixels,
            flow_name=self._flow_name,
        )
