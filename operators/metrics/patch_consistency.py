"""Patch consistency: how well a patch of a frame is found again in the next, motion unknown.

Source:
    Gupta et al., "Characterizing and improving stability in neural style transfer", ICCV 2017,
    section 4, in the form of the video inpainting evaluation of Szeto and Corso (2021).
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from operators.check import require_images, require_same_grid
from operators.metrics.psnr import psnr

PATCH = 50
SEARCH = 20
SEED = 1234

Score = Callable[[Tensor, Tensor], Tensor]
Corner = tuple[int, int]


def patch_generator(seed: int = SEED) -> np.random.Generator:
    """The source of patch positions: one for each metric, shared by all videos in sorted order.

    The positions of a video therefore depend on the videos before it.
    """
    return np.random.Generator(np.random.PCG64(seed))


def random_corner(
    generator: np.random.Generator, height: int, width: int, patch: int = PATCH
) -> Corner:
    """Draw the corner of a patch, row and then column.

    Args:
        generator: From :func:`patch_generator`; advanced by two draws.
        height: Of the frames, more than ``patch``.
        width: Of the frames, more than ``patch``.
        patch: Side of the patch in pixels.

    Returns:
        Row and column of the upper left pixel. The published code never draws the last possible
        row and column, and neither does this.

    Raises:
        ValueError: If the frames are not larger than the patch.
    """
    if min(height, width) <= patch:
        msg = f"frames must be larger than {patch} x {patch} pixels, got {width} x {height}"
        raise ValueError(msg)
    row = int(generator.integers(0, height - patch))
    column = int(generator.integers(0, width - patch))
    return row, column


def hole_corner(hole: Tensor, patch: int = PATCH) -> Corner:
    """The corner of the patch in the middle of a hole, moved to lie within the frame.

    Args:
        hole: ``(1, H, W)`` bool, true where missing, with at least one such pixel.
        patch: Side of the patch in pixels.

    Returns:
        Row and column of the upper left pixel.

    Raises:
        ValueError: If the hole is empty or the frame is smaller than the patch.
    """
    _, height, width = hole.shape
    rows, columns = hole[0].nonzero(as_tuple=True)
    if len(rows) == 0 or min(height, width) < patch:
        msg = (
            f"hole must hold at least one pixel in a frame of at least {patch} x {patch}, "
            f"got {len(rows)} pixels in {width} x {height}"
        )
        raise ValueError(msg)
    row = int(np.floor(rows.double().mean().item() - patch / 2))
    column = int(np.floor(columns.double().mean().item() - patch / 2))
    return min(max(row, 0), height - patch), min(max(column, 0), width - patch)


def patch_consistency(
    earlier: Tensor,
    later: Tensor,
    corner: Corner,
    score: Score = psnr,
    patch: int = PATCH,
    search: int = SEARCH,
) -> float:
    """The best score of a patch of one frame among the nearby patches of the next.

    Args:
        earlier: ``(1, C, H, W)`` floating point, RGB in ``[0, 1]``.
        later: The frame that follows.
        corner: Row and column of the upper left pixel of the patch.
        score: :func:`operators.metrics.psnr.psnr` or :func:`operators.metrics.ssim.ssim`.
        patch: Side of the patch in pixels.
        search: Offsets from ``-search`` to ``search - 1``, asymmetric as in the published code,
            are tried in both directions as far as the frame reaches.

    Returns:
        The highest score, in the unit of ``score``.

    Raises:
        ValueError: If the shapes disagree or the patch does not lie within the frame.
    """
    require_images("earlier", earlier)
    require_images("later", later, channels=earlier.shape[1])
    require_same_grid("later", later, "earlier", earlier)
    height, width = earlier.shape[-2:]
    row, column = corner
    if not (0 <= row <= height - patch and 0 <= column <= width - patch):
        msg = f"patch corner must leave {patch} pixels in {width} x {height}, got {corner}"
        raise ValueError(msg)
    wanted = earlier[:, :, row : row + patch, column : column + patch]
    first_row, last_row = max(row - search, 0), min(row + search - 1, height - patch)
    first_column, last_column = max(column - search, 0), min(column + search - 1, width - patch)
    best = torch.tensor(-torch.inf, dtype=torch.float64, device=earlier.device)
    for top in range(first_row, last_row + 1):
        # One row of candidates at a time: all 1600 at once would take most of a gigabyte.
        strip = later[0, :, top : top + patch, first_column : last_column + patch]
        candidates = strip.unfold(2, patch, 1).permute(2, 0, 1, 3)
        scores = score(candidates, wanted.expand_as(candidates))
        best = torch.maximum(best, scores.max().to(best.dtype))
    return float(best)
