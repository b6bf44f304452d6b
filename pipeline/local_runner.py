"""One process, one frame after the other: this runner defines what the right answer is."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice, pairwise
from typing import TypeVar

import torch

from operators.base import Item
from operators.frame import Frame
from operators.timeline import Segment, segments
from pipeline.errors import InputError
from pipeline.io.endpoint import SegmentedSink, Sink, StreamInfo
from pipeline.io.journal import Entry
from pipeline.io.segments import SegmentStore
from pipeline.progress import Progress, SilentProgress
from pipeline.report import RunReport, StageReport
from pipeline.running import as_frames, as_taken, explain_stage, moment_of, require_each
from pipeline.segment_reader import SegmentReader
from pipeline.segmenting import find_cuts, frames_of_segment, opened, shots_of, store_of
from pipeline.stage import Pipeline, Stage, ahead_of, halo_of, overlap_of
from pipeline.tally import StageState, Tally
from pipeline.wire import Wire, pack, unpack

log = logging.getLogger(__name__)

T = TypeVar("T")


def choose_device(name: str = "auto") -> torch.device:
    """The device of a name.

    Args:
        name: ``auto`` (CUDA where there is a device, else the CPU), ``cpu``, ``cuda``, ``cuda:N``.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


class LocalRunner:
    """Pulls frames through the stages of a pipeline, in this process.

    Nothing is read ahead beyond what a window needs, so memory does not depend on the length of
    the video. Where the sink joins segments, the video is written segment by segment, and a run
    that was interrupted is resumed at the first that is missing.

    Args:
        device: Where operators work.
        progress: Shown the state after each frame that is written.
        clock: Seconds, for the report and for progress.
        key: Names settings and input, so that a later run of the same takes over the segments of
            one that was interrupted. None keeps nothing for later.
        segment_frames: Frames of a segment; None for the length that the halo suggests.
    """

    def __init__(
        self,
        device: torch.device | str = "auto",
        progress: Progress | None = None,
        clock: Callable[[], float] = time.perf_counter,
        *,
        key: str | None = None,
        segment_frames: int | None = None,
    ) -> None:
        self._device = choose_device(device) if isinstance(device, str) else device
        self._progress = progress or SilentProgress()
        self._clock = clock
        self._key = key
        self._segment_frames = segment_frames

    def run(self, pipeline: Pipeline) -> RunReport:
        """Run a pipeline to its end.

        Returns:
            What was done. The output is complete and under its final name.

        Raises:
            HyperConError: In one line. There is no output; committed segments are kept if the
                runner was given a key.
            ModelError: If a model cannot be loaded or breaks its contract; likewise.
        """
        begin = self._clock()
        run = _Run(pipeline, self._device, self._progress, self._clock)
        try:
            run.execute(self._key, self._segment_frames)
        except BaseException:
            pipeline.sink.abort()
            raise
        finally:
            self._progress.finish()
        run.report.wall_s = self._clock() - begin
        return run.report


class _Run:
    """One run of one pipeline."""

    def __init__(
        self,
        pipeline: Pipeline,
        device: torch.device,
        progress: Progress,
        clock: Callable[[], float],
    ) -> None:
        self._pipeline = pipeline
        self._device = device
        self._progress = progress
        self._clock = clock
        names = ["decode", *(stage.name for stage in pipeline.stages), "encode"]
        self._tally = Tally()
        self._num_frames: int | None = None
        self.report = RunReport(stages=[StageReport(name) for name in names])

    def execute(self, key: str | None, segment_frames: int | None) -> None:
        info = self._pipeline.source.info()
        sink = self._pipeline.sink
        sink.open(info)
        set_up: list[Stage] = []
        try:
            self.report.setup_s = self._timed(lambda: self._set_up(set_up))[1]
            if isinstance(sink, SegmentedSink):
                # Opening it has shown that the place can be written; its segments are, first.
                sink.abort()
                self._run_segments(sink, info, key, segment_frames)
            else:
                self._begin(info.num_frames)
                self._run_whole(sink)
        finally:
            for stage in set_up:
                stage.operator.close()

    def _set_up(self, set_up: list[Stage]) -> None:
        for stage in self._pipeline.stages:
            set_up.append(stage)
            try:
                stage.operator.setup(self._device)
            except Exception as error:
                raise explain_stage(error, stage.name, " to set up") from error

    def _run_whole(self, sink: Sink) -> None:
        """Make the output in one piece, shot after shot."""
        cuts = self._find_cuts()
        self.report.tell_cuts(cuts)
        frames = self._pipeline.source.frames()
        for length in [*(stop - first for first, stop in pairwise([0, *cuts])), None]:
            self._pull(islice(frames, length), sink)
        self._finish(sink)
        self._require_frames()
        self._tell_notes()

    def _tell_notes(self) -> None:
        """Say what the source repaired or lacks; it knows once it was counted or read."""
        self.report.notes = list(self._pipeline.source.notes())
        for note in self.report.notes:
            log.warning("%s", note)

    def _find_cuts(self) -> list[int]:
        cuts, seconds = self._timed(lambda: find_cuts(self._pipeline))
        self.report.stages[0].busy_s += seconds
        return cuts

    def _run_segments(
        self, sink: SegmentedSink, info: StreamInfo, key: str | None, segment_frames: int | None
    ) -> None:
        num_frames = self._pipeline.source.count()
        self._tell_notes()
        self._begin(num_frames)
        stages = self._pipeline.stages
        halo = halo_of(stages)
        length = frames_of_segment(num_frames, halo, segment_frames)
        store = store_of(sink, key, length)
        reader = SegmentReader(self._pipeline.source, halo or 0)
        with opened(store, keep=key is not None):
            done = store.entries()
            parts = []
            shot_list = shots_of(store, num_frames, self._find_cuts)
            self.report.tell_cuts([shot.start for shot in shot_list[1:]])
            for segment in segments(shot_list, length, halo or 0, ahead_of(stages)):
                if segment.index in done:
                    self._resume(segment)
                else:
                    done[segment.index] = self._make(segment, reader, sink, info, store)
                parts.append(done[segment.index].path)
            self._require_frames()
            _, joining_s = self._timed(lambda: sink.join(info, parts))
            self.report.stages[-1].busy_s += joining_s
            store.remove()

    def _make(
        self,
        segment: Segment,
        reader: SegmentReader,
        sink: SegmentedSink,
        info: StreamInfo,
        store: SegmentStore,
    ) -> Entry:
        part = store.part_path(segment.index, 0)
        writer = sink.segment(part)
        writer.open(info)
        before = self.report.frames_out
        stop = segment.taken_stop
        read = segment.part(segment.halo_first, stop, overlap_of(self._pipeline.stages))
        try:
            self._pull(reader.read(read), writer, stop)
            require_each(segment.num_frames - (self.report.frames_out - before))
            self._finish(writer)
        except BaseException:
            writer.abort()
            raise
        return store.commit(segment.index, segment.first, segment.stop, part, 0)

    def _resume(self, segment: Segment) -> None:
        self.report.frames_resumed += segment.num_frames
        self.report.frames_in += segment.num_frames
        self.report.frames_out += segment.num_frames
        self._show()

    def _require_frames(self) -> None:
        if self.report.frames_out == 0:
            msg = f"{self._pipeline.source.name}: input must have at least one frame, got none"
            raise InputError(msg)

    def _pull(self, frames: Iterator[Frame], sink: Sink, stop: int | None = None) -> None:
        """Write what becomes of the frames of one shot, or of a part of one up to ``stop``."""
        items: Iterator[Item] = self._read(frames)
        for stage, report in zip(self._pipeline.stages, self.report.stages[1:-1], strict=True):
            items = self._run_stage(stage, report, items, stop)
        writing = self.report.stages[-1]
        for frame in as_frames(items, "the sink"):
            self._write(sink, frame, writing)

    def _finish(self, sink: Sink) -> None:
        _, seconds = self._timed(sink.close)
        self.report.stages[-1].busy_s += seconds

    def _read(self, frames: Iterator[Frame]) -> Iterator[Item]:
        reading = self.report.stages[0]
        while True:
            frame, seconds = self._timed(lambda: next(frames, None))
            reading.busy_s += seconds
            if frame is None:
                break
            reading.frames += 1
            # The halo of a segment is read for its sake and belongs to another.
            self.report.frames_in += not frame.is_halo
            yield self._cross_wire(frame)

    def _run_stage(
        self, stage: Stage, report: StageReport, items: Iterator[Item], stop: int | None
    ) -> Iterator[Item]:
        for item in as_taken(stage.operator, stage.name, items, stop):
            report.frames += 1
            yield from self._results(report, partial(stage.operator.process, item), item)
        yield from self._results(report, stage.operator.flush, None)

    def _results(
        self,
        report: StageReport,
        work: Callable[[], Iterable[Item]],
        item: Item | None,
    ) -> Iterator[Item]:
        try:
            results, seconds = self._timed(lambda: list(work()))
        except Exception as error:
            raise explain_stage(error, report.name, moment_of(item)) from error
        report.busy_s += seconds
        for result in results:
            yield self._cross_wire(result)

    def _write(self, sink: Sink, frame: Frame, writing: StageReport) -> None:
        _, seconds = self._timed(lambda: sink.write(frame))
        writing.busy_s += seconds
        writing.frames += 1
        self.report.frames_out += 1
        self._show()

    def _begin(self, num_frames: int | None) -> None:
        self._num_frames = num_frames
        self._progress.start(num_frames)
        self._show()

    def _show(self) -> None:
        report = self.report
        stages = [StageState(stage.name, stage.frames, stage.busy_s) for stage in report.stages]
        self._progress.show(
            self._tally.update(
                self._clock(), report.frames_out, self._num_frames, report.frames_resumed, stages
            )
        )

    def _cross_wire(self, item: Item) -> Item:
        crossed, seconds = self._timed(lambda: _cross(item, self._pipeline.wire, self._device))
        self.report.wire_s += seconds
        return crossed

    def _timed(self, work: Callable[[], T]) -> tuple[T, float]:
        begin = self._clock()
        result = work()
        return result, self._clock() - begin


def _cross(item: Item, wire: Wire, device: torch.device) -> Item:
    return unpack(pack(item, wire), device)
