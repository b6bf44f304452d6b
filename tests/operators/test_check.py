"""Requirements on tensors: what passes, and the sentence when it does not."""

import re

import pytest
import torch

from operators.check import require_flow, require_images, require_pair, require_same_grid


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [None, 3])
def test_batches_of_floating_point_images_pass(dtype: torch.dtype, channels: int | None):
    require_images("guide", torch.zeros(2, 3, 4, 5, dtype=dtype), channels=channels)


@pytest.mark.parametrize(
    ("images", "channels", "message"),
    [
        (torch.zeros(3, 4, 5), None, "guide must be (B, C, H, W), got (3, 4, 5)"),
        (torch.zeros(3, 4, 5), 3, "guide must be (B, 3, H, W), got (3, 4, 5)"),
        (torch.zeros(1, 4, 4, 5), 3, "guide must be (B, 3, H, W), got (1, 4, 4, 5)"),
        (
            torch.zeros(1, 3, 4, 5, dtype=torch.uint8),
            3,
            "guide must be floating point, got torch.uint8",
        ),
    ],
)
def test_other_images_are_refused_by_name(images: torch.Tensor, channels: int | None, message: str):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        require_images("guide", images, channels=channels)


def test_a_flow_has_two_channels():
    require_flow("flow_ab", torch.zeros(1, 2, 4, 5))
    with pytest.raises(ValueError, match=r"^flow_ab must be \(B, 2, H, W\), got \(1, 3, 4, 5\)$"):
        require_flow("flow_ab", torch.zeros(1, 3, 4, 5))


def test_the_same_grid_allows_other_channels():
    require_same_grid("mask", torch.zeros(2, 1, 4, 5), "image", torch.zeros(2, 3, 4, 5))


@pytest.mark.parametrize("shape", [(1, 1, 4, 5), (2, 1, 5, 5), (2, 1, 4, 4)])
def test_another_batch_height_or_width_is_another_grid(shape: tuple[int, ...]):
    message = f"mask must be on the grid of image, got {shape} for (2, 3, 4, 5)"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        require_same_grid("mask", torch.zeros(shape), "image", torch.zeros(2, 3, 4, 5))


def test_a_pair_is_two_batches_of_rgb_of_one_shape():
    image = torch.zeros(2, 3, 4, 5)
    require_pair(image, image.clone())

    for first, second, message in (
        (torch.zeros(2, 1, 4, 5), image, "first must be (B, 3, H, W), got (2, 1, 4, 5)"),
        (image, image.long(), "second must be floating point, got torch.int64"),
        (image, image[:1], "second must be on the grid of first"),
        (image, image[..., 1:], "second must be on the grid of first"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            require_pair(first, second)
