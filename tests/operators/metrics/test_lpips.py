"""The mean of LPIPS over the frames of a video."""

import math

import pytest
import torch
from torch import Tensor

from operators.metrics.lpips import PerceptualDistance


def brightness_gap(images: Tensor, references: Tensor) -> Tensor:
    """Stands in for the network: how much brighter an image is than its reference."""
    return (images - references).mean(dim=(1, 2, 3))


def frames(*levels: float) -> Tensor:
    return torch.tensor(levels).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)


def test_every_frame_counts_the_same_however_many_are_fed_at_a_time() -> None:
    metric = PerceptualDistance(brightness_gap, "alex")
    metric.update(frames(0.5, 0.7, 0.9), frames(0.5, 0.5, 0.5))
    metric.update(frames(1.0), frames(0.0))

    result = metric.result()

    assert result.value == pytest.approx((0.0 + 0.2 + 0.4 + 1.0) / 4)
    assert (result.num_frames, result.network_name) == (4, "alex")


def test_a_result_can_be_asked_for_along_the_way() -> None:
    metric = PerceptualDistance(brightness_gap, "vgg")
    metric.update(frames(0.25), frames(0.0))
    assert metric.result().value == pytest.approx(0.25)
    metric.update(frames(0.75), frames(0.0))
    assert metric.result().value == pytest.approx(0.5)


def test_a_video_of_no_frames_has_no_distance_to_report() -> None:
    result = PerceptualDistance(brightness_gap, "alex").result()
    assert math.isnan(result.value)
    assert result.num_frames == 0
