"""Peak signal-to-noise ratio."""

import torch
from torch import Tensor

from operators.check import require_images, require_same_grid


def psnr(images: Tensor, references: Tensor, data_range: float = 1.0) -> Tensor:
    """Peak signal-to-noise ratio of each image, over all its pixels and channels.

    Args:
        images: ``(B, C, H, W)`` floating point.
        references: The same.
        data_range: Distance of the lowest from the highest possible value.

    Returns:
        ``(B,)`` float64 in decibels: ``10 log10(R² / MSE)``, infinite for equal images.

    Raises:
        ValueError: If the shapes disagree.
    """
    require_images("images", images)
    require_images("references", references, channels=images.shape[1])
    require_same_grid("references", references, "images", images)
    squared_error = (images.double() - references.double()).square().mean(dim=(1, 2, 3))
    return 10.0 * torch.log10(data_range**2 / squared_error)
