"""Rates from counters, with times that the tests make up."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.tally import JobState, StageState, Tally, expected_frames


def steady(
    tally: Tally, seconds: int, fps: int, stages: Sequence[tuple[str, float, int]] = ()
) -> JobState:
    """A job of ``fps`` frames a second, told every second; stages work a share of each worker."""
    for now in range(seconds + 1):
        done = now * fps
        states = [
            StageState(name, done, now * share * workers, workers)
            for name, share, workers in stages
        ]
        state = tally.update(1000.0 + now, done, 100 * fps, 0, states)
    return state


def test_a_steady_job_has_its_rate_and_its_remaining_time() -> None:
    state = steady(Tally(), 60, fps=4)

    assert (state.frames_done, state.num_frames, state.elapsed_s) == (240, 400, 60)
    assert state.fps == pytest.approx(4)
    assert state.eta_s == pytest.approx((400 - 240) / 4)


@pytest.mark.parametrize(
    ("num_known", "videos_known", "num_videos", "wanted"),
    [(0, 0, 3, None), (100, 1, 1, 100), (100, 2, 5, 250), (70, 3, 4, 93)],
)
def test_videos_that_have_not_begun_are_taken_to_be_as_long_as_the_others(
    num_known: int, videos_known: int, num_videos: int, wanted: int | None
) -> None:
    assert expected_frames(num_known, videos_known, num_videos) == wanted


def test_nothing_is_promised_before_there_are_two_seconds_of_data() -> None:
    tally = Tally()
    tally.update(0.0, 0, 100, 0, [StageState("translate", 0, 0.0)])

    early = tally.update(1.9, 50, 100, 0, [StageState("translate", 50, 1.9)])
    known = tally.update(2.0, 50, 100, 0, [StageState("translate", 50, 1.0)])

    assert (early.fps, early.eta_s, early.bottleneck) == (None, None, None)
    assert (early.stages[0].fps, early.stages[0].busy_share) == (None, None)
    assert (known.fps, known.eta_s, known.bottleneck) == (25, 2, "translate")


def test_the_rate_is_the_recent_one() -> None:
    tally = Tally(window_s=30)
    for now in range(61):
        tally.update(now, 100 * now, 10_000, 0, [])
    for now in range(61, 121):
        state = tally.update(now, 6000 + (now - 60), 10_000, 0, [])

    assert state.fps == pytest.approx(1)
    assert state.eta_s == pytest.approx(10_000 - 6060)


def test_a_job_that_hangs_is_seen_to_slow_down() -> None:
    tally = Tally(window_s=30)
    before = steady(tally, 40, fps=3)

    # All but the last eight steps of three frames are older than the window by now.
    after = tally.update(1000 + 40 + 88, 120, 300, 0, [])

    assert before.fps == pytest.approx(3)
    assert after.fps == pytest.approx(8 * 3 / (8 + 88))
    assert after.eta_s == pytest.approx(180 / 0.25)


def test_frames_of_an_earlier_run_are_not_fast() -> None:
    tally = Tally()
    tally.update(0.0, 0, 200, 0, [])
    # Segments are taken over while others are computed.
    tally.update(5.0, 90, 200, 80, [])
    state = tally.update(10.0, 120, 200, 100, [])

    assert state.fps == pytest.approx(20 / 10)
    assert state.eta_s == pytest.approx((200 - 120) / 2)


def test_what_is_known_at_the_first_update_is_the_zero_point() -> None:
    tally = Tally()
    tally.update(7.0, 50, 100, 0, [StageState("translate", 50, 40.0)])
    state = tally.update(17.0, 70, 100, 0, [StageState("translate", 70, 45.0)])

    assert state.fps == pytest.approx(2)
    assert state.stages[0].fps == pytest.approx(2)
    assert state.stages[0].busy_share == pytest.approx(0.5)


@pytest.mark.parametrize("num_frames", [None, 100])
def test_without_a_total_or_without_progress_there_is_no_remaining_time(
    num_frames: int | None,
) -> None:
    tally = Tally()
    tally.update(0.0, 0, num_frames, 0, [])
    state = tally.update(10.0, 0 if num_frames else 5, num_frames, 0, [])

    assert state.eta_s is None


def test_more_frames_than_announced_are_no_negative_time() -> None:
    tally = Tally()
    tally.update(0.0, 0, 10, 0, [])

    assert tally.update(10.0, 12, 10, 0, []).eta_s == 0


def test_the_busy_share_is_of_the_time_of_all_workers() -> None:
    stages = [("decode", 0.25, 1), ("translate", 0.9, 8), ("encode", 0.5, 2)]

    state = steady(Tally(), 50, 10, stages)

    assert [rate.busy_share for rate in state.stages] == pytest.approx([0.25, 0.9, 0.5])
    assert [rate.fps for rate in state.stages] == pytest.approx([10, 10, 10])
    assert [rate.workers for rate in state.stages] == [1, 8, 2]
    assert state.bottleneck == "translate"


def test_workers_that_came_later_had_less_time() -> None:
    tally = Tally()
    tally.update(0.0, 0, None, 0, [StageState("translate", 0, 0.0, workers=2)])
    tally.update(10.0, 1, None, 0, [StageState("translate", 9, 10.0, workers=2)])
    state = tally.update(20.0, 2, None, 0, [StageState("translate", 9, 30.0, workers=4)])

    assert state.stages[0].busy_share == pytest.approx(30 / (2 * 10 + 4 * 10))


def test_work_that_began_before_the_window_is_no_more_than_all_of_it() -> None:
    tally = Tally()
    tally.update(0.0, 0, None, 0, [StageState("translate", 0, 0.0)])
    state = tally.update(10.0, 1, None, 0, [StageState("translate", 8, 25.0)])

    assert state.stages[0].busy_share == 1


def test_a_stage_without_workers_is_not_busy() -> None:
    tally = Tally()
    tally.update(0.0, 0, None, 0, [StageState("translate", 0, 0.0, workers=0)])
    state = tally.update(10.0, 1, None, 0, [StageState("translate", 0, 0.0, workers=0)])

    assert (state.stages[0].busy_share, state.bottleneck) == (0, None)


@pytest.mark.parametrize(
    ("shares", "bottleneck"),
    [
        ((0.5, 0.9, 0.7), "b"),
        ((0.5, 0.5, 0.25), "b"),
        ((0.5, 0.5, 0.5), "c"),
        ((0.0, 0.0, 0.0), None),
    ],
)
def test_the_bottleneck_is_the_busiest_stage_and_of_equals_the_later(
    shares: tuple[float, ...], bottleneck: str | None
) -> None:
    stages = [(name, share, 1) for name, share in zip("abc", shares, strict=True)]

    assert steady(Tally(), 20, 1, stages).bottleneck == bottleneck


def test_a_stage_that_shows_up_later_counts_from_nothing() -> None:
    tally = Tally()
    tally.update(0.0, 0, None, 0, [])
    tally.update(5.0, 0, None, 0, [])
    state = tally.update(10.0, 1, None, 0, [StageState("translate", 20, 2.5)])

    assert state.stages[0].fps == pytest.approx(2)
    assert state.stages[0].busy_share == pytest.approx(0.5)


def test_counters_that_fall_count_anew() -> None:
    """Whoever counted died: at 10 s, 40 frames and 8 s of work were not known to survive it."""
    tally = Tally()
    tally.update(0.0, 0, 100, 0, [StageState("translate", 0, 0.0)])
    tally.update(10.0, 40, 100, 0, [StageState("translate", 40, 8.0)])
    tally.update(11.0, 30, 100, 30, [StageState("translate", 0, 0.0)])
    state = tally.update(20.0, 50, 100, 30, [StageState("translate", 20, 4.0)])

    assert state.fps == pytest.approx((40 + 20) / 20)
    assert state.stages[0].fps == pytest.approx((40 + 20) / 20)
    assert state.stages[0].busy_share == pytest.approx((8 + 4) / 20)
    assert state.eta_s == pytest.approx(50 / 3)


def test_bytes_and_queues_are_those_of_the_moment() -> None:
    tally = Tally()
    tally.update(0.0, 0, None, 0, [StageState("a", 0, 0.0, queued=9, in_flight_bytes=9)])
    state = tally.update(
        1.0,
        0,
        None,
        0,
        [
            StageState("a", 0, 0.0, queued=2, in_flight_bytes=300, queue_age_s=1.5),
            StageState("b", 0, 0.0, queued=1, in_flight_bytes=20, queue_age_s=0.5),
        ],
    )

    assert state.in_flight_bytes == 320
    assert [(rate.queued, rate.queue_age_s) for rate in state.stages] == [(2, 1.5), (1, 0.5)]


@pytest.mark.parametrize("period_s", [10, 60, 600])
def test_frames_in_bursts_far_apart_do_not_make_the_rate_swing(period_s: int) -> None:
    """Segments of 100 frames end every ``period_s`` seconds; a poll comes every half second."""
    tally = Tally(window_s=30)
    rates = []
    for half_seconds in range(2 * period_s * 20):
        now = half_seconds / 2
        bursts = int(now // period_s)
        state = tally.update(now, 100 * bursts, None, 0, [])
        if bursts >= 9 and state.fps is not None:
            rates.append(state.fps)

    truth = 100 / period_s
    assert min(rates) > 0.85 * truth
    assert max(rates) <= truth * (1 + 1e-9)


def test_what_is_kept_does_not_grow() -> None:
    tally = Tally(window_s=30)
    sizes = []
    for tick in range(20_000):
        tally.update(tick / 50, tick, None, 0, [StageState("translate", tick, tick / 60)])
        sizes.append(len(tally._samples))

    # One sample each half second of the window, and one at either end.
    assert max(sizes) <= 30 / 0.5 + 2


@given(steps=st.lists(st.tuples(st.floats(0.5, 5), st.integers(1, 9)), min_size=1, max_size=60))
def test_the_rate_is_the_mean_over_the_window_or_over_eight_bursts(
    steps: list[tuple[float, int]],
) -> None:
    tally = Tally(window_s=10)
    tally.update(0.0, 0, None, 0, [StageState("s", 0, 0.0)])
    history = [(0.0, 0)]
    for seconds, frames in steps:
        now, done = history[-1][0] + seconds, history[-1][1] + frames
        history.append((now, done))
        state = tally.update(now, done, None, 0, [StageState("s", 3 * done, now / 4)])

    # The slow way: the newest moment at least 10 s and eight steps ago, or the very first.
    now, done = history[-1]
    old = [moment for moment in history[:-8] if moment[0] <= now - 10]
    then, then_done = old[-1] if old else history[0]
    if now - then < 2:
        assert state.fps is None
    else:
        assert state.fps == pytest.approx((done - then_done) / (now - then))
        assert state.stages[0].fps == pytest.approx(3 * (done - then_done) / (now - then))
        assert state.stages[0].busy_share == pytest.approx(0.25)
