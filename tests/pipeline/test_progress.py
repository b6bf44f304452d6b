"""What is shown of a run, on terminals and elsewhere, from states that the tests make up."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from rich.console import Console

from pipeline.log import FACTS
from pipeline.progress import (
    BarProgress,
    LineProgress,
    Progress,
    SilentProgress,
    clock_text,
    make_progress,
    progress_text,
    rate_text,
    report_text,
)
from pipeline.report import RunReport, StageReport
from pipeline.tally import JobState, StageRate


def stage(name: str, fps: float | None, busy_share: float | None, frames: int = 9) -> StageRate:
    return StageRate(name, frames, fps, busy_share, workers=1, queued=0, queue_age_s=0.0)


STATE = JobState(
    frames_done=12_345,
    num_frames=20_000,
    elapsed_s=527.0,
    fps=23.4,
    eta_s=327.2,
    in_flight_bytes=123 * 2**20,
    bottleneck="translate",
    stages=(
        stage("decode", 24.0, 0.1),
        stage("interpolate", 23.9, 0.5),
        stage("translate", 23.4, 0.974),
        stage("aggregate", 23.4, 0.2),
        stage("encode", 23.0, 0.25),
    ),
)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    with caplog.at_level(logging.INFO, logger="pipeline.progress"):
        yield lambda: [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (
            140,
            (
                "12345/20000 frames, 23 fps, ETA 5:27, translate 97% busy, "
                "decode 24 interpolate 24 translate 23 aggregate 23 encode 23 fps, 123 MiB"
            ),
        ),
        (
            # What is left of 100 columns by the name of the program.
            90,
            (
                "12345/20000 frames, 23 fps, ETA 5:27, translate 97% busy, stages 24/24/23/23/23, "
                "123 MiB"
            ),
        ),
        (
            81,
            "12345/20000 frames, 23 fps, ETA 5:27, translate 97% busy, stages 24/24/23/23/23",
        ),
        (67, "12345/20000 frames, 23 fps, ETA 5:27, translate 97% busy"),
        (40, "12345/20000 frames, 23 fps, ETA 5:27"),
        (5, "12345/20000 frames"),
    ],
)
def test_what_has_no_room_is_left_out_from_the_right(width: int, text: str) -> None:
    assert progress_text(STATE, width) == text


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (JobState(), "0 frames"),
        (JobState(num_frames=0), "0/0 frames"),
        (JobState(frames_done=7, num_frames=20), "7/20 frames"),
        (JobState(frames_done=7, fps=3.5), "7 frames, 3.5 fps"),
        (JobState(frames_done=20, num_frames=20, fps=3.5, eta_s=0.0), "20/20 frames, 3.5 fps"),
        (JobState(frames_done=7, num_frames=20, fps=0.0), "7/20 frames, 0 fps"),
    ],
)
def test_what_is_not_known_is_not_shown(state: JobState, text: str) -> None:
    assert progress_text(state) == text


def test_of_many_videos_it_says_how_many_are_over_and_what_is_an_estimate() -> None:
    state = replace(STATE, is_estimate=True, videos_done=7, num_videos=64)

    assert progress_text(state, 60) == "12345/~20000 frames, 7/64 videos, 23 fps, ETA ~5:27"


def test_a_stage_that_has_not_run_is_not_shown() -> None:
    state = JobState(
        num_frames=20,
        fps=0.0,
        bottleneck="decode",
        stages=(stage("decode", 8.0, 1.0), stage("translate", 0.0, 0.0, frames=0)),
    )

    assert progress_text(state) == "0/20 frames, 0 fps, decode 100% busy, decode 8 fps"


def test_stages_whose_rates_are_not_known_are_not_shown() -> None:
    state = JobState(frames_done=1, num_frames=20, stages=(stage("decode", None, None),))

    assert progress_text(state) == "1/20 frames"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (61.4, "1:01"),
        (3599.4, "59:59"),
        (3599.6, "1h00m"),
        (3629, "1h00m"),
        (3631, "1h01m"),
        (7199, "2h00m"),
        (90_061, "25h01m"),
    ],
)
def test_times_are_minutes_and_seconds_and_then_hours_and_minutes(
    seconds: float, text: str
) -> None:
    assert clock_text(seconds) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0.0, "0"), (0.254, "0.25"), (2.34, "2.3"), (9.96, "10"), (23.4, "23"), (1234.5, "1234")],
)
def test_rates_have_two_digits(rate: float, text: str) -> None:
    assert rate_text(rate) == text


def report(*stages: StageReport, **changes: float) -> RunReport:
    made = RunReport(frames_in=100, frames_out=100, wall_s=55.0, setup_s=5.0, stages=list(stages))
    return replace(made, **changes)


@pytest.mark.parametrize(
    ("done", "text"),
    [
        (
            # 100 frames in 50 s, of a translator that makes 100 in 40 s.
            report(StageReport("translate", 100, 40.0), StageReport("encode", 100, 9.0)),
            "100 frames in 0:55, 2 fps, efficiency 80%, bottleneck translate (80% busy)",
        ),
        (
            report(StageReport("translate", 50, 20.0), frames_resumed=50),
            (
                "100 frames in 0:55, 50 of them taken over, 1 fps, efficiency 40%, "
                "bottleneck translate (40% busy)"
            ),
        ),
        (
            report(StageReport("inpaint", 100, 25.0)),
            "100 frames in 0:55, 2 fps, bottleneck inpaint (50% busy)",
        ),
        (report(frames_resumed=100), "100 frames in 0:55, 100 of them taken over"),
    ],
)
def test_the_last_line_names_rate_efficiency_and_bottleneck(done: RunReport, text: str) -> None:
    assert report_text(done) == text


def test_a_line_every_five_seconds_and_one_at_the_end(lines: Callable[[], list[str]]) -> None:
    progress = LineProgress()
    progress.start(24)
    for second in range(13):
        progress.show(JobState(frames_done=2 * second, num_frames=24, elapsed_s=float(second)))
    progress.finish()
    progress.finish()

    assert lines() == ["10/24 frames", "20/24 frames", "24/24 frames"]


def test_what_is_written_is_not_written_again_at_the_end(lines: Callable[[], list[str]]) -> None:
    progress = LineProgress()
    progress.start(24)
    progress.show(JobState(frames_done=24, num_frames=24, elapsed_s=5.0))
    progress.finish()

    assert lines() == ["24/24 frames"]


def test_a_run_that_ends_before_its_first_frame_says_so(lines: Callable[[], list[str]]) -> None:
    progress = LineProgress()
    progress.start(24)
    progress.finish()

    assert lines() == ["0/24 frames"]


def test_lines_carry_facts_for_machines(caplog: pytest.LogCaptureFixture) -> None:
    progress = LineProgress()
    with caplog.at_level(logging.INFO, logger="pipeline.progress"):
        progress.start(20)
        progress.show(
            JobState(
                frames_done=10,
                num_frames=20,
                elapsed_s=5.00004,
                fps=2.00001,
                in_flight_bytes=4096,
                bottleneck="translate",
                stages=(StageRate("translate", 11, 2.2, 0.87654, 3, 2, 0.5),),
            )
        )

    (record,) = caplog.records
    assert json.loads(json.dumps(getattr(record, FACTS))) == {
        "event": "progress",
        "frames_done": 10,
        "num_frames": 20,
        "is_estimate": False,
        "videos_done": 0,
        "num_videos": 1,
        "elapsed_s": 5.0,
        "fps": 2.0,
        "eta_s": None,
        "in_flight_bytes": 4096,
        "bottleneck": "translate",
        "stages": [
            {
                "name": "translate",
                "frames": 11,
                "fps": 2.2,
                "busy_share": 0.877,
                "workers": 3,
                "queued": 2,
                "queue_age_s": 0.5,
            }
        ],
    }


def test_what_never_started_says_nothing_when_it_ends(lines: Callable[[], list[str]]) -> None:
    for progress in (LineProgress(), BarProgress(), SilentProgress()):
        progress.finish()

    assert lines() == []


def bar_of(width: int, *states: JobState) -> str:
    screen = io.StringIO()
    progress = BarProgress(Console(file=screen, force_terminal=True, width=width))
    progress.start(20_000)
    for state in states:
        progress.show(state)
    progress.finish()
    progress.finish()
    return screen.getvalue()


def test_the_bar_shows_all_where_there_is_room() -> None:
    shown = bar_of(160, STATE)

    assert progress_text(STATE, 147) in shown
    assert "123 MiB" in shown


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (100, "12345/20000 frames, 23 fps, ETA 5:27, translate 97% busy, stages 24/24/23/23/23"),
        (80, "12345/20000 frames, 23 fps, ETA 5:27, translate 97% busy"),
        (60, "12345/20000 frames, 23 fps, ETA 5:27"),
    ],
)
def test_on_a_narrow_terminal_the_bar_shows_what_there_is_room_for(width: int, text: str) -> None:
    shown = bar_of(width, STATE)

    assert text in shown
    assert "…" not in shown
    assert "MiB" not in shown


@pytest.mark.parametrize("width", [20, 60])
def test_on_a_narrow_terminal_the_bar_stays_one_line(width: int) -> None:
    shown = bar_of(width, STATE)

    assert "12345" in shown
    # Cursor movements up would mean that the bar had taken more than a line.
    assert "\x1b[1A" not in shown


def test_the_bar_begins_at_none_of_its_frames() -> None:
    assert "0/20000 frames" in bar_of(100)


def test_a_length_that_becomes_known_is_taken_up() -> None:
    progress = BarProgress(Console(file=io.StringIO(), force_terminal=True, width=100))
    progress.start(None)
    progress.show(STATE)

    assert progress._bar is not None
    (task,) = progress._bar.tasks
    assert (task.completed, task.total) == (12_345, 20_000)
    progress.finish()


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
