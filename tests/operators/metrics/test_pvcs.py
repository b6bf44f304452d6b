"""The PVCS against a loop over windows and positions, and the published numbers."""

import math
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from published import assert_near_golden, published_weights
from shared import golden, golden_tolerance
from torch import Tensor

from operators.metrics.pvcs import PerceptualVideoClipSimilarity, SlidingClip, clip_distances
from operators.models.i3d import I3D, from_published

LENGTH = 10
seeds = st.integers(0, 2**32 - 1)


def powers(clips: Tensor, endpoints: Iterable[str]) -> dict[str, Tensor]:
    """Stands in for the network: at each depth another power of the colours, and an offset."""
    return {name: clips ** (depth + 1) + 0.1 * depth for depth, name in enumerate(endpoints)}


def videos(seed: int, num_frames: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images, references = torch.rand(2, num_frames, 3, 2, 2, generator=generator)
    return images, references


def measured(images: Tensor, references: Tensor, padding: str = "own") -> float:
    metric = PerceptualVideoClipSimilarity(powers, padding)
    metric.update(images, references)
    return metric.result().value


def window_by_loop(images: np.ndarray, references: np.ndarray) -> float:
    """The distance of two clips, ``(T, 3, H, W)``, one position after the other."""
    total = 0.0
    num_frames, _, height, width = images.shape
    for depth in range(4):
        for t in range(num_frames):
            for y in range(height):
                for x in range(width):
                    a = images[t, :, y, x] ** (depth + 1) + 0.1 * depth
                    b = references[t, :, y, x] ** (depth + 1) + 0.1 * depth
                    unit_gap = a / np.linalg.norm(a) - b / np.linalg.norm(b)
                    total += (unit_gap**2).sum() / (num_frames * height * width)
    return total


@given(seeds, st.integers(LENGTH, LENGTH + 3))
def test_the_value_is_the_mean_of_a_loop_over_every_ten_consecutive_frames(
    seed: int, num_frames: int
) -> None:
    images, references = videos(seed, num_frames)
    metric = PerceptualVideoClipSimilarity(powers)
    metric.update(images, references)

    result = metric.result()

    windows = [slice(start, start + LENGTH) for start in range(num_frames - LENGTH + 1)]
    expected = np.mean(
        [
            window_by_loop(images[w].double().numpy(), references[w].double().numpy())
            for w in windows
        ]
    )
    assert result.value == pytest.approx(expected, rel=1e-4)
    assert (result.num_frames, result.num_windows) == (num_frames, len(windows))


@given(seeds, st.lists(st.integers(1, 12), max_size=4), st.integers(1, 13))
def test_frames_some_at_a_time_give_the_result_of_all_at_once(
    seed: int, cuts: list[int], num_frames: int
) -> None:
    images, references = videos(seed, num_frames)
    metric = PerceptualVideoClipSimilarity(powers)
    bounds = sorted({0, *(min(cut, num_frames) for cut in cuts), num_frames})
    for begin, end in pairwise(bounds):
        metric.update(images[begin:end], references[begin:end])
        metric.result()  # asking does not change the answer

    assert metric.result().value == pytest.approx(measured(images, references), rel=1e-6)


@pytest.mark.parametrize("num_frames", [1, 7, 9])
def test_a_short_video_repeats_its_own_last_frame(num_frames: int) -> None:
    images, references = videos(0, num_frames)
    filled = [
        torch.cat((video, video[-1:].expand(LENGTH - num_frames, -1, -1, -1)))
        for video in (images, references)
    ]
    metric = PerceptualVideoClipSimilarity(powers)
    metric.update(images, references)

    result = metric.result()

    assert result.value == pytest.approx(measured(*filled), rel=1e-6)
    assert (result.num_frames, result.num_windows) == (num_frames, 1)


def test_a_short_video_may_repeat_the_last_frame_of_its_reference_as_published() -> None:
    images, references = videos(0, 7)
    filling = references[-1:].expand(3, -1, -1, -1)
    expected = measured(torch.cat((images, filling)), torch.cat((references, filling)))
    assert measured(images, references, "reference") == pytest.approx(expected, rel=1e-6)
    assert expected < measured(images, references)


def test_the_padding_of_short_videos_does_not_touch_long_ones() -> None:
    images, references = videos(0, 11)
    assert measured(images, references, "reference") == measured(images, references)


def test_equal_videos_have_no_distance_and_no_video_has_none_to_report() -> None:
    images, _ = videos(0, 12)
    assert measured(images, images) == 0.0
    result = PerceptualVideoClipSimilarity(powers).result()
    assert math.isnan(result.value)
    assert (result.num_frames, result.num_windows) == (0, 0)


def test_a_sliding_clip_is_the_last_ten_frames_in_order() -> None:
    clip = SlidingClip()
    for number in range(13):
        found = clip.push(torch.full((3, 1, 2), float(number)))
        if number < LENGTH - 1:
            assert found is None
        else:
            assert found is not None
            assert found.shape == (1, 3, LENGTH, 1, 2)
            assert found[0, 1, :, 0, 0].tolist() == list(range(number - 9, number + 1))
    assert clip.num_frames == 13


def test_frames_that_do_not_fit_are_refused() -> None:
    images, references = videos(0, 3)
    metric = PerceptualVideoClipSimilarity(powers)
    with pytest.raises(ValueError, match="references must be on the grid of images"):
        metric.update(images, references[:2])
    with pytest.raises(ValueError, match=r"images must be \(B, 3, H, W\)"):
        metric.update(images[0], references[0])
    metric.update(images, references)
    with pytest.raises(ValueError, match=r"one size, got \(3, 2, 1\) after \(3, 2, 2\)"):
        metric.update(images[..., :1], references[..., :1])


@pytest.fixture(scope="module")
def network() -> I3D:
    network = I3D().eval().requires_grad_(requires_grad=False)
    network.load_state_dict(from_published(published_weights("i3d")))
    return network


def golden_videos(name: str) -> tuple[Tensor, Tensor]:
    """The composite of the prediction and the ground truth, and the ground truth."""
    arrays, _ = golden("i3d")
    truth, prediction = arrays[f"{name}_gt_u8"], arrays[f"{name}_pred_u8"]
    composite = np.where(arrays[f"{name}_mask_known"][..., None] == 1, truth, prediction)
    as_float = [torch.from_numpy(video).permute(0, 3, 1, 2) / 255.0 for video in (composite, truth)]
    return as_float[0], as_float[1]


@pytest.mark.shared
@pytest.mark.parametrize(("index", "name"), [(0, "v0"), (1, "v1")])
def test_videos_match_the_golden_of_the_published_code(network: I3D, index: int, name: str) -> None:
    metric = PerceptualVideoClipSimilarity(network, padding="reference")
    composite, truth = golden_videos(name)
    metric.update(composite, truth)

    result = metric.result()

    arrays, _ = golden("i3d")
    expected = float(arrays["pvcs"][index])
    assert result.value == pytest.approx(expected, rel=golden_tolerance("i3d"))
    assert result.num_windows == max(1, len(truth) - LENGTH + 1)


@pytest.mark.shared
def test_every_depth_of_a_clip_matches_the_golden_of_the_published_code(network: I3D) -> None:
    arrays, _ = golden("i3d")
    composite, truth = (video[:LENGTH].transpose(0, 1)[None] for video in golden_videos("v0"))

    found = clip_distances(network, composite, truth)

    tolerance = golden_tolerance("i3d")
    assert_near_golden(found[0], arrays["pvcs_first_window_per_layer"], tolerance)
    assert_near_golden(found.sum(dim=1), arrays["pvcs_first_window"], tolerance)
