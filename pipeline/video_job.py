"""One video of a job on Ray: how it runs, how far it is, and the chunks on their way."""

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from operators.timeline import Segment
from pipeline.chunk import Chunk
from pipeline.crew import Actor, Lane
from pipeline.io.endpoint import SegmentedSink, Source
from pipeline.stage import Stage

Ref = Any  # an ObjectRef; what it refers to is not looked at here


@dataclass(frozen=True, slots=True)
class RaySettings:
    """How the engine runs.

    Attributes:
        address: Of a cluster; None for ``RAY_ADDRESS``, or else this machine.
        device: Where operators work, as ``choose_device`` reads it.
        segment_frames: Frames of a segment; None for the length that the halo suggests.
        chunk_frames: Frames in a message; None to choose by their size.
        lanes: Segments that are open at once, of all videos together: while one begins or ends,
            another is computed.
        attempts: How often a segment is begun before it is given up.
        stall_s: Seconds without progress before a process is replaced.
        start_s: Seconds to wait for the cluster to start all processes and load all models.
    """

    address: str | None = None
    device: str = "auto"
    segment_frames: int | None = None
    chunk_frames: int | None = None
    lanes: int = 2
    attempts: int = 3
    stall_s: float = 300.0
    start_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a coordinator may use and how long it waits.

    Attributes:
        segment_frames: Frames of a segment.
        chunk_frames: Frames of a chunk.
        credits: Chunks of this video that may be on their way at once.
        halo: Frames that a segment reads on each side of its own.
        overlap: Frames that a chunk carries beyond its own.
        attempts: How often a segment is begun before it is given up, if it fails by itself.
        losses: How often a segment is begun anew because processes or nodes died.
        stall_s: Seconds without any progress of a chunk before its process is replaced.
    """

    segment_frames: int
    chunk_frames: int
    credits: int
    halo: int
    overlap: int
    attempts: int = 3
    losses: int = 20
    stall_s: float = 300.0


@dataclass(frozen=True, slots=True)
class VideoJob:
    """One video of a job.

    Attributes:
        name: What messages call it.
        source: Where frames come from.
        stages: What is done to them.
        sink: Where frames go.
        key: Names settings and input, for resuming; None keeps nothing for later.
    """

    name: str
    source: Source
    stages: tuple[Stage, ...]
    sink: SegmentedSink
    key: str | None


@dataclass(slots=True)
class Snapshot:
    """How far a video is.

    Attributes:
        num_frames: Frames of the video.
        frames_done: Frames in committed segments.
        frames_resumed: Of these, what an earlier run had committed.
        busy_s: Seconds that each stage worked, over all replicas.
        frames_by_stage: Frames that each stage took.
        retries: Segments that were begun again.
        failures: Segments that were given up, each in one line.
        error: What ended the video as a whole, or None.
    """

    num_frames: int = 0
    frames_done: int = 0
    frames_resumed: int = 0
    busy_s: dict[str, float] = field(default_factory=dict)
    frames_by_stage: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    failures: list[str] = field(default_factory=list)
    error: Exception | None = None


@dataclass(slots=True)
class Leg:
    """One stage of a chunk's way: who does it, and its small report."""

    stage: str
    actor: Actor
    done: Ref
    is_stalled: bool = False


@dataclass(slots=True)
class Flight:
    """A chunk on its way; the legs that are not known to be over."""

    chunk: Chunk
    legs: deque[Leg]


@dataclass(slots=True)
class OpenSegment:
    """A segment that is being computed on a lane."""

    segment: Segment
    lane: Lane
    chunks: tuple[Chunk, ...]
    attempt: int = 0
    failed: int = 0
    lost: int = 0
    next_chunk: int = 0
    flights: deque[Flight] = field(default_factory=deque)
    moved_at: float = 0.0

    @property
    def token(self) -> str:
        """Names this attempt: calls of earlier ones are refused by it."""
        return f"segment {self.segment.index}, attempt {self.attempt}"
