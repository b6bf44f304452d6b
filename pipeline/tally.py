"""How fast a job goes, from counters that only grow: rates over recent time, and the bottleneck.

Both runners feed one; it reads no clock and knows neither Ray nor how progress is shown.
"""

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass

WINDOW_S = 30.0
# A rate over less time says nothing.
MIN_SPAN_S = 2.0
# What is kept of the window: a fast runner may call for every frame.
MIN_STEP_S = 0.5
# Frames leave a cluster in bursts. Over fewer of them, a rate would swing between none and many.
MIN_BURSTS = 8


@dataclass(frozen=True, slots=True)
class StageState:
    """What is known of a stage at one moment; counters since the start of the job.

    Attributes:
        name: Of the stage.
        frames: Frames that it took, those of halos and of repeated attempts included.
        busy_s: Seconds that its workers worked, together.
        workers: Processes that share its work now.
        queued: Chunks that wait for it or are in its hands now.
        in_flight_bytes: What these hold of memory.
        queue_age_s: Seconds that the oldest of them has been there.
    """

    name: str
    frames: int
    busy_s: float
    workers: int = 1
    queued: int = 0
    in_flight_bytes: int = 0
    queue_age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class StageRate:
    """How fast a stage goes.

    Attributes:
        name: Of the stage.
        frames: Frames that it took since the start of the job; 0 if it has not run.
        fps: Frames a second that it took recently; None if not known yet.
        busy_share: Part of the recent time of its workers in which they worked, 0 to 1; None if
            not known yet.
        workers: Processes that share its work now.
        queued: Chunks that wait for it or are in its hands now.
        queue_age_s: Seconds that the oldest of them has been there.
    """

    name: str
    frames: int
    fps: float | None
    busy_share: float | None
    workers: int
    queued: int
    queue_age_s: float


@dataclass(frozen=True, slots=True)
class JobState:
    """How far a job is, and how fast it goes.

    Attributes:
        frames_done: Frames of the output that exist, those of an earlier run included.
        num_frames: Frames that there will be, None if nobody knows.
        is_estimate: Whether ``num_frames`` takes videos that have not begun for as long as the
            others are on average.
        videos_done: Of a job of several, those that are over, whatever became of them.
        num_videos: Videos of the job.
        elapsed_s: Seconds since the first update.
        fps: New frames a second, recently; None if not known yet. What an earlier run had made
            is not new.
        eta_s: Seconds to go at this rate; None if that cannot be known.
        in_flight_bytes: Memory that chunks between and in all stages hold.
        bottleneck: The stage that is busy for the largest part of its workers' time, of equals
            the later; None if none worked recently.
        stages: In the order in which frames pass them.
    """

    frames_done: int = 0
    num_frames: int | None = None
    is_estimate: bool = False
    videos_done: int = 0
    num_videos: int = 1
    elapsed_s: float = 0.0
    fps: float | None = None
    eta_s: float | None = None
    in_flight_bytes: int = 0
    bottleneck: str | None = None
    stages: tuple[StageRate, ...] = ()


@dataclass(frozen=True, slots=True)
class _Work:
    """Work of a stage since the start of the job: frames, seconds, and seconds there were."""

    frames: float = 0.0
    busy_s: float = 0.0
    worker_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Sample:
    """The counters at one moment."""

    now_s: float
    new_frames: float
    work: dict[str, _Work]


class _Counter:
    """Adds up how much a counter grew, over falls of the counter."""

    def __init__(self) -> None:
        self._last = 0.0
        self._total = 0.0

    def read(self, value: float) -> float:
        self._total += max(value - self._last, 0.0)
        self._last = value
        return self._total


class _StageCounters:
    """The counters of one stage."""

    def __init__(self) -> None:
        self._frames = _Counter()
        self._busy_s = _Counter()
        self._worker_s = 0.0

    def read(self, stage: StageState, passed_s: float) -> _Work:
        # A pool grows and shrinks, so the seconds that there were to work in are added up too.
        self._worker_s += stage.workers * passed_s
        return _Work(
            self._frames.read(stage.frames), self._busy_s.read(stage.busy_s), self._worker_s
        )


class Tally:
    """Turns counters into rates over the last ``window_s`` seconds.

    The first update is the zero point: nothing that was done before it counts as fast. Where
    frames come in bursts further apart than a few seconds, rates reach back over the last eight
    bursts instead. What is kept does not grow with the length of the job.

    A counter that falls is taken to count anew, as one does that was kept by a process which died.

    Args:
        window_s: Seconds that a rate looks back.
    """

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._new_frames = _Counter()
        self._stages: defaultdict[str, _StageCounters] = defaultdict(_StageCounters)
        self._samples: deque[_Sample] = deque()
        self._start_s: float | None = None
        self._last_s = 0.0

    def update(
        self,
        now: float,
        frames_done: int,
        num_frames: int | None,
        frames_resumed: int,
        stages: Sequence[StageState],
    ) -> JobState:
        """Take the counters of a moment.

        Args:
            now: Seconds from an arbitrary moment, never going back.
            frames_done: Frames of the output that exist, those of an earlier run included.
            num_frames: Frames that there will be, None if nobody knows.
            frames_resumed: Of ``frames_done``, what an earlier run had made.
            stages: In the order in which frames pass them; names are unique.

        Returns:
            How far and how fast the job is now.
        """
        if self._start_s is None:
            self._start_s = self._last_s = now
        passed_s, self._last_s = now - self._last_s, now
        new_frames = self._new_frames.read(frames_done - frames_resumed)
        work = {stage.name: self._stages[stage.name].read(stage, passed_s) for stage in stages}
        latest = _Sample(now, new_frames, work)
        base = self._base(latest)

        span_s = now - base.now_s
        fps = (new_frames - base.new_frames) / span_s if span_s >= MIN_SPAN_S else None
        rates = tuple(_rate(stage, base, latest) for stage in stages)
        return JobState(
            frames_done=frames_done,
            num_frames=num_frames,
            elapsed_s=now - self._start_s,
            fps=fps,
            eta_s=_remaining_s(frames_done, num_frames, fps),
            in_flight_bytes=sum(stage.in_flight_bytes for stage in stages),
            bottleneck=_bottleneck(rates),
            stages=rates,
        )

    def _base(self, latest: _Sample) -> _Sample:
        """The moment that rates look back to; keeps what later calls need."""
        samples = self._samples
        if not samples:
            samples.append(latest)
        newest = samples[-1]
        is_burst = latest.new_frames > newest.new_frames
        if is_burst and latest.now_s >= newest.now_s + MIN_STEP_S:
            samples.append(latest)
        # The oldest sample kept is the newest one that is at least a whole window old.
        while len(samples) > MIN_BURSTS + 1 and samples[1].now_s <= latest.now_s - self._window_s:
            samples.popleft()
        return samples[0]


def expected_frames(num_known: int, videos_known: int, num_videos: int) -> int | None:
    """Frames of a job of which some videos have not been looked at: as long as the others.

    Args:
        num_known: Frames of the videos that were looked at.
        videos_known: How many these are.
        num_videos: Videos of the job.

    Returns:
        None before the first was looked at.
    """
    return round(num_known / videos_known * num_videos) if videos_known else None


def _rate(stage: StageState, base: _Sample, latest: _Sample) -> StageRate:
    before, after = base.work.get(stage.name, _Work()), latest.work[stage.name]
    span_s = latest.now_s - base.now_s
    fps = busy_share = None
    if span_s >= MIN_SPAN_S:
        fps = (after.frames - before.frames) / span_s
        worker_s = after.worker_s - before.worker_s
        # Work is reported when it is done, and may have begun before the window.
        busy_share = min((after.busy_s - before.busy_s) / worker_s, 1.0) if worker_s else 0.0
    return StageRate(
        name=stage.name,
        frames=stage.frames,
        fps=fps,
        busy_share=busy_share,
        workers=stage.workers,
        queued=stage.queued,
        queue_age_s=stage.queue_age_s,
    )


def _bottleneck(rates: Sequence[StageRate]) -> str | None:
    worked = [rate for rate in rates if rate.busy_share]
    # Of equals, max takes the first that it meets.
    return max(reversed(worked), key=lambda rate: rate.busy_share or 0.0).name if worked else None


def _remaining_s(frames_done: int, num_frames: int | None, fps: float | None) -> float | None:
    if num_frames is None or not fps:
        return None
    return max(num_frames - frames_done, 0) / fps
