"""How far a run is: a live bar on a terminal, a line every few seconds elsewhere."""

import logging
import sys
from dataclasses import asdict
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task
from rich.progress import Progress as RichProgress
from rich.table import Column
from rich.text import Text

from pipeline.log import FACTS
from pipeline.report import RunReport
from pipeline.tally import JobState, StageRate

LINE_EVERY_S = 5.0
# With the name of the program before it, a log line has 100 columns.
LINE_WIDTH = 90
BAR_WIDTH = 12

logger = logging.getLogger(__name__)


class Progress(Protocol):
    """Is shown by a runner how far it is. ``finish`` may be called more than once."""

    def start(self, total: int | None) -> None:
        """Begin; ``total`` is the number of frames to come, None if nobody knows."""
        ...

    def show(self, state: JobState) -> None:
        """How far the job is now; called as often as the runner likes."""
        ...

    def finish(self) -> None:
        """End, whether all is done or not."""
        ...


def clock_text(seconds: float) -> str:
    """``m:ss``, from an hour on ``3h07m``."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02}"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours}h{minutes:02}m"


def rate_text(rate: float) -> str:
    """A rate in two digits, or as many as it has before the point."""
    return f"{rate:.2g}" if rate < 10 else f"{rate:.0f}"


def progress_text(state: JobState, width: int = LINE_WIDTH) -> str:
    """All that is known, in one line; what does not fit is left out, from the right.

    Args:
        state: How far the job is.
        width: Characters that there is room for. At the least the frames are told.
    """
    about = "~" if state.is_estimate else ""
    done = f"{state.frames_done} frames"
    if state.num_frames is not None:
        done = f"{state.frames_done}/{about}{state.num_frames} frames"
    parts = [done]
    if state.num_videos > 1:
        parts.append(f"{state.videos_done}/{state.num_videos} videos")
    if state.fps is not None:
        parts.append(f"{rate_text(state.fps)} fps")
    if state.eta_s:
        parts.append(f"ETA {about}{clock_text(state.eta_s)}")
    parts += [
        f"{rate.name} {rate.busy_share:.0%} busy"
        for rate in state.stages
        if rate.name == state.bottleneck
    ]
    held = [f"{state.in_flight_bytes / 2**20:.0f} MiB"] if state.in_flight_bytes else []
    rates = [rate for rate in state.stages if rate.frames and rate.fps is not None]
    with_names = [*parts, *_named(rates), *held]
    if len(", ".join(with_names)) <= width:
        return ", ".join(with_names)
    shown = [*parts, *_nameless(rates), *held]
    while len(shown) > 1 and len(", ".join(shown)) > width:
        shown.pop()
    return ", ".join(shown)


def _named(rates: list[StageRate]) -> list[str]:
    text = " ".join(f"{rate.name} {rate_text(rate.fps or 0.0)}" for rate in rates)
    return [f"{text} fps"] if rates else []


def _nameless(rates: list[StageRate]) -> list[str]:
    text = "/".join(rate_text(rate.fps or 0.0) for rate in rates)
    return [f"stages {text}"] if rates else []


def report_text(report: RunReport) -> str:
    """What a run did, in one line."""
    parts = [f"{report.frames_out} frames in {clock_text(report.wall_s)}"]
    if report.frames_resumed:
        parts.append(f"{report.frames_resumed} of them taken over")
    if report.fps is not None:
        parts.append(f"{rate_text(report.fps)} fps")
    if report.efficiency is not None:
        parts.append(f"efficiency {report.efficiency:.0%}")
    parts += [
        f"bottleneck {stage.name} ({report.busy_share(stage):.0%} busy)"
        for stage in report.stages
        if stage.name == report.bottleneck
    ]
    return ", ".join(parts)


class SilentProgress:
    """Says nothing."""

    def start(self, total: int | None) -> None:
        """Nothing."""

    def show(self, state: JobState) -> None:
        """Nothing."""

    def finish(self) -> None:
        """Nothing."""


class LineProgress:
    """A log line every few seconds, and one at the end.

    Args:
        every_s: Seconds between lines.
    """

    def __init__(self, every_s: float = LINE_EVERY_S) -> None:
        self._every_s = every_s
        self._line_at_s = every_s
        self._unwritten: JobState | None = None

    def start(self, total: int | None) -> None:
        """Begin to count."""
        self._unwritten = JobState(num_frames=total)
        self._line_at_s = self._every_s

    def show(self, state: JobState) -> None:
        """Write a line if it is time."""
        self._unwritten = state
        if state.elapsed_s >= self._line_at_s:
            self._line_at_s = state.elapsed_s + self._every_s
            self._write()

    def finish(self) -> None:
        """Write what was last shown, unless it is written."""
        self._write()

    def _write(self) -> None:
        state, self._unwritten = self._unwritten, None
        if state is not None:
            facts = {"event": "progress"} | _rounded(asdict(state))
            logger.info(progress_text(state), extra={FACTS: facts})


def _rounded(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts as JSON lines show them: thousandths are enough."""
    rounded = {
        name: round(value, 3) if isinstance(value, float) else value
        for name, value in facts.items()
    }
    if "stages" in facts:
        rounded["stages"] = [_rounded(stage) for stage in facts["stages"]]
    return rounded


class _TextColumn(ProgressColumn):
    """What stands to the right of the bar: one line, however narrow the terminal is."""

    def __init__(self, console: Console) -> None:
        super().__init__(Column(no_wrap=True, overflow="ellipsis"))
        self._console = console
        self.state = JobState()

    def render(self, task: Task) -> Text:  # noqa: ARG002 - rich calls it with the task
        """The last state, as far as there is room for it."""
        return Text(progress_text(self.state, self._console.width - BAR_WIDTH - 1))


class BarProgress:
    """A live bar on standard error.

    Args:
        console: Where to draw; standard error by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = Console(stderr=True) if console is None else console
        self._text = _TextColumn(self._console)
        self._bar: RichProgress | None = None

    def start(self, total: int | None) -> None:
        """Show the bar."""
        self._text.state = JobState(num_frames=total)
        self._bar = RichProgress(
            BarColumn(bar_width=BAR_WIDTH),
            self._text,
            console=self._console,
            # Only log lines on standard error pass the bar; results on standard output do not.
            redirect_stdout=False,
        )
        self._bar.add_task("frames", total=total)
        self._bar.start()

    def show(self, state: JobState) -> None:
        """Move the bar; it is drawn some ten times a second, whatever is shown."""
        if self._bar is not None:
            self._text.state = state
            task = self._bar.task_ids[0]
            self._bar.update(task, completed=state.frames_done, total=state.num_frames)

    def finish(self) -> None:
        """Leave the bar as it is and give the terminal back."""
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.stop()


def make_progress(*, is_wanted: bool, is_json: bool, is_terminal: bool | None = None) -> Progress:
    """The way to show progress that suits where standard error goes.

    Args:
        is_wanted: False for none at all.
        is_json: True if log lines are JSON, which a bar would break.
        is_terminal: Whether standard error is a terminal; None to look.
    """
    if not is_wanted:
        return SilentProgress()
    if is_terminal is None:
        is_terminal = sys.stderr.isatty()
    return BarProgress() if is_terminal and not is_json else LineProgress()
