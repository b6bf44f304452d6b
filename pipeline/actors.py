"""The processes of the Ray engine: one decodes, some run operators, one encodes.

Plain classes, made remote in one line each at the end. They exchange lists of packed items;
nothing here knows a model or a codec.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import ray
import torch

from operators.base import Item
from operators.timeline import Segment
from pipeline.chunk import Chunk
from pipeline.cluster import here
from pipeline.io.endpoint import SegmentedSink, Sink, Source, StreamInfo
from pipeline.local_runner import choose_device
from pipeline.memory import own_memory
from pipeline.patience import watched
from pipeline.running import as_frames, as_taken, explain_stage, moment_of, require_each
from pipeline.segment_reader import SegmentReader
from pipeline.segmenting import find_cuts
from pipeline.stage import Pipeline, Stage
from pipeline.turns import wait_for_turn
from pipeline.wire import Packed, Wire, pack, unpack

CPU = torch.device("cpu")
# A process that has done other work before has used more than its modules take.
MOST_MODULES_S = 60.0


class StaleCallError(RuntimeError):
    """A call of an abandoned attempt, or out of its order. Never the user's fault."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a stage made of a chunk, beside the items.

    Attributes:
        num_frames: Frames that it took.
        busy_s: Seconds that it worked.
        num_bytes: What it made.
        held_bytes: Memory that its process has for itself afterwards.
        process: The number of its process.
        node: Where that is.
    """

    num_frames: int
    busy_s: float
    num_bytes: int = 0
    held_bytes: int = 0
    process: int = 0
    node: str = ""


@dataclass(frozen=True, slots=True)
class Started:
    """A process of a stage that has loaded its models.

    Attributes:
        node: Where it is.
        setup_s: Seconds until a process like it has loaded them: of a processor for its modules,
            by the clock for the models.
    """

    node: str
    setup_s: float


@dataclass(frozen=True, slots=True)
class Survey:
    """What is known of a source after a look through it.

    Attributes:
        num_frames: How many frames it gives.
        notes: What had to be repaired or left out, each in one line.
    """

    num_frames: int
    notes: tuple[str, ...]


class Turn:
    """The order of calls to an actor that remembers: one attempt at a time, chunk by chunk."""

    def __init__(self) -> None:
        self._attempt = ""
        self._next = 0

    def begin(self, attempt: str) -> None:
        """Take calls of this attempt, from chunk 0 on, and of no other."""
        self._attempt = attempt
        self._next = 0

    def take(self, attempt: str, chunk: Chunk) -> None:
        """Refuse any call but the next of the attempt.

        Raises:
            StaleCallError: If the call belongs to another attempt or another place.
        """
        if (attempt, chunk.sequence) != (self._attempt, self._next):
            msg = (
                f"call must be chunk {self._next} of attempt {self._attempt!r}, "
                f"got chunk {chunk.sequence} of {attempt!r}"
            )
            raise StaleCallError(msg)

    def done(self) -> None:
        """The call has succeeded: the next one may come. After one that failed none may."""
        self._next += 1


class DecodeActor:
    """Reads frames of one video at a time, chunk by chunk.

    Reading on where the last chunk ended costs nothing; anywhere else the source seeks, so a
    repeated call gives the same frames.

    Args:
        wire: Number formats between stages.
        loads: Classes that it will need; to be given them is to have loaded them.
    """

    def __init__(self, wire: Wire, loads: Sequence[type]) -> None:
        del loads  # They came with their modules, which is all that is wanted of them.
        wait_for_turn()
        cv2.setNumThreads(1)
        self._wire = wire
        self._attempt = ""
        self._reader: SegmentReader | None = None

    @ray.method(max_task_retries=0)
    def open(self, attempt: str, source: Source) -> None:
        """Read from this source from now on, for this attempt and no other.

        Never called again by Ray itself: the source may be what does not come.
        """
        self._attempt = attempt
        # Chunks have at most one frame in common, as segments of a halo of one half would.
        self._reader = SegmentReader(source, halo=1)

    @ray.method(num_returns=2)
    def read(
        self, attempt: str, segment: Segment, chunk: Chunk, overlap: int
    ) -> tuple[list[Packed], Done]:
        """Frames of a chunk, and ``overlap`` (0 or 1) more of the segment after it."""
        if self._reader is None or attempt != self._attempt:
            msg = f"source must be opened for {attempt!r} before it is read, got {self._attempt!r}"
            raise StaleCallError(msg)
        begin = time.perf_counter()
        frames = self._reader.read(segment.part(chunk.first, chunk.stop, overlap))
        packed = [pack(frame, self._wire) for frame in frames]
        return packed, _done(chunk, begin, packed)

    @ray.method(num_returns=2)
    def survey(self, source: Source, still_s: float) -> tuple[Source, Survey]:
        """Look through a source, which then knows what it found and need not look again.

        Raises:
            StandstillError: If nothing comes of it for so many seconds.
        """
        count = watched(source.count, still_s, source.name)
        return source, Survey(count, source.notes())

    @ray.method
    def find_cuts(self, pipeline: Pipeline, still_s: float) -> list[int]:
        """Look for cuts: frames are seen here, and not by who asks.

        Raises:
            StandstillError: If nothing comes of it for so many seconds.
        """
        return watched(partial(find_cuts, pipeline), still_s, pipeline.source.name)


class StageActor:
    """Owns one operator for the life of one process.

    Args:
        stage: What it runs.
        wire: Number formats between stages.
        device: As ``choose_device`` reads it.
        threads: Threads that it works with; results do not depend on it.
    """

    def __init__(self, stage: Stage, wire: Wire, device: str, threads: int) -> None:
        wait_for_turn()
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
        self._stage = stage
        self._operator = stage.operator
        self._wire = wire
        self._device_name = device
        self._device: torch.device | None = None
        # Not by the clock: it may have waited to be wanted, or beside many others that started.
        self._modules_s = min(time.process_time(), MOST_MODULES_S)
        self._turn = Turn()

    @ray.method
    def ready(self) -> Started:
        """Load the operator's models.

        Not in the constructor: there an error would only be known as the death of the actor.
        """
        begin = time.perf_counter()
        self._set_up()
        return Started(here(), self._modules_s + time.perf_counter() - begin)

    def _set_up(self) -> torch.device:
        if self._device is None:
            device = choose_device(self._device_name)
            try:
                self._operator.setup(device)
            except Exception as error:  # noqa: BLE001 - whatever a model raises becomes one line
                raise explain_stage(error, self._stage.name, " to set up") from None
            self._device = device
        return self._device

    @ray.method
    def begin(self, attempt: str) -> None:
        """Forget what is remembered: a new attempt at a segment begins.

        A process that Ray has started again loads its models here: for that there is more time
        than for a chunk.
        """
        self._set_up()
        for _ in self._operator.flush():
            continue
        self._turn.begin(attempt)

    @ray.method(num_returns=2)
    def share(self, chunk: Chunk, taken: list[Packed]) -> tuple[list[Packed], Done]:
        """Run a stateless operator on a chunk; any replica gives the same."""
        return self._run(chunk, taken, is_end=False)

    @ray.method(num_returns=2)
    def follow(self, attempt: str, chunk: Chunk, taken: list[Packed]) -> tuple[list[Packed], Done]:
        """Run a stateful operator on the next chunk of a segment."""
        self._turn.take(attempt, chunk)
        made = self._run(chunk, taken, is_end=chunk.is_last)
        self._turn.done()
        return made

    def _run(self, chunk: Chunk, taken: list[Packed], *, is_end: bool) -> tuple[list[Packed], Done]:
        # A process that Ray has started again has not loaded anything yet.
        device = self._set_up()
        begin = time.perf_counter()
        items = (unpack(packed, device) for packed in taken)
        made: list[Packed] = []
        for item in as_taken(self._operator, self._stage.name, items, chunk.stop):
            made += self._results(item)
        if is_end:
            made += self._results(None)
        return made, _done(chunk, begin, made)

    def _results(self, item: Item | None) -> list[Packed]:
        try:
            results = self._operator.flush() if item is None else self._operator.process(item)
            return [pack(result, self._wire) for result in results]
        except Exception as error:  # noqa: BLE001 - whatever a model raises becomes one line
            raise explain_stage(error, self._stage.name, moment_of(item)) from None


def _done(chunk: Chunk, begin: float, made: list[Packed]) -> Done:
    busy_s = time.perf_counter() - begin
    num_bytes = sum(packed.num_bytes for packed in made)
    return Done(chunk.stop - chunk.first, busy_s, num_bytes, own_memory(), os.getpid(), here())


class EncodeActor:
    """Writes one segment at a time.

    Args:
        loads: Classes that it will need; to be given them is to have loaded them.
    """

    def __init__(self, loads: Sequence[type]) -> None:
        del loads  # They came with their modules, which is all that is wanted of them.
        wait_for_turn()
        cv2.setNumThreads(1)
        self._sink: Sink | None = None
        self._turn = Turn()
        self._missing = 0

    @ray.method
    def begin(
        self, attempt: str, sink: SegmentedSink, info: StreamInfo, part: Path, num_frames: int
    ) -> None:
        """Write a segment of so many frames to ``part``; what was being written is given up."""
        if self._sink is not None:
            self._sink.abort()
        self._turn.begin(attempt)
        self._missing = num_frames
        self._sink = sink.segment(part)
        self._sink.open(info)

    @ray.method
    def write(self, attempt: str, chunk: Chunk, taken: list[Packed]) -> Done:
        """Write what a chunk became; with the last one the segment is complete."""
        self._turn.take(attempt, chunk)
        if self._sink is None:
            msg = "segment must be begun before it is written"
            raise StaleCallError(msg)
        begin = time.perf_counter()
        for frame in as_frames((unpack(packed, CPU) for packed in taken), "the sink"):
            self._sink.write(frame)
            self._missing -= 1
        if chunk.is_last:
            require_each(self._missing)
            self._sink.close()
            self._sink = None
        self._turn.done()
        return Done(len(taken), time.perf_counter() - begin)


RemoteDecode = ray.remote(DecodeActor)
RemoteStage = ray.remote(StageActor)
RemoteEncode = ray.remote(EncodeActor)
