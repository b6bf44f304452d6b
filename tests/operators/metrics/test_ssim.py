"""SSIM against a loop over windows and the published numbers."""

import numpy as np
import pytest
import torch
from shared import golden, golden_tolerance
from torch import Tensor

from operators.metrics.ssim import ssim


def ssim_by_loop(first: Tensor, second: Tensor, data_range: float) -> float:
    """The textbook formula in each 7 x 7 window of each channel, with numpy's covariance."""
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    values = []
    for x, y in zip(first.double().numpy(), second.double().numpy(), strict=True):
        for top in range(x.shape[0] - 6):
            for left in range(x.shape[1] - 6):
                a = x[top : top + 7, left : left + 7].ravel()
                b = y[top : top + 7, left : left + 7].ravel()
                (var_a, cov), (_, var_b) = np.cov(a, b)
                numerator = (2 * a.mean() * b.mean() + c1) * (2 * cov + c2)
                denominator = (a.mean() ** 2 + b.mean() ** 2 + c1) * (var_a + var_b + c2)
                values.append(numerator / denominator)
    return float(np.mean(values))


@pytest.mark.parametrize("data_range", [1.0, 2.0])
def test_ssim_is_that_of_a_loop_over_windows(data_range: float):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 9, 12, generator=generator)
    references = 0.7 * images + 0.3 * torch.rand(2, 3, 9, 12, generator=generator)
    expected = [ssim_by_loop(images[k], references[k], data_range) for k in range(2)]
    np.testing.assert_allclose(ssim(images, references, data_range), expected, rtol=1e-9)


def test_equal_images_are_perfectly_similar():
    image = torch.rand(1, 3, 7, 7)
    assert ssim(image, image).item() == pytest.approx(1.0)


def test_an_image_smaller_than_the_window_is_refused():
    with pytest.raises(ValueError, match="images must be at least 7 pixels on each side, got"):
        ssim(torch.zeros(1, 3, 6, 9), torch.zeros(1, 3, 6, 9))


@pytest.mark.shared
@pytest.mark.parametrize(("key", "data_range"), [("ssim_R1", 1.0), ("ssim_R2", 2.0)])
def test_ssim_of_composited_videos_matches_the_golden(key: str, data_range: float):
    arrays, _ = golden("metrics")
    for index, name in enumerate(("v0", "v1")):
        # The golden was computed in double precision.
        images, references = (
            torch.from_numpy(arrays[f"{name}_{frames}"]).permute(0, 3, 1, 2).double() / 255.0
            for frames in ("comp_u8", "gt_u8")
        )
        expected = float(arrays[key][index])
        assert ssim(images, references, data_range).mean().item() == pytest.approx(
            expected, rel=golden_tolerance("metrics")
        )
