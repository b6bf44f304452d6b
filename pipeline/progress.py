"""How far a run is: a live bar on a terminal, a line every few seconds elsewhere."""

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task
from rich.progress import Progress as RichProgress
from rich.table import Column
from rich.text import Text

from pipeline.log import FACTS

Clock = Callable[[], float]

# A rate over less time than this says nothing, and one over much more is no longer true.
MIN_RATE_S = 2.0
RATE_WINDOW_S = 15.0
LINE_EVERY_S = 5.0
BAR_WIDTH = 12

logger = logging.getLogger(__name__)


class Progress(Protocol):
    """Is told by a runner how far it is. ``finish`` may be called more than once."""

    def start(self, total: int | None) -> None:
        """Begin; ``total`` is the number of frames to come, None if nobody knows."""
        ...

    def advance(self, frames: int, stage_seconds: Mapping[str, float]) -> None:
        """Frames were written.

        Args:
            frames: How many since the last call.
            stage_seconds: Seconds that each stage has worked so far.
        """
        ...

    def finish(self) -> None:
        """End, whether all is done or not."""
        ...


class Meter:
    """Counts frames and tells rate and remaining time, from recent progress only.

    Args:
        clock: Seconds from an arbitrary moment, never going back.
        total: Frames to come, None if nobody knows.
    """

    def __init__(self, clock: Clock, total: int | None) -> None:
        self.total = total
        self.frames = 0
        self._clock = clock
        self.stage_seconds: dict[str, float] = {}
        self._start_s = clock()
        self._samples: deque[tuple[float, int]] = deque([(self._start_s, 0)])

    def advance(self, frames: int, stage_seconds: Mapping[str, float]) -> None:
        """Count frames; keep the seconds that each stage has worked so far."""
        now_s = self._clock()
        self.frames += frames
        self.stage_seconds = dict(stage_seconds)
        self._samples.append((now_s, self.frames))
        # The oldest sample kept is the newest one that is at least a whole window old.
        while len(self._samples) > 2 and self._samples[1][0] <= now_s - RATE_WINDOW_S:
            self._samples.popleft()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start_s

    @property
    def rate(self) -> float | None:
        """Recent frames per second; None until there are two seconds of data."""
        then_s, frames = self._samples[0]
        span_s = self._clock() - then_s
        return None if span_s < MIN_RATE_S else (self.frames - frames) / span_s

    @property
    def remaining_s(self) -> float | None:
        """Seconds to go at the recent rate; None if that cannot be known."""
        rate = self.rate
        if self.total is None or not rate:
            return None
        return max(self.total - self.frames, 0) / rate

    @property
    def slowest(self) -> tuple[str, float] | None:
        """The stage that worked longest, and its share of all work."""
        work_s = sum(self.stage_seconds.values())
        if work_s <= 0:
            return None
        name, seconds = max(self.stage_seconds.items(), key=itemgetter(1))
        return name, seconds / work_s


def clock_text(seconds: float | None) -> str:
    """``h:mm:ss``, or ``unknown``."""
    if seconds is None:
        return "unknown"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def rate_text(rate: float | None) -> str:
    """Frames per second, or ``rate unknown``; slow work is told in seconds a frame."""
    if rate is None:
        return "rate unknown"
    if 0 < rate < 1:
        return f"{1 / rate:.1f} s/frame"
    return f"{rate:.1f} frames/s"


def progress_text(meter: Meter) -> str:
    """All that is known, in one line."""
    if meter.total:
        done = f"{meter.frames} of {meter.total} frames ({meter.frames * 100 // meter.total} %)"
    else:
        done = f"{meter.frames} frames"
    parts = [done, rate_text(meter.rate)]
    if meter.total is not None:
        parts.append(f"ETA {clock_text(meter.remaining_s)}")
    slowest = meter.slowest
    if slowest is not None:
        parts.append(f"{slowest[0]} {slowest[1]:.0%} of the work")
    return ", ".join(parts)


class SilentProgress:
    """Says nothing."""

    def start(self, total: int | None) -> None:
        """Nothing."""

    def advance(self, frames: int, stage_seconds: Mapping[str, float]) -> None:
        """Nothing."""

    def finish(self) -> None:
        """Nothing."""


class LineProgress:
    """A log line every few seconds, and one at the end.

    Args:
        clock: Seconds from an arbitrary moment.
        every_s: Seconds between lines.
    """

    def __init__(self, clock: Clock = time.monotonic, every_s: float = LINE_EVERY_S) -> None:
        self._clock = clock
        self._every_s = every_s
        self._meter: Meter | None = None
        self._last_line_s = 0.0

    def start(self, total: int | None) -> None:
        """Begin to count."""
        self._meter = Meter(self._clock, total)
        self._last_line_s = self._clock()

    def advance(self, frames: int, stage_seconds: Mapping[str, float]) -> None:
        """Count, and write a line if it is time."""
        if self._meter is None:
            return
        self._meter.advance(frames, stage_seconds)
        if self._clock() - self._last_line_s >= self._every_s:
            self._last_line_s = self._clock()
            self._write(progress_text(self._meter), self._meter, is_done=False)

    def finish(self) -> None:
        """Write the last line."""
        meter, self._meter = self._meter, None
        if meter is not None:
            text = f"{meter.frames} frames in {clock_text(meter.elapsed_s)}"
            self._write(text, meter, is_done=True)

    def _write(self, text: str, meter: Meter, *, is_done: bool) -> None:
        facts = {
            "event": "finish" if is_done else "progress",
            "frames": meter.frames,
            "total": meter.total,
            "elapsed_s": round(meter.elapsed_s, 3),
            "frames_per_s": None if meter.rate is None else round(meter.rate, 3),
            "remaining_s": None if meter.remaining_s is None else round(meter.remaining_s, 1),
            "stage_seconds": {name: round(s, 3) for name, s in meter.stage_seconds.items()},
        }
        logger.info(text, extra={FACTS: facts})


class _RateColumn(ProgressColumn):
    """Rate and remaining time, asked of the meter at every refresh."""

    def __init__(self, meter: Meter) -> None:
        # On a narrow terminal the end, which matters least, is left out.
        super().__init__(Column(no_wrap=True, overflow="ellipsis"))
        self._meter = meter

    def render(self, task: Task) -> Text:  # noqa: ARG002 - rich calls it with the task
        """What stands to the right of the bar."""
        return Text(progress_text(self._meter))


class BarProgress:
    """A live bar on standard error.

    Args:
        console: Where to draw; standard error by default.
        clock: Seconds from an arbitrary moment.
    """

    def __init__(self, console: Console | None = None, clock: Clock = time.monotonic) -> None:
        self._console = Console(stderr=True) if console is None else console
        self._clock = clock
        self._meter: Meter | None = None
        self._bar: RichProgress | None = None

    def start(self, total: int | None) -> None:
        """Show the bar."""
        self._meter = Meter(self._clock, total)
        self._bar = RichProgress(
            BarColumn(bar_width=BAR_WIDTH),
            _RateColumn(self._meter),
            console=self._console,
            # Only log lines on standard error pass the bar; results on standard output do not.
            redirect_stdout=False,
        )
        self._bar.add_task("frames", total=total)
        self._bar.start()

    def advance(self, frames: int, stage_seconds: Mapping[str, float]) -> None:
        """Move the bar."""
        if self._meter is not None and self._bar is not None:
            self._meter.advance(frames, stage_seconds)
            self._bar.advance(self._bar.task_ids[0], frames)

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
