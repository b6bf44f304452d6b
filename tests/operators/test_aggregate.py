"""The ring buffer against plain lists of warped frames."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from operators.aggregate import Aggregate
from operators.align import ExactAlignment, SharedAlignment
from operators.frame import Frame, Interval, PairFlow, with_changes
from operators.timeline import Timeline

SHAPE = (3, 4, 5)


class StillFlow:
    """An estimator for a world in which nothing moves; it counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def setup(self, device: torch.device) -> None:
        """Nothing to load."""

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        self.calls += first.shape[0]
        return torch.zeros(first.shape[0], 2, *first.shape[-2:])

    def pair(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        return self(first, second), self(second, first)


def dense_images(timeline: Timeline, num_frames: int) -> list[Tensor]:
    """An image for every dense position, none like another."""
    generator = torch.Generator().manual_seed(num_frames)
    return [
        torch.rand(SHAPE, generator=generator) for _ in range(timeline.dense_length(num_frames))
    ]


def intervals_of(
    timeline: Timeline, dense: list[Tensor], num_frames: int, flow: float = 0.0
) -> list[Interval]:
    """Cut a dense timeline into intervals; ``flow`` is the motion to the right per frame."""
    still = torch.zeros(2, *SHAPE[1:])
    still[0] = flow
    intervals = []
    for index in range(num_frames):
        is_last = index == num_frames - 1
        start = index * timeline.stride
        images = [dense[start if is_last else start + r] for r in timeline.residues]
        intervals.append(
            Interval(
                index=index,
                stride=timeline.stride,
                residues=timeline.residues,
                images=torch.stack(images),
                num_present=1 if is_last else len(timeline.residues),
                pts=index,
                time_base=Fraction(1, 25),
                flow=None if is_last else PairFlow(still, -still),
            )
        )
    return intervals


def run(aggregate: Aggregate, intervals: list[Interval]) -> list[Frame]:
    frames = [frame for interval in intervals for frame in aggregate.process(interval)]
    return frames + list(aggregate.flush())


def expected(timeline: Timeline, dense: list[Tensor], num_frames: int, pool: str) -> np.ndarray:
    """Windows by list slicing, pooled by numpy, for a world in which nothing moves."""
    reach = timeline.radius * timeline.dilation
    outputs = []
    for reference in range(num_frames):
        centre = reference * timeline.stride
        window = [
            dense[position].numpy()
            for position in range(centre - reach, centre + reach + 1, timeline.dilation)
            if 0 <= position < len(dense)
        ]
        outputs.append(np.mean(window, axis=0) if pool == "mean" else np.median(window, axis=0))
    return np.stack(outputs)


TIMELINES = st.builds(
    Timeline, insert=st.integers(0, 4), radius=st.integers(0, 4), dilation=st.integers(1, 3)
)
ALIGNMENTS = st.sampled_from(["shared", "exact"])


def make_alignment(name: str, **options: bool) -> SharedAlignment | ExactAlignment:
    if name == "shared":
        return SharedAlignment(**options)
    return ExactAlignment(StillFlow(), on_sources=False, **options)


@given(
    timeline=TIMELINES,
    num_frames=st.integers(1, 8),
    pool=st.sampled_from(["mean", "median", "valid-mean", "valid-median"]),
    alignment=ALIGNMENTS,
)
def test_still_windows_equal_sliced_lists(
    timeline: Timeline, num_frames: int, pool: str, alignment: str
) -> None:
    dense = dense_images(timeline, num_frames)
    aligner = make_alignment(alignment, with_validity=pool.startswith("valid"))
    aggregate = Aggregate(timeline, alignment=aligner, pool=pool)

    frames = run(aggregate, intervals_of(timeline, dense, num_frames))

    assert [frame.index for frame in frames] == list(range(num_frames))
    outputs = np.stack([frame.image.numpy() for frame in frames])
    name = pool.removeprefix("valid-")
    np.testing.assert_allclose(outputs, expected(timeline, dense, num_frames, name), atol=1e-5)


@given(timeline=TIMELINES, num_frames=st.integers(1, 8))
def test_a_frame_leaves_as_soon_as_its_window_is_complete(
    timeline: Timeline, num_frames: int
) -> None:
    dense = dense_images(timeline, num_frames)
    aggregate = Aggregate(timeline, alignment=SharedAlignment())

    seen: list[int] = []
    for interval in intervals_of(timeline, dense, num_frames):
        seen += [frame.index for frame in aggregate.process(interval)]

        # Interval b holds the dense positions up to the one before frame b + 1.
        newest = (interval.index + 1) * timeline.stride - 1
        reach = timeline.radius * timeline.dilation
        complete = [a for a in range(num_frames) if a * timeline.stride + reach <= newest]
        assert seen == complete[: interval.index + 1]


@pytest.mark.parametrize("alignment", ["shared", "exact"])
def test_a_halo_serves_its_neighbours_and_is_not_emitted(alignment: str) -> None:
    timeline = Timeline(insert=1, radius=3)
    num_frames = 9
    dense = dense_images(timeline, num_frames)
    whole = run(
        Aggregate(timeline, alignment=make_alignment(alignment)),
        intervals_of(timeline, dense, num_frames),
    )

    part = [
        _as_halo(interval, is_halo=not 3 <= interval.index < 6)
        for interval in intervals_of(timeline, dense, num_frames)[1:8]
    ]
    frames = run(Aggregate(timeline, alignment=make_alignment(alignment)), part)

    assert [frame.index for frame in frames] == [3, 4, 5]
    for frame in frames:
        assert torch.equal(frame.image, whole[frame.index].image)


def _as_halo(interval: Interval, *, is_halo: bool) -> Interval:
    return with_changes(interval, is_halo=is_halo)


def test_motion_is_followed_in_both_directions_and_beyond_the_neighbour() -> None:
    """A ramp that moves two pixels a frame is the same ramp once its window is aligned."""
    timeline = Timeline(insert=1, radius=3, dilation=1)
    num_frames, speed, width = 5, 2.0, 40
    x = torch.arange(width, dtype=torch.float32)
    dense = [
        (x - speed * position / timeline.stride).expand(3, 4, width) / 100
        for position in range(timeline.dense_length(num_frames))
    ]
    flow = torch.zeros(2, 4, width)
    flow[0] = speed
    intervals = [
        Interval(
            index=n,
            stride=timeline.stride,
            residues=timeline.residues,
            images=torch.stack([dense[min(2 * n + r, len(dense) - 1)] for r in timeline.residues]),
            num_present=1 if n == num_frames - 1 else 2,
            pts=n,
            time_base=Fraction(1, 25),
            flow=None if n == num_frames - 1 else PairFlow(flow, -flow),
        )
        for n in range(num_frames)
    ]

    frames = run(Aggregate(timeline, alignment=SharedAlignment()), intervals)

    for n, frame in enumerate(frames):
        # Within six pixels of the border some samples are clamped.
        assert_close(frame.image[..., 6:-6], dense[2 * n][..., 6:-6], atol=1e-5, rtol=0)


def test_samples_outside_the_picture_do_not_vote_in_a_valid_pool() -> None:
    timeline = Timeline(insert=0, radius=1)
    dense = [torch.full(SHAPE, value) for value in (0.0, 0.6)]
    intervals = intervals_of(timeline, dense, 2, flow=3.0)

    plain = run(Aggregate(timeline, alignment=SharedAlignment(), pool="mean"), intervals)
    valid = run(
        Aggregate(timeline, alignment=SharedAlignment(with_validity=True), pool="valid-mean"),
        intervals,
    )

    assert_close(plain[0].image, torch.full(SHAPE, 0.3))
    # Three pixels to the right of x = 2, 3, 4 lies outside a picture of width 5.
    assert_close(valid[0].image[0, 0], torch.tensor([0.3, 0.3, 0.0, 0.0, 0.0]))


def test_inconsistent_samples_do_not_vote_when_consistency_is_checked() -> None:
    timeline = Timeline(insert=0, radius=1)
    dense = [torch.full(SHAPE, value) for value in (0.0, 0.6)]
    intervals = intervals_of(timeline, dense, 2)
    there = torch.zeros(2, *SHAPE[1:])
    back = there.clone()
    back[0, :, 1] = 2.0  # what is at x = 1 in the second frame came from elsewhere
    intervals[0] = with_changes(intervals[0], flow=PairFlow(there, back))

    alignment = SharedAlignment(check_consistency=True)
    frames = run(Aggregate(timeline, alignment=alignment, pool="valid-mean"), intervals)

    assert_close(frames[0].image[0, 0], torch.tensor([0.3, 0.0, 0.3, 0.3, 0.3]))


@given(strength=st.floats(0, 1))
def test_strength_blends_from_the_single_frame_to_the_pooled_one(strength: float) -> None:
    timeline = Timeline(insert=0, radius=1)
    dense = dense_images(timeline, 3)
    intervals = intervals_of(timeline, dense, 3)

    frames = run(Aggregate(timeline, alignment=SharedAlignment(), strength=strength), intervals)

    pooled = expected(timeline, dense, 3, "mean")
    for n, frame in enumerate(frames):
        blend = (1 - strength) * dense[n].numpy() + strength * pooled[n]
        np.testing.assert_allclose(frame.image.numpy(), blend, atol=1e-5)


def test_strength_zero_estimates_no_flow() -> None:
    timeline = Timeline(insert=0, radius=2)
    estimator = StillFlow()
    alignment = ExactAlignment(estimator, on_sources=False)
    dense = dense_images(timeline, 4)

    frames = run(
        Aggregate(timeline, alignment=alignment, strength=0.0), intervals_of(timeline, dense, 4)
    )

    assert estimator.calls == 0
    assert all(torch.equal(frame.image, dense[n]) for n, frame in enumerate(frames))


def test_exact_alignment_estimates_one_flow_for_each_neighbour() -> None:
    timeline = Timeline(insert=3, radius=2)
    estimator = StillFlow()
    alignment = ExactAlignment(estimator, on_sources=False)

    run(
        Aggregate(timeline, alignment=alignment),
        intervals_of(timeline, dense_images(timeline, 6), 6),
    )

    # Six windows of four neighbours, the first and the last with two of them.
    assert estimator.calls == 6 * 4 - 2 - 2


def test_a_pool_may_be_a_function() -> None:
    timeline = Timeline(insert=0, radius=1)
    dense = dense_images(timeline, 3)

    def brightest(stack: Tensor, valid: Tensor) -> Tensor:
        return torch.where(valid, stack, -torch.inf).amax(dim=0)

    alignment = SharedAlignment(with_validity=True)
    frames = run(
        Aggregate(timeline, alignment=alignment, pool=brightest), intervals_of(timeline, dense, 3)
    )

    assert_close(frames[1].image, torch.stack(dense).amax(dim=0))


def test_known_pixels_are_put_back() -> None:
    timeline = Timeline(insert=0, radius=0)
    missing = torch.zeros(1, *SHAPE[1:], dtype=torch.bool)
    missing[0, 1, 2] = True
    original, filled = torch.full(SHAPE, 0.25), torch.full(SHAPE, 0.75)
    interval = Interval(
        index=0,
        stride=1,
        residues=(0,),
        images=filled[None],
        num_present=1,
        pts=0,
        time_base=Fraction(1, 25),
        masks=missing[None],
        sources=original[None],
    )

    (frame,) = run(Aggregate(timeline), [interval])

    assert_close(frame.image, torch.where(missing, filled, original))


def test_a_skipped_interval_is_refused() -> None:
    timeline = Timeline(insert=0, radius=0)
    intervals = intervals_of(timeline, dense_images(timeline, 3), 3)
    aggregate = Aggregate(timeline)
    list(aggregate.process(intervals[0]))

    with pytest.raises(ValueError, match="interval must be 1, the next one, got 2"):
        list(aggregate.process(intervals[2]))


def test_a_new_shot_starts_from_nothing() -> None:
    timeline = Timeline(insert=0, radius=1)
    dense = dense_images(timeline, 2)
    aggregate = Aggregate(timeline, alignment=SharedAlignment())

    first = run(aggregate, intervals_of(timeline, dense, 2))
    second = run(aggregate, intervals_of(timeline, dense, 2))

    assert all(torch.equal(a.image, b.image) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pool": "average"}, "pool must be one of mean, median, valid-mean, valid-median"),
        ({"strength": 1.5}, "strength must be from 0 to 1, got 1.5"),
        ({"strength": -0.1}, "strength must be from 0 to 1, got -0.1"),
        ({"alignment": None}, "alignment must be given for windows of radius 1, got None"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    given_options = {"alignment": SharedAlignment()} | options
    with pytest.raises(ValueError, match=message):
        Aggregate(Timeline(insert=0, radius=1), **given_options)
