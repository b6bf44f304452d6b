"""Structural similarity."""

import torch
from torch import Tensor

from operators.check import require_images, require_same_grid

WINDOW = 7
K1 = 0.01
K2 = 0.03


def ssim(images: Tensor, references: Tensor, data_range: float = 1.0) -> Tensor:
    """Mean structural similarity of each image, over all its channels.

    Statistics are taken in uniform 7 × 7 windows that lie within the image, with the sample
    (co)variance.

    Args:
        images: ``(B, C, H, W)`` floating point, both sides at least 7.
        references: The same.
        data_range: Distance of the lowest from the highest possible value. Tables made with
            scikit-image before 0.20 on floating point images silently used 2 for images in
            ``[0, 1]``.

    Returns:
        ``(B,)`` float64 in ``[-1, 1]``, 1 for equal images.

    Raises:
        ValueError: If the shapes disagree or an image is smaller than the window.

    Source:
        Wang et al., "Image quality assessment: from error visibility to structural similarity",
        IEEE TIP 2004, equation (13).
    """
    require_images("images", images)
    require_images("references", references, channels=images.shape[1])
    require_same_grid("references", references, "images", images)
    if min(images.shape[-2:]) < WINDOW:
        msg = f"images must be at least {WINDOW} pixels on each side, got {tuple(images.shape)}"
        raise ValueError(msg)
    if references.stride(0) == 0:
        # One picture, expanded, that all are compared with: its statistics are taken once.
        references = references[:1]
    x, y = images.double(), references.double()
    mean_x, mean_y = _window_mean(x), _window_mean(y)
    unbiased = WINDOW**2 / (WINDOW**2 - 1)
    variance_x = unbiased * (_window_mean(x * x) - mean_x * mean_x)
    variance_y = unbiased * (_window_mean(y * y) - mean_y * mean_y)
    covariance = unbiased * (_window_mean(x * y) - mean_x * mean_y)

    c1 = (K1 * data_range) ** 2
    c2 = (K2 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x * mean_x + mean_y * mean_y + c1)
    contrast_and_structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return (luminance * contrast_and_structure).mean(dim=(1, 2, 3))


def _window_mean(images: Tensor) -> Tensor:
    # Rows and columns apart: 14 additions a pixel instead of 49. Adding shifted pictures takes
    # half the time of pooling.
    rows, columns = (side - WINDOW + 1 for side in images.shape[-2:])
    summed = torch.zeros_like(images[..., :rows, :])
    for shift in range(WINDOW):
        summed += images[..., shift : shift + rows, :]
    total = torch.zeros_like(summed[..., :columns])
    for shift in range(WINDOW):
        total += summed[..., shift : shift + columns]
    return total / WINDOW**2
