"""The FID on features that can be reckoned with by hand."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from shared import golden, golden_tolerance
from torch import Tensor

from operators.metrics.fid import FrechetInceptionDistance


def mean_color(images: Tensor) -> Tensor:
    """Stands in for the network: three features, one for each channel."""
    return images.mean(dim=(2, 3))


def pictures(colors: list[list[float]]) -> Tensor:
    return torch.tensor(colors).view(-1, 3, 1, 1).expand(-1, 3, 2, 4)


def grey(*levels: float) -> Tensor:
    return pictures([[level, 0.0, 0.0] for level in levels])


def test_in_one_dimension_it_is_the_gap_of_means_and_of_deviations_squared() -> None:
    levels, reference_levels = (0.1, 0.4, 0.9, 0.2), (0.5, 0.6, 0.8)
    metric = FrechetInceptionDistance(mean_color)
    metric.update(grey(*levels))
    metric.update_references(grey(*reference_levels))

    result = metric.result()

    # The sample deviation, of N - 1.
    means = np.mean(levels) - np.mean(reference_levels)
    deviations = np.std(levels, ddof=1) - np.std(reference_levels, ddof=1)
    assert result.value == pytest.approx(means**2 + deviations**2, rel=1e-4)
    assert (result.num_images, result.num_references) == (4, 3)


@given(st.lists(st.integers(1, 9), max_size=3), st.integers(0, 99))
def test_images_some_at_a_time_give_the_result_of_all_at_once(cuts: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    images, references = torch.rand(2, 10, 3, 2, 2, generator=generator)
    at_once, in_parts = FrechetInceptionDistance(mean_color), FrechetInceptionDistance(mean_color)
    at_once.update(images)
    at_once.update_references(references)
    bounds = [0, *sorted(set(cuts)), 10]
    for begin, end in pairwise(bounds):
        in_parts.update_references(references[begin:end])
        in_parts.update(images[begin:end])

    assert in_parts.result().value == pytest.approx(at_once.result().value, rel=1e-6)
    assert in_parts.result().num_images == in_parts.result().num_references == 10


def test_the_same_images_have_no_distance_in_any_order() -> None:
    images = torch.rand(8, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    metric = FrechetInceptionDistance(mean_color)
    metric.update(images)
    metric.update_references(images.flip(0))
    assert metric.result().value == pytest.approx(0.0, abs=1e-9)


def test_images_of_different_sizes_belong_to_one_set() -> None:
    metric = FrechetInceptionDistance(mean_color)
    for side in (1, 2, 3):
        metric.update(torch.full((1, 3, side, side), 0.1 * side))
    metric.update_references(torch.full((2, 3, 5, 5), 0.2))
    # Three channels alike: means agree, and deviations are 0.1 and 0, three times.
    assert metric.result().value == pytest.approx(3 * 0.1**2, rel=1e-4)


@pytest.mark.parametrize(("num_images", "num_references"), [(0, 0), (1, 5), (5, 1)])
def test_a_set_without_a_covariance_has_no_distance_to_report(
    num_images: int, num_references: int
) -> None:
    metric = FrechetInceptionDistance(mean_color)
    if num_images:
        metric.update(torch.rand(num_images, 3, 2, 2))
    if num_references:
        metric.update_references(torch.rand(num_references, 3, 2, 2))

    result = metric.result()

    assert math.isnan(result.value)
    assert (result.num_images, result.num_references) == (num_images, num_references)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["frechet_full", "frechet_rankdef"])
def test_features_fed_one_at_a_time_match_the_golden_distance_of_their_sets(name: str) -> None:
    arrays, _ = golden("metrics")
    metric = FrechetInceptionDistance(lambda images: images.flatten(start_dim=1))
    for feed, side in ((metric.update, "a"), (metric.update_references, "b")):
        for features in torch.from_numpy(arrays[f"{name}_{side}"]):
            feed(features.view(1, -1, 1, 1))

    expected = arrays[name].item()
    assert metric.result().value == pytest.approx(expected, rel=golden_tolerance("metrics", name))
