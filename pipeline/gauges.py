"""The state of a job as metrics of Ray, for the Prometheus that watches the cluster."""

from ray.util.metrics import Counter, Gauge

from pipeline.tally import JobState

_JOB = ("job",)
_STAGE = ("job", "stage")


class Gauges:
    """Sets one time series for each stage of a job and a few for the job itself.

    Neither videos nor frames are labels, so their number does not depend on the length of the
    job. Ray exports them, some ten seconds later and with ``ray_`` before their names, on the node
    of the process that sets them.

    Args:
        job: The label ``job``: one of few words, such as the job's id on the cluster.
    """

    def __init__(self, job: str) -> None:
        self._job = {"job": job}
        self._retries_shown = 0
        self._fps = Gauge(
            "hypercon_stage_fps", "Frames a second that a stage took recently", _STAGE
        )
        self._busy_share = Gauge(
            "hypercon_stage_busy_share", "Part of its workers' time in which they worked", _STAGE
        )
        self._queue_age = Gauge(
            "hypercon_stage_queue_age_seconds", "How long the oldest chunk has been there", _STAGE
        )
        self._workers = Gauge("hypercon_stage_workers", "Processes of a stage", _STAGE)
        self._bytes = Gauge("hypercon_in_flight_bytes", "Memory that chunks hold", _JOB)
        self._done = Gauge("hypercon_frames_done", "Frames of the output that exist", _JOB)
        self._total = Gauge("hypercon_frames_total", "Frames that there will be", _JOB)
        self._retries = Counter("hypercon_retries_total", "Segments that were begun again", _JOB)

    def show(self, state: JobState, retries: int) -> None:
        """Set all that is known.

        Args:
            state: How far the job is.
            retries: Segments that were begun again since the start of the job; never falls.
        """
        for stage in state.stages:
            tags = self._job | {"stage": stage.name}
            self._workers.set(stage.workers, tags)
            self._queue_age.set(stage.queue_age_s, tags)
            if stage.fps is not None:
                self._fps.set(stage.fps, tags)
            if stage.busy_share is not None:
                self._busy_share.set(stage.busy_share, tags)
        self._bytes.set(state.in_flight_bytes, self._job)
        self._done.set(state.frames_done, self._job)
        if state.num_frames is not None:
            self._total.set(state.num_frames, self._job)
        if retries > self._retries_shown:
            self._retries.inc(retries - self._retries_shown, self._job)
            self._retries_shown = retries
