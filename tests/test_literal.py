"""The independent truth held against what it must satisfy whatever its code."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from literal import (
    Array,
    blend_masks,
    dense_timeline,
    dis_flow,
    literal_framewise,
    literal_hypercon,
    round_to_levels,
    warp,
)

HEIGHT, WIDTH = 40, 56


def sliding_video(num_frames: int, step: int = 2) -> list[Array]:
    """A window that slides to the right over one smooth picture, in eight-bit levels."""
    rows, columns = np.mgrid[0:HEIGHT, 0 : WIDTH + step * num_frames]
    phases = np.arange(3) * 2.0
    waves = np.sin(columns[..., None] / 3 + phases) + np.cos(rows[..., None] / 4 - phases)
    canvas = round_to_levels(0.5 + waves / 5)
    return [canvas[:, step * n : step * n + WIDTH] for n in range(num_frames)]


def negative(frame: Array) -> Array:
    return 1 - frame


def test_without_neighbours_the_output_is_the_frame_wise_translation():
    frames = sliding_video(3)
    outputs = literal_hypercon(frames, negative, insert=2, radius=0, dilation=1)
    np.testing.assert_array_equal(outputs, literal_framewise(frames, negative))


@pytest.mark.parametrize("pool", ["mean", "median"])
@pytest.mark.parametrize("flow_on", ["translated", "source"])
def test_a_still_video_stays_as_it_is(pool: str, flow_on: str):
    frames = sliding_video(4, step=0)
    outputs = literal_hypercon(frames, np.copy, 2, 2, 1, pool=pool, flow_on=flow_on)
    np.testing.assert_allclose(outputs, frames, atol=1e-12)


def test_flicker_of_a_still_video_is_averaged_over_the_truncated_window():
    """Levels 0, 30, 60, 90 added in turn: the ends pool two frames, the middle three."""
    still = sliding_video(1)[0] / 2
    frames = [round_to_levels(still + 30 * n / 255) for n in range(4)]
    outputs = literal_hypercon(frames, np.copy, 0, 1, 1, flow_on="source")
    added = [float(np.median(output - frames[0])) * 255 for output in outputs]
    np.testing.assert_allclose(added, [15, 30, 60, 75], atol=1.0)


def test_frames_inserted_into_a_slide_lie_on_its_way():
    first, last = sliding_video(2, step=4)
    halfway = sliding_video(3, step=2)[1]
    dense, _ = dense_timeline([first, last], None, insert=1)
    inner = (slice(8, -8), slice(8, -8))
    assert len(dense) == 3
    assert np.abs(dense[1] - halfway)[inner].mean() < 0.1 * np.abs(first - halfway)[inner].mean()


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_warping_a_plane_moves_it_exactly_and_clamps_at_the_border(u: float, v: float):
    rows, columns = np.mgrid[0:7, 0:9].astype(float)
    plane = (columns + 100 * rows)[..., None]
    flow = np.broadcast_to(np.array((u, v)), (7, 9, 2))
    expected = np.clip(columns + u, 0, 8) + 100 * np.clip(rows + v, 0, 6)
    np.testing.assert_allclose(warp(plane, flow)[..., 0], expected, atol=1e-9)


def test_flow_points_from_the_first_picture_into_the_second():
    first, second = sliding_video(2, step=2)  # what was at x is found at x - 2
    flow = dis_flow(first, second)
    np.testing.assert_allclose(np.median(flow, axis=(0, 1)), (-2, 0), atol=0.1)


def test_a_hole_only_grows_between_frames_and_what_lies_outside_is_missing():
    hole = np.zeros((6, 8), dtype=bool)
    hole[2:4, 3:5] = True
    half_right = np.broadcast_to(np.array((0.5, 0.0)), (6, 8, 2))
    weight = np.full((6, 8, 1), 0.5)
    between = blend_masks(hole, hole, half_right, -half_right, weight)
    expected = np.zeros((6, 8), dtype=bool)
    expected[2:4, 2:6] = True
    expected[:, [0, -1]] = True
    np.testing.assert_array_equal(between, expected)


def test_only_what_is_missing_differs_from_the_input():
    frames = sliding_video(3)
    masks = [np.zeros((HEIGHT, WIDTH), dtype=bool) for _ in frames]
    for mask in masks:
        mask[10:20, 20:30] = True

    def fill(frame: Array, mask: Array) -> Array:
        np.testing.assert_array_equal(frame[14:16, 24:26], np.float32(128 / 255))
        return np.where(mask[..., None], 0.25, frame)

    outputs = literal_hypercon(frames, fill, 1, 1, 1, masks=masks)
    for frame, mask, output in zip(frames, masks, outputs, strict=True):
        np.testing.assert_array_equal(output[~mask], frame[~mask])
        np.testing.assert_allclose(output[12:18, 22:28], 0.25, atol=0.01)
