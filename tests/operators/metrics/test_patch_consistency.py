"""Patch consistency: where it looks, what it draws, and the published numbers."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from shared import golden, golden_note, golden_tolerance
from torch import Tensor

from operators.metrics.patch_consistency import (
    Score,
    hole_corner,
    patch_consistency,
    patch_generator,
    random_corner,
)
from operators.metrics.psnr import psnr
from operators.metrics.ssim import ssim


def frame_of_noise(seed: int, height: int = 24, width: int = 30) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("down", "right", "found"),
    [(0, 0, True), (-3, -3, True), (2, 2, True), (3, 0, False), (0, 3, False), (-4, 0, False)],
)
def test_a_patch_is_found_from_minus_search_to_one_before_search(
    down: int, right: int, found: bool
):
    earlier, later = frame_of_noise(0), frame_of_noise(1)
    row, column = 8, 10
    patch = earlier[..., row : row + 6, column : column + 6]
    later[..., row + down : row + down + 6, column + right : column + right + 6] = patch
    best = patch_consistency(earlier, later, (row, column), patch=6, search=3)
    assert (best == math.inf) == found


@given(st.integers(0, 18), st.integers(0, 24), st.integers(1, 9))
def test_the_best_score_is_that_of_a_loop_over_candidates(row: int, column: int, search: int):
    earlier, later = frame_of_noise(2), frame_of_noise(3)
    patch = earlier[..., row : row + 6, column : column + 6]
    scores = []
    for y in range(row - search, row + search):
        for x in range(column - search, column + search):
            candidate = later[..., y : y + 6, x : x + 6] if y >= 0 and x >= 0 else patch[..., :0]
            if candidate.shape == patch.shape:
                scores.append(psnr(candidate, patch).item())
    found = patch_consistency(earlier, later, (row, column), patch=6, search=search)
    assert found == pytest.approx(max(scores))


@pytest.mark.parametrize("corner", [(-1, 0), (0, -1), (19, 0), (0, 25)])
def test_a_patch_outside_the_frame_is_refused(corner: tuple[int, int]):
    with pytest.raises(ValueError, match="patch corner must leave 6 pixels in 30 x 24, got"):
        patch_consistency(frame_of_noise(0), frame_of_noise(1), corner, patch=6)


def test_the_last_row_and_column_are_never_drawn():
    generator = patch_generator(0)
    corners = {random_corner(generator, 53, 52) for _ in range(200)}
    assert corners == {(row, column) for row in range(3) for column in range(2)}


def test_frames_no_larger_than_the_patch_are_refused():
    with pytest.raises(ValueError, match="frames must be larger than 50 x 50 pixels, got 80 x 50"):
        random_corner(patch_generator(), 50, 80)


@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [
        (slice(9, 12), slice(14, 17), (7, 12)),  # centre (10, 15)
        (slice(9, 13), slice(14, 18), (7, 12)),  # centre (10.5, 15.5): rounded down
        (slice(0, 2), slice(28, 30), (0, 24)),  # moved into the frame
    ],
)
def test_the_patch_of_a_hole_lies_around_its_centroid(
    rows: slice, columns: slice, expected: tuple[int, int]
):
    hole = torch.zeros(1, 24, 30, dtype=torch.bool)
    hole[0, rows, columns] = True
    assert hole_corner(hole, patch=6) == expected


def test_a_frame_without_a_hole_has_no_patch_in_it():
    with pytest.raises(ValueError, match="hole must hold at least one pixel"):
        hole_corner(torch.zeros(1, 60, 60, dtype=torch.bool))


def golden_pairs(name: str) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Consecutive frames of a golden video, with the hole of the earlier one."""
    arrays, _ = golden("metrics")
    frames = torch.from_numpy(arrays[f"{name}_comp_u8"]).permute(0, 3, 1, 2) / 255.0
    holes = torch.from_numpy(arrays[f"{name}_mask_known"])[:, None] == 0
    return [(frames[a : a + 1], frames[a + 1 : a + 2], holes[a]) for a in range(len(frames) - 1)]


@pytest.mark.shared
def test_patch_positions_match_the_golden_draws():
    arrays, meta = golden("metrics")
    (seed,) = golden_note("metrics", r"PCG64 seed (\d+)")
    generator = patch_generator(int(seed))
    drawn = [
        random_corner(generator, *earlier.shape[-2:], meta["patch"])
        for name in ("v0", "v1")
        for earlier, _, _ in golden_pairs(name)
    ]
    assert drawn == [tuple(draw) for draw in arrays["pcons_draws_yx"].tolist()]


@pytest.mark.shared
@pytest.mark.parametrize(
    ("key", "score"),
    [
        ("pcons_psnr", psnr),
        ("pcons_ssim_R1", ssim),
        ("pcons_ssim_R2", partial(ssim, data_range=2.0)),
    ],
)
def test_patch_consistency_matches_the_golden(key: str, score: Score):
    arrays, meta = golden("metrics")
    sizes = {"patch": meta["patch"], "search": meta["search"]}
    draws = iter(arrays["pcons_draws_yx"].tolist())
    for index, name in enumerate(("v0", "v1")):
        best = [
            patch_consistency(earlier, later, tuple(next(draws)), score, **sizes)
            for earlier, later, _ in golden_pairs(name)
        ]
        mean = sum(best) / len(best)
        assert mean == pytest.approx(float(arrays[key][index]), rel=golden_tolerance("metrics"))


@pytest.mark.shared
def test_patch_consistency_in_holes_matches_the_golden():
    arrays, meta = golden("metrics")
    sizes = {"patch": meta["patch"], "search": meta["search"]}
    for index, name in enumerate(("v0", "v1")):
        best = [
            patch_consistency(earlier, later, hole_corner(hole, meta["patch"]), **sizes)
            for earlier, later, hole in golden_pairs(name)
        ]
        expected = float(arrays["pcons_psnr_mask"][index])
        mean = sum(best) / len(best)
        assert mean == pytest.approx(expected, rel=golden_tolerance("metrics"))
