"""The Fréchet distance against closed forms and the published numbers."""

import pytest
import torch
from shared import golden, golden_tolerance
from torch import Tensor

from operators.metrics.frechet import frechet_distance


def samples(seed: int, count: int = 50, dimensions: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dimensions, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("count", [50, 4])
def test_a_set_has_no_distance_from_itself(count: int):
    features = samples(0, count)
    assert frechet_distance(features, features) == pytest.approx(0.0, abs=1e-6)


def test_a_shifted_set_is_the_square_of_the_shift_away():
    features = samples(0)
    shift = torch.tensor((3.0, 0, 4.0, 0, 0, 0), dtype=torch.float64)
    assert frechet_distance(features, features + shift) == pytest.approx(25.0)


def test_independent_dimensions_add_the_squared_differences_of_deviations():
    """A design whose dimensions are exactly uncorrelated; deviations 1 and 2 against 3 and 5."""
    signs = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)
    unit = signs / signs.std(dim=0)
    first = unit * torch.tensor((1.0, 2.0), dtype=torch.float64)
    second = unit * torch.tensor((3.0, 5.0), dtype=torch.float64)
    assert frechet_distance(first, second) == pytest.approx((3 - 1) ** 2 + (5 - 2) ** 2)


def test_the_distance_is_the_same_both_ways():
    first, second = samples(1), 2 * samples(2) + 1
    assert frechet_distance(first, second) == pytest.approx(frechet_distance(second, first))


def test_features_of_one_dimension_are_allowed():
    features = samples(0, dimensions=1)
    assert frechet_distance(features, features + 2.0) == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("features", "references", "message"),
    [
        (samples(0, 1), samples(0), "features must be .* with at least two samples, got"),
        (samples(0), samples(0, dimensions=5), r"references must be \(N, 6\) .* got \(50, 5\)"),
    ],
)
def test_sets_that_have_no_moments_or_do_not_fit_are_refused(
    features: Tensor, references: Tensor, message: str
):
    with pytest.raises(ValueError, match=message):
        frechet_distance(features, references)


@pytest.mark.shared
@pytest.mark.parametrize("key", ["frechet_full", "frechet_rankdef"])
def test_distances_match_the_golden_also_with_fewer_samples_than_dimensions(key: str):
    arrays, _ = golden("metrics")
    first, second = (torch.from_numpy(arrays[f"{key}_{side}"]) for side in ("a", "b"))
    assert frechet_distance(first, second) == pytest.approx(
        float(arrays[key][0]), rel=golden_tolerance("metrics", key)
    )
