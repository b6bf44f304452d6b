"""Intervals from pairs: which images are made, from what, and with which masks."""

from typing import Any

import numpy as np
import pytest
import torch
from streams import frames_of, moving, textured
from torch import Tensor

from operators.base import Grids
from operators.estimators import DisFlow
from operators.frame import Frame, FramePair, Interval
from operators.interpolate import Interpolate, fill_missing
from operators.interpolators import LinearInterpolator
from operators.timeline import Timeline


class CrossFade:
    """An interpolator without motion that records the instants it was asked for."""

    reads_flow = False

    def __init__(self) -> None:
        self.times: list[float] = []

    def setup(self, device: torch.device) -> None:
        """Nothing to load."""

    def __call__(
        self,
        first: Tensor,
        second: Tensor,
        flow: tuple[Tensor, Tensor] | None,
        times: tuple[float, ...],
    ) -> list[Grids]:
        self.times += times
        still = torch.zeros(1, 2, *first.shape[-2:])
        return [Grids(still, still, torch.full((1, 1, *first.shape[-2:]), t)) for t in times]


def make(operator: Interpolate, first: Frame, second: Frame | None) -> Interval:
    operator.setup(torch.device("cpu"))
    (interval,) = operator.process(FramePair(first, second))
    return interval


def two_frames(masks: list[Tensor] | None = None) -> tuple[Frame, Frame]:
    first, second = frames_of([textured(6, 8, seed) for seed in (1, 2)], masks)
    return first, second


def test_inserted_frames_sit_at_the_instants_b_over_i_plus_one() -> None:
    """Equation (1) with b' = b / (i + 1): never a copy of either end."""
    first, second = two_frames()
    interpolator = CrossFade()

    interval = make(Interpolate(Timeline(3, 2), interpolator=interpolator), first, second)

    assert interpolator.times == [0.25, 0.5, 0.75]
    for row, t in enumerate([0.0, 0.25, 0.5, 0.75]):
        expected = (1 - t) * first.image + t * second.image
        torch.testing.assert_close(interval.images[row], expected)


def test_only_frames_that_windows_read_are_made() -> None:
    first, second = two_frames()
    interpolator = CrossFade()

    interval = make(Interpolate(Timeline(9, 1), interpolator=interpolator), first, second)

    assert interval.residues == (0, 1, 9)
    assert interpolator.times == [0.1, 0.9]


def test_everything_is_made_when_asked() -> None:
    first, second = two_frames()
    operator = Interpolate(Timeline(9, 1), interpolator=CrossFade(), everything=True)

    assert make(operator, first, second).residues == tuple(range(10))


def test_the_original_frame_is_untouched() -> None:
    first, second = two_frames()
    operator = Interpolate(Timeline(1, 1), interpolator=LinearInterpolator(), flow=DisFlow())

    assert torch.equal(make(operator, first, second).images[0], first.image)


def test_the_last_interval_of_a_shot_has_the_shape_of_the_others() -> None:
    first, _ = two_frames()

    interval = make(Interpolate(Timeline(3, 2), interpolator=CrossFade()), first, None)

    assert interval.images.shape[0] == 4
    assert interval.num_present == 1
    assert interval.flow is None


def test_the_flow_of_the_pair_is_kept_for_the_alignment() -> None:
    first, second = frames_of(moving(2, 48, 64, dx=3, dy=-1))
    operator = Interpolate(
        Timeline(1, 1), interpolator=LinearInterpolator(), flow=DisFlow(), keep_flow=True
    )

    interval = make(operator, first, second)

    # The window slides right and up, so the picture moves left and down.
    assert interval.flow is not None
    middle = (slice(None), slice(16, 32), slice(16, 48))
    forward = interval.flow.forward[middle].flatten(1).median(dim=1).values
    np.testing.assert_allclose(forward.numpy(), [-3, 1], atol=0.1)
    backward = interval.flow.backward[middle].flatten(1).median(dim=1).values
    np.testing.assert_allclose(backward.numpy(), [3, -1], atol=0.1)


class CountingFlow(DisFlow):
    """Flow by DIS that counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def pair(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        return super().pair(first, second)


class CountingLinear(LinearInterpolator):
    """Linear motion that counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __call__(self, *args: Any) -> list[Grids]:
        self.calls += 1
        return super().__call__(*args)


def hole(row: int, column: int) -> Tensor:
    mask = torch.zeros(1, 24, 32, dtype=torch.bool)
    mask[0, row, column] = True
    return mask


def test_a_pair_of_equal_frames_costs_neither_flow_nor_interpolation() -> None:
    """The same images, masks and flow as the long way gives, in the same shapes and types."""
    image = textured(24, 32)
    first, second = frames_of([image, image.clone()], [hole(3, 4), hole(3, 4)])
    flow, interpolator = CountingFlow(), CountingLinear()
    operator = Interpolate(Timeline(3, 2), interpolator=interpolator, flow=flow, keep_flow=True)
    # One level of one sample is enough for the long way.
    nearly = image.clone()
    nearly[0, 12, 16] += 1 / 255
    _, other = frames_of([image, nearly], [hole(3, 4), hole(3, 4)])

    static = make(operator, first, second)
    assert (flow.calls, interpolator.calls) == (0, 0)
    moving = make(operator, first, other)
    assert (flow.calls, interpolator.calls) == (1, 1)

    assert static.num_present == moving.num_present == 4
    assert static.flow is not None
    assert moving.flow is not None
    for mine, theirs in (
        (static.images, moving.images),
        (static.masks, moving.masks),
        (static.flow.forward, moving.flow.forward),
        (static.flow.backward, moving.flow.backward),
    ):
        assert mine is not None
        assert theirs is not None
        assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype)
    assert torch.equal(static.images, make(operator, first, None).images)
    assert torch.equal(static.masks, hole(3, 4).expand(4, 1, 24, 32))
    assert not static.flow.forward.any()
    assert not static.flow.backward.any()


def test_nobody_is_given_a_flow_that_nobody_reads() -> None:
    first, second = frames_of([textured(6, 8)] * 2)

    interval = make(Interpolate(Timeline(1, 1), interpolator=CrossFade()), first, second)

    assert interval.flow is None
    assert interval.num_present == 2


def test_equal_pictures_whose_holes_differ_are_no_static_pair() -> None:
    """The pictures are equal once they are filled, but what is missing has moved."""
    image = torch.full((3, 24, 32), 0.5)
    first, second = frames_of([image, image], [hole(3, 4), hole(5, 6)])

    interval = make(Interpolate(Timeline(1, 1), interpolator=CrossFade()), first, second)

    assert interval.masks is not None
    assert torch.equal(interval.masks[1], hole(3, 4) | hole(5, 6))


def test_missing_pixels_are_mid_grey_before_anything_reads_them() -> None:
    mask = torch.zeros(1, 6, 8, dtype=torch.bool)
    mask[0, 2, 3] = True
    first, second = two_frames([mask, torch.zeros_like(mask)])

    interval = make(Interpolate(Timeline(1, 1), interpolator=CrossFade()), first, second)

    assert interval.images[0, :, 2, 3].tolist() == [0.5, 0.5, 0.5]
    halfway = 0.5 * 0.5 + 0.5 * second.image[:, 2, 3]
    torch.testing.assert_close(interval.images[1, :, 2, 3], halfway)


def test_what_either_frame_misses_is_missing_in_between() -> None:
    masks = [torch.zeros(1, 6, 8, dtype=torch.bool) for _ in range(2)]
    masks[0][0, 2, 3] = True
    masks[1][0, 4, 5] = True
    first, second = two_frames(masks)

    interval = make(Interpolate(Timeline(1, 1), interpolator=CrossFade()), first, second)

    assert interval.masks is not None
    assert torch.equal(interval.masks[0], masks[0])
    assert torch.equal(interval.masks[1], masks[0] | masks[1])


def test_no_mask_fills_nothing() -> None:
    image = textured(4, 4)

    assert fill_missing(image, None) is image


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "interpolator must be given to insert 1 frames, got None"),
        ({"interpolator": LinearInterpolator()}, "flow must be an estimator"),
        ({"interpolator": CrossFade(), "keep_flow": True}, "flow must be an estimator"),
    ],
)
def test_missing_parts_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Interpolate(Timeline(1, 1), **options)
