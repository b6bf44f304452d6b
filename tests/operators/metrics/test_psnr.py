"""PSNR against closed forms and the published numbers."""

import math

import pytest
import torch
from shared import golden, golden_tolerance

from operators.metrics.psnr import psnr


def test_an_error_of_a_tenth_everywhere_is_twenty_decibels():
    grey = torch.full((2, 3, 4, 5), 0.5)
    assert psnr(grey, grey + 0.1).tolist() == pytest.approx([20.0, 20.0], abs=1e-4)


def test_a_doubled_range_adds_six_decibels():
    images, references = torch.rand(2, 1, 3, 8, 8).unbind()
    gained = psnr(images, references, data_range=2.0) - psnr(images, references)
    assert gained.item() == pytest.approx(20 * math.log10(2))


def test_each_image_of_a_batch_has_its_own_value_and_equal_ones_an_infinite_one():
    references = torch.rand(2, 3, 4, 5)
    images = references.clone()
    images[1, 0, 0, 0] += 1.0
    equal, different = psnr(images, references).tolist()
    assert equal == math.inf
    assert different == pytest.approx(10 * math.log10(3 * 4 * 5), abs=1e-4)


def test_images_of_other_sizes_are_refused():
    with pytest.raises(ValueError, match="references must be on the grid of images, got"):
        psnr(torch.zeros(1, 3, 4, 5), torch.zeros(1, 3, 5, 5))


@pytest.mark.shared
def test_psnr_of_composited_videos_matches_the_golden():
    arrays, _ = golden("metrics")
    for index, name in enumerate(("v0", "v1")):
        images, references = (
            torch.from_numpy(arrays[f"{name}_{key}"]).permute(0, 3, 1, 2) / 255.0
            for key in ("comp_u8", "gt_u8")
        )
        expected = float(arrays["psnr"][index])
        assert psnr(images, references).mean().item() == pytest.approx(
            expected, rel=golden_tolerance("metrics")
        )
