"""Contextual attention against slow loops and the numbers of two published ports."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from published import assert_near_golden
from shared import golden, golden_tolerance
from torch import Tensor

from operators.models.contextual_attention import (
    DAA233,
    NBEI,
    ContextualAttention,
    Subsampling,
    kept_pixels,
    propagate,
    subsample,
)

counts = st.integers(1, 200)
rates = st.sampled_from([2, 4])


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@given(counts, rates)
def test_coinciding_corners_keep_the_pixel_nearest_to_the_stretched_grid(count: int, rate: int):
    size = count * rate

    kept = kept_pixels(size, rate, Subsampling.CORNERS).tolist()

    assert len(kept) == count
    if count > 1:
        assert (kept[0], kept[-1]) == (0, size - 1)
        for i, pixel in enumerate(kept):
            assert abs(pixel - Fraction(i * (size - 1), count - 1)) <= Fraction(1, 2)


def test_coinciding_corners_shift_by_one_pixel_in_the_second_half():
    kept = kept_pixels(64, 2, Subsampling.CORNERS).tolist()
    assert kept == [2 * i for i in range(16)] + [2 * i + 1 for i in range(16, 32)]


def test_coinciding_corners_round_halves_up():
    assert kept_pixels(6, 2, Subsampling.CORNERS).tolist() == [0, 3, 5]


@given(counts)
def test_a_trailing_grid_keeps_what_nearest_grid_sampling_of_the_port_reads(count: int):
    line = torch.arange(2.0 * count, dtype=torch.double).view(1, 1, 1, -1)
    x = -1.0 + 2.0 * torch.arange(count, dtype=torch.double) / count
    grid = torch.stack((x, torch.zeros_like(x)), dim=-1).view(1, 1, count, 2)

    kept = kept_pixels(2 * count, 2, Subsampling.TRAILING)

    expected = F.grid_sample(line, grid, mode="nearest", align_corners=True)
    assert kept.tolist() == expected.flatten().long().tolist()


@given(counts, rates)
def test_the_first_of_each_group_is_kept(count: int, rate: int):
    kept = kept_pixels(count * rate, rate, Subsampling.FIRST).tolist()
    assert kept == list(range(0, count * rate, rate))


@pytest.mark.parametrize("rule", Subsampling)
def test_subsampling_drops_rows_and_columns_alike(rule: Subsampling):
    image = random(2, 3, 8, 12)
    rows, columns = kept_pixels(8, 2, rule).tolist(), kept_pixels(12, 2, rule).tolist()

    small = subsample(image, 2, rule)

    assert small.shape == (2, 3, 4, 6)
    for y, row in enumerate(rows):
        for x, column in enumerate(columns):
            assert torch.equal(small[..., y, x], image[..., row, column])


def slow_propagate(scores: np.ndarray, height: int, width: int) -> np.ndarray:
    """Sum over three steps along both grids, first in reading order, then down the columns."""
    count = height * width
    columns_first = [y * width + x for x in range(width) for y in range(height)]
    for order in (list(range(count)), columns_first):
        total = np.zeros_like(scores)
        for patch in range(count):
            for query in range(count):
                for step in (-1, 0, 1):
                    if 0 <= patch + step < count and 0 <= query + step < count:
                        moved = scores[order[patch + step], order[query + step]]
                        total[order[patch], order[query]] += moved
        scores = total
    return scores


@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_neighbours_that_move_together_support_each_other(height: int, width: int, seed: int):
    scores = random(height * width, height * width, seed=seed).double()
    expected = slow_propagate(scores.numpy(), height, width)
    np.testing.assert_allclose(propagate(scores, height, width).numpy(), expected, atol=1e-12)


def corners(size: int, count: int) -> list[int]:
    return [math.floor(Fraction(i * (size - 1), count - 1) + Fraction(1, 2)) for i in range(count)]


def patch(image: np.ndarray, top: int, left: int, side: int) -> np.ndarray:
    """A square of ``(C, H, W)``, zero outside."""
    padded = np.pad(image, ((0, 0), (side, side), (side, side)))
    return padded[:, top + side : top + 2 * side, left + side : left + 2 * side]


def slow_attention(features: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The official layer in its own words, for ``(C, H, W)`` and ``(1, 4H, 4W)``."""
    _, height, width = features.shape
    h, w = height // 2, width // 2
    small = features[:, corners(height, h)][:, :, corners(width, w)]
    quarter = hole[:, corners(4 * height, height)][:, :, corners(4 * width, width)]
    small_hole = quarter[:, corners(height, h)][:, :, corners(width, w)]
    places = [(y, x) for y in range(h) for x in range(w)]

    queries = [patch(small, y - 1, x - 1, 3) for y, x in places]
    keys = [query / max(np.sqrt((query**2).sum()), 1e-4) for query in queries]
    scores = np.array([[(key * query).sum() for query in queries] for key in keys])
    scores = slow_propagate(scores, h, w)
    known = [patch(small_hole, y - 1, x - 1, 3).sum() == 0 for y, x in places]

    padded = np.zeros((features.shape[0], height + 2, width + 2))
    for query, (y, x) in enumerate(places):
        exponentials = [
            math.exp(10 * score * k) for score, k in zip(scores[:, query], known, strict=True)
        ]
        for key, (source_y, source_x) in enumerate(places):
            weight = exponentials[key] / sum(exponentials) * known[key]
            pasted = patch(features, 2 * source_y - 1, 2 * source_x - 1, 4)
            padded[:, 2 * y : 2 * y + 4, 2 * x : 2 * x + 4] += weight * pasted / 4
    return padded[:, 1:-1, 1:-1]


def test_the_official_layer_agrees_with_its_definition_for_every_picture_of_a_batch():
    features = 0.3 * random(2, 3, 8, 6).double()
    hole = torch.zeros(2, 1, 32, 24, dtype=torch.double)
    hole[0, :, 20:, 13:] = 1.0
    hole[1, :, :9, :5] = 1.0

    rebuilt = ContextualAttention()(features, hole)

    for picture in range(2):
        expected = slow_attention(features[picture].numpy(), hole[picture].numpy())
        np.testing.assert_allclose(rebuilt[picture].numpy(), expected, atol=1e-9)


def test_patches_without_any_content_do_not_divide_by_zero():
    rebuilt = ContextualAttention()(torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 16, 16))
    assert torch.equal(rebuilt, torch.zeros(1, 2, 4, 4))


def test_only_patches_clear_of_the_hole_are_borrowed():
    features = torch.zeros(1, 1, 8, 16)
    features[..., 8:] = 100.0  # what the hole covers must not show up anywhere
    features[..., :8] = random(1, 1, 8, 8).abs()
    hole = torch.zeros(1, 1, 32, 64)
    hole[..., 24:] = 1.0

    rebuilt = ContextualAttention()(features, hole)

    assert rebuilt.max() <= features[..., :8].max()
    assert rebuilt[..., 8:].max() > 0.0


def test_shapes_that_do_not_belong_together_are_refused():
    attention = ContextualAttention()
    with pytest.raises(ValueError, match="features must have even sides, got 5x4"):
        attention(torch.zeros(1, 2, 5, 4), torch.zeros(1, 1, 20, 16))
    with pytest.raises(ValueError, match=r"hole must be \(1, 1, 24, 16\), got \(1, 1, 6, 4\)"):
        attention(torch.zeros(1, 2, 6, 4), torch.zeros(1, 1, 6, 4))


@pytest.mark.shared
def test_the_layer_alone_matches_the_golden_of_daa233():
    arrays, _ = golden("deepfillv1_daa233")
    features, hole = torch.from_numpy(arrays["ca_f"]), torch.from_numpy(arrays["ca_mask"])
    rebuilt = ContextualAttention(DAA233)(features, hole)
    assert_near_golden(rebuilt, arrays["ca_y"], golden_tolerance("deepfillv1_daa233"))


@pytest.mark.shared
@pytest.mark.parametrize("frame", [0, 1])
def test_the_small_mask_matches_the_golden_of_nbei(frame: int):
    arrays, _ = golden("deepfillv1_nbei")
    small = subsample(torch.from_numpy(arrays[f"mask_{frame}"]), 8, NBEI.hole_subsampling)
    assert np.array_equal(small.numpy(), arrays[f"small_mask_{frame}"])
