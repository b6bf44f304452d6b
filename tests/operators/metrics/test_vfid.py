"""The VFID on features that can be reckoned with by hand, and the published features."""

import math
from collections.abc import Iterable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from published import assert_near_golden, published_weights
from shared import golden, golden_tolerance
from torch import Tensor

from operators.metrics.vfid import Unit, VideoFeatures, VideoFrechetDistance
from operators.models.i3d import I3D, from_published

LENGTH = 10
UNITS: tuple[Unit, ...] = ("video", "clip")


def red(clips: Tensor, endpoints: Iterable[str]) -> dict[str, Tensor]:
    """Stands in for the network: one feature, the red of every pixel."""
    return dict.fromkeys(endpoints, clips[:, :1])


def video(*levels: float) -> Tensor:
    return torch.tensor(levels).view(-1, 1, 1, 1).expand(-1, 3, 2, 4)


def features_of(unit: Unit, *clips: Tensor) -> list[float]:
    found = VideoFeatures(red, unit)
    for frames in clips:
        found.update(frames)
        found.end_video()
    return [feature.item() for feature in found.features]


def test_a_video_as_a_whole_gives_one_feature_the_mean_over_its_frames() -> None:
    found = features_of("video", video(0.0, 0.5, 1.0), video(*[0.25] * 12), video(0.75))
    assert found == pytest.approx([0.5, 0.25, 0.75])


@given(st.integers(1, 14))
def test_every_ten_consecutive_frames_give_a_feature_and_a_short_video_one(num_frames: int) -> None:
    levels = [number / 16 for number in range(num_frames)]
    filled = levels + levels[-1:] * (LENGTH - num_frames)
    expected = [np.mean(filled[i : i + LENGTH]) for i in range(len(filled) - LENGTH + 1)]
    assert features_of("clip", video(*levels)) == pytest.approx(expected)


def test_no_clip_reaches_from_one_video_into_the_next() -> None:
    found = features_of("clip", video(*[0.0] * 11), video(*[1.0] * 10))
    assert found == pytest.approx([0.0, 0.0, 1.0])


@pytest.mark.parametrize("unit", UNITS)
def test_it_is_the_gap_of_means_and_of_deviations_squared(unit: Unit) -> None:
    levels, reference_levels = (0.1, 0.4, 0.9), (0.5, 0.6, 0.8, 0.2)
    metric = VideoFrechetDistance(red, unit)
    for level in levels:
        metric.update(video(*[level] * 4))
        metric.end_video()
    for level in reference_levels:
        metric.update_references(video(*[level] * 6))
        metric.end_video()

    result = metric.result()

    means = np.mean(levels) - np.mean(reference_levels)
    deviations = np.std(levels, ddof=1) - np.std(reference_levels, ddof=1)
    assert result.value == pytest.approx(means**2 + deviations**2, rel=1e-4)
    assert (result.num_videos, result.num_references, result.unit) == (3, 4, unit)


@pytest.mark.parametrize("unit", UNITS)
def test_frames_one_at_a_time_give_the_result_of_all_at_once(unit: Unit) -> None:
    clips = torch.rand(3, 12, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    at_once, one_by_one = VideoFrechetDistance(red, unit), VideoFrechetDistance(red, unit)
    for frames in clips:
        at_once.update(frames)
        at_once.update_references(frames.square())
        at_once.end_video()
        for frame in frames:
            one_by_one.update(frame[None])
            one_by_one.update_references(frame[None].square())
        one_by_one.end_video()

    expected = at_once.result().value
    assert expected > 0.01
    assert one_by_one.result().value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("unit", UNITS)
def test_one_video_or_none_has_no_distance_to_report(unit: Unit) -> None:
    metric = VideoFrechetDistance(red, unit)
    assert math.isnan(metric.result().value)
    metric.update(video(0.5))
    metric.update_references(video(0.5))
    metric.end_video()
    metric.end_video()  # an empty video is none

    result = metric.result()

    assert math.isnan(result.value)
    assert (result.num_videos, result.num_references) == (1, 1)


@pytest.mark.parametrize("unit", UNITS)
def test_a_video_that_was_not_ended_is_not_left_out_silently(unit: Unit) -> None:
    for side in ("update", "update_references"):
        metric = VideoFrechetDistance(red, unit)
        getattr(metric, side)(video(0.5))
        with pytest.raises(ValueError, match="every video must be ended before the result"):
            metric.result()


@pytest.mark.parametrize("unit", UNITS)
def test_frames_of_two_sizes_are_two_videos(unit: Unit) -> None:
    metric = VideoFrechetDistance(red, unit)
    metric.update(torch.zeros(1, 3, 2, 2))
    with pytest.raises(ValueError, match=r"one size, got \(3, 2, 3\) after \(3, 2, 2\)"):
        metric.update(torch.zeros(1, 3, 2, 3))
    metric.end_video()
    metric.update(torch.zeros(1, 3, 2, 3))
    with pytest.raises(ValueError, match=r"frames must be \(B, 3, H, W\)"):
        metric.update(torch.zeros(3, 2, 3))


@pytest.fixture(scope="module")
def network() -> I3D:
    network = I3D().eval().requires_grad_(requires_grad=False)
    network.load_state_dict(from_published(published_weights("i3d")))
    return network


def golden_videos(kind: str) -> list[Tensor]:
    """Ground truth, or its composite with the prediction, of both videos."""
    arrays, _ = golden("i3d")
    found = []
    for name in ("v0", "v1"):
        truth, prediction = arrays[f"{name}_gt_u8"], arrays[f"{name}_pred_u8"]
        composite = np.where(arrays[f"{name}_mask_known"][..., None] == 1, truth, prediction)
        levels = torch.from_numpy(truth if kind == "gt" else composite)
        found.append(levels.permute(0, 3, 1, 2) / 255.0)
    return found


@pytest.mark.shared
@pytest.mark.parametrize("kind", ["gt", "comp"])
@pytest.mark.parametrize(("unit", "key"), [("video", "vfid_feat"), ("clip", "vfid_clips_feat")])
def test_features_match_the_golden_of_the_published_code(
    network: I3D, unit: Unit, key: str, kind: str
) -> None:
    features = VideoFeatures(network, unit)
    for frames in golden_videos(kind):
        features.update(frames)
        features.end_video()

    arrays, _ = golden("i3d")
    found = torch.stack(features.features)
    assert_near_golden(found, arrays[f"{key}_{kind}"], golden_tolerance("i3d"))
    assert features.num_videos == 2
