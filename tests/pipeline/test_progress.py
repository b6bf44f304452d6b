"""Progress with a clock of the test's own: nothing sleeps."""

import io
import logging
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipeline.log import FACTS
from pipeline.progress import (
    BarProgress,
    LineProgress,
    Meter,
    Progress,
    SilentProgress,
    clock_text,
    make_progress,
    progress_text,
    rate_text,
)


class FakeClock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    with caplog.at_level(logging.INFO, logger="pipeline.progress"):
        yield lambda: [record.getMessage() for record in caplog.records]


def test_nothing_is_promised_before_there_are_two_seconds_of_data(clock: FakeClock) -> None:
    meter = Meter(clock, total=100)

    clock.now_s += 1.9
    meter.advance(50, {})
    assert (meter.rate, meter.remaining_s) == (None, None)

    clock.now_s += 0.1
    assert meter.rate == pytest.approx(25.0)
    assert meter.remaining_s == pytest.approx(2.0)


def test_the_rate_is_the_recent_one(clock: FakeClock) -> None:
    meter = Meter(clock, total=10_000)
    for _ in range(60):
        clock.now_s += 1
        meter.advance(100, {})
    for _ in range(30):
        clock.now_s += 1
        meter.advance(1, {})

    assert meter.rate == pytest.approx(1.0)
    assert meter.remaining_s == pytest.approx(10_000 - 6_030)


def test_a_run_that_hangs_is_seen_to_slow_down(clock: FakeClock) -> None:
    meter = Meter(clock, total=100)
    clock.now_s += 5
    meter.advance(50, {})
    before_s = meter.remaining_s

    clock.now_s += 95

    assert before_s == pytest.approx(5)
    assert meter.rate == pytest.approx(0.5)
    assert meter.remaining_s == pytest.approx(100)


@given(steps=st.lists(st.tuples(st.floats(0.01, 5), st.integers(0, 9)), min_size=1, max_size=40))
def test_the_rate_is_a_mean_over_recent_steps(steps: list[tuple[float, int]]) -> None:
    clock = FakeClock()
    meter = Meter(clock, total=None)
    history = [(clock.now_s, 0)]
    for seconds, frames in steps:
        clock.now_s += seconds
        meter.advance(frames, {})
        history.append((clock.now_s, history[-1][1] + frames))

    now_s, done = history[-1]
    # The slow way: the newest moment at least 15 s ago, or the very first.
    old = [moment for moment in history if moment[0] <= now_s - 15.0]
    then_s, then_done = old[-1] if old else history[0]
    if now_s - then_s < 2.0:
        assert meter.rate is None
    else:
        assert meter.rate == pytest.approx((done - then_done) / (now_s - then_s))


def test_an_unknown_total_has_no_remaining_time(clock: FakeClock) -> None:
    meter = Meter(clock, total=None)
    clock.now_s += 10
    meter.advance(50, {})

    assert meter.remaining_s is None
    assert progress_text(meter) == "50 frames, 5.0 frames/s"


def test_more_frames_than_announced_are_no_negative_time(clock: FakeClock) -> None:
    meter = Meter(clock, total=10)
    clock.now_s += 10
    meter.advance(12, {})

    assert meter.remaining_s == 0


def test_the_line_names_the_stage_that_works_most(clock: FakeClock) -> None:
    meter = Meter(clock, total=80)
    clock.now_s += 8
    meter.advance(20, {"decode": 1.0, "translate": 3.0})
    meter.advance(20, {"decode": 2.0, "translate": 6.0})

    assert (
        progress_text(meter)
        == "40 of 80 frames (50 %), 5.0 frames/s, ETA 0:00:08, translate 75% of the work"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "unknown"),
        (0, "0:00:00"),
        (61.4, "0:01:01"),
        (3599.6, "1:00:00"),
        (90061, "25:01:01"),
    ],
)
def test_times_are_hours_minutes_and_seconds(seconds: float | None, text: str) -> None:
    assert clock_text(seconds) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (None, "rate unknown"),
        (0.0, "0.0 frames/s"),
        (0.25, "4.0 s/frame"),
        (12.34, "12.3 frames/s"),
    ],
)
def test_slow_work_is_told_in_seconds_a_frame(rate: float | None, text: str) -> None:
    assert rate_text(rate) == text


def test_a_line_every_five_seconds_and_one_at_the_end(
    clock: FakeClock, lines: Callable[[], list[str]]
) -> None:
    progress = LineProgress(clock)
    progress.start(24)
    for _ in range(12):
        clock.now_s += 1
        progress.advance(2, {})
    progress.finish()
    progress.finish()

    assert lines() == [
        "10 of 24 frames (41 %), 2.0 frames/s, ETA 0:00:07",
        "20 of 24 frames (83 %), 2.0 frames/s, ETA 0:00:02",
        "24 frames in 0:00:12",
    ]


def test_lines_carry_facts_for_machines(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    progress = LineProgress(clock)
    with caplog.at_level(logging.INFO, logger="pipeline.progress"):
        progress.start(20)
        clock.now_s += 5
        progress.advance(10, {"translate": 4.0})

    (record,) = caplog.records
    assert getattr(record, FACTS) == {
        "event": "progress",
        "frames": 10,
        "total": 20,
        "elapsed_s": 5.0,
        "frames_per_s": 2.0,
        "remaining_s": 5.0,
        "stage_seconds": {"translate": 4.0},
    }


def test_what_never_started_says_nothing_when_it_ends(lines: Callable[[], list[str]]) -> None:
    for progress in (LineProgress(), BarProgress(), SilentProgress()):
        progress.advance(1, {})
        progress.finish()

    assert lines() == []


def test_the_bar_shows_frames_rate_and_remaining_time(clock: FakeClock) -> None:
    screen = io.StringIO()
    progress = BarProgress(Console(file=screen, force_terminal=True, width=120), clock)
    progress.start(100)
    clock.now_s += 10
    progress.advance(50, {"translate": 1.0})
    progress.finish()
    progress.finish()

    assert "50 of 100 frames (50 %), 5.0 frames/s, ETA 0:00:10" in screen.getvalue()


def test_on_a_narrow_terminal_the_bar_stays_one_line(clock: FakeClock) -> None:
    screen = io.StringIO()
    progress = BarProgress(Console(file=screen, force_terminal=True, width=80), clock)
    progress.start(20_000)
    clock.now_s += 10
    progress.advance(12_345, {"translate": 1.0})
    progress.finish()

    shown = screen.getvalue()
    assert "12345 of 20000 frames (61 %), 1234.5 frames/s, ETA 0:00:06" in shown
    assert "of the work" not in shown


@pytest.mark.parametrize(
    ("is_wanted", "is_json", "is_terminal", "kind"),
    [
        (False, False, True, SilentProgress),
        (False, True, False, SilentProgress),
        (True, False, True, BarProgress),
        (True, False, False, LineProgress),
        (True, True, True, LineProgress),
        (True, False, None, LineProgress),
    ],
)
def test_the_way_suits_where_it_goes(
    is_wanted: bool, is_json: bool, is_terminal: bool | None, kind: type[Progress]
) -> None:
    made = make_progress(is_wanted=is_wanted, is_json=is_json, is_terminal=is_terminal)

    assert type(made) is kind
