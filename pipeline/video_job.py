"""One video of a job on Ray: how it runs, how far it is, and the chunks on their way."""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from operators.timeline import Segment
from pipeline.chunk import Chunk
from pipeline.crew import Lane, Worker
from pipeline.io.endpoint import SegmentedSink
from pipeline.stage import Pipeline, Stage

Ref = Any  # an ObjectRef; what it refers to is not looked at here


@dataclass(frozen=True, slots=True)
class Limits:
    """What a coordinator may use and how long it waits.

    Attributes:
        segment_frames: Frames of a segment; None for the length that the halo suggests.
        chunk_frames: Frames of a chunk.
        max_credits: Chunks of this video that may be on their way at once, at most: what the
            object store has room for.
        halo: Frames that a segment reads on each side of its own; None keeps shots whole.
        ahead: Frames after its own that a segment works on.
        overlap: Frames that a chunk carries beyond its own.
        attempts: How often a segment is begun before it is given up, if it fails by itself.
        losses: How often a segment is begun anew because processes or nodes died.
        stall_s: Seconds after which what is there and does not move is given up.
        setup_s: Seconds until a process that was started again has loaded its models.
        replace_s: Seconds for which processes that were lost may be missing: others have to be
            started and to load their models, on machines that have to be started first.
    """

    segment_frames: int | None
    chunk_frames: int
    max_credits: int
    halo: int | None
    ahead: int
    overlap: int
    attempts: int = 3
    losses: int = 20
    stall_s: float = 300.0
    setup_s: float = 0.0
    replace_s: float = 600.0

    @property
    def chunk_s(self) -> float:
        """Seconds without any progress of a chunk before its process is replaced.

        One that was started again loads its models before the chunk that it is given, and all that
        time nothing comes back from it.
        """
        return self.stall_s + self.setup_s


@dataclass(frozen=True, slots=True)
class VideoJob:
    """One video of a job.

    Attributes:
        name: What messages call it.
        pipeline: What is to be done.
        sink: Where frames go: that of the pipeline, known to join segments.
        key: Names the segments by settings and input, so that a later job can resume; None leaves
            nothing for a later one. Either way they outlive their coordinator.
        run: Names this job among those that resume one another.
        takes_over: Whether another coordinator has begun it, and died.
    """

    name: str
    pipeline: Pipeline
    sink: SegmentedSink
    key: str | None
    run: str
    takes_over: bool = False

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What is done, in order."""
        return self.pipeline.stages


@dataclass(slots=True)
class StageCount:
    """What a stage has done for a video, and what it holds of it.

    Attributes:
        frames: Frames that it took, those of halos and of repeated attempts included.
        busy_s: Seconds that its workers worked, together.
        queued: Chunks that wait for it or are in its hands now.
        in_flight_bytes: What these hold of memory.
        queue_age_s: Seconds that the oldest of them has been there.
    """

    frames: int = 0
    busy_s: float = 0.0
    queued: int = 0
    in_flight_bytes: int = 0
    queue_age_s: float = 0.0

    def wait_for_nothing(self) -> None:
        """Take note that no chunk is there."""
        self.queued, self.in_flight_bytes, self.queue_age_s = 0, 0, 0.0


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a worker of a pool was when a chunk came back from it.

    Attributes:
        at: When, in seconds of the clock that all machines share.
        held_bytes: What it held for itself.
        process: The number of its process, which another has when it is started again.
        node: Where it was.
    """

    at: float
    held_bytes: int
    process: int
    node: str


@dataclass(slots=True)
class Snapshot:
    """How far a video is.

    Attributes:
        num_frames: Frames of the video; 0 until they are counted.
        frames_done: Frames in committed segments.
        frames_resumed: Of these, what an earlier run had committed.
        stages: What each stage did, by name.
        lanes: Names of the decoders of the lanes in use.
        loads: Frames that each worker of a pool still has to do for this video, by its name.
        seen: What each worker of a pool was when it last did one, by its name.
        open_segments: Segments that are begun and do not count yet.
        retries: Segments that were begun again.
        failures: Segments that were given up, each in one line.
        notes: What the source had to repair or leave out.
        cuts: First frames of the shots after the first.
        waits_s: For so long a segment has waited for processes of its lane.
        beat: Changes as long as the coordinator is alive and not stuck.
        is_of_lanes: Whether what failed is what lanes do: to read, to remember or to write.
        error: What ended the video as a whole, or None.
    """

    num_frames: int = 0
    frames_done: int = 0
    frames_resumed: int = 0
    stages: dict[str, StageCount] = field(default_factory=dict)
    lanes: frozenset[str] = frozenset()
    loads: dict[str, int] = field(default_factory=dict)
    seen: dict[str, Sighting] = field(default_factory=dict)
    open_segments: int = 0
    retries: int = 0
    failures: list[str] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    cuts: Sequence[int] = ()
    waits_s: float = 0.0
    beat: int = 0
    is_of_lanes: bool = False
    error: Exception | None = None

    @property
    def is_of_nodes(self) -> bool:
        """Whether other nodes may do better: who has written a segment has the disks it needs."""
        return self.is_of_lanes and self.frames_done == self.frames_resumed

    @property
    def lacks_frames(self) -> bool:
        """Whether frames are missing, or nobody knows yet how many there are."""
        return not self.num_frames or self.frames_done < self.num_frames

    @property
    def chunks(self) -> int:
        """Chunks that are on their way."""
        return sum(count.queued for count in self.stages.values())


@dataclass(frozen=True, slots=True)
class Staffing:
    """Who works in the pools.

    Attributes:
        pools: The replicas of each stateless stage, by name of the stage.
        lost: Workers of which nothing more will come: their nodes are gone.
    """

    pools: dict[str, list[Worker]]
    lost: frozenset[str] = frozenset()

    @property
    def names(self) -> frozenset[str]:
        """Who works in them."""
        return frozenset(worker.name for pool in self.pools.values() for worker in pool)


@dataclass(frozen=True, slots=True)
class Others:
    """What the other videos of the job ask of the pools, as of late.

    Attributes:
        abreast: Videos that run, this one included.
        loads: Frames that each worker has to do for the others, by its name.
        chunks: Chunks of the others that are on their way.
        seen_at: When any video was last given a chunk back by each worker, by its name.
    """

    abreast: int = 1
    loads: dict[str, int] = field(default_factory=dict)
    chunks: int = 0
    seen_at: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Leg:
    """One stage of a chunk's way.

    Attributes:
        stage: Its name.
        worker: Who does it.
        done: The small report that says it is done.
        is_stalled: It took too long, and its process was ended.
    """

    stage: str
    worker: Worker
    done: Ref
    is_stalled: bool = False


@dataclass(slots=True)
class Flight:
    """A chunk on its way.

    Attributes:
        chunk: Which.
        legs: Those that are not known to be over.
        waits_since: When it came to the first of them.
        num_bytes: What it holds there.
    """

    chunk: Chunk
    legs: deque[Leg]
    waits_since: float
    num_bytes: int = 0


@dataclass(slots=True)
class OpenSegment:
    """A segment that is being computed on a lane.

    Attributes:
        segment: Which.
        lane: Where.
        origin: Names the run of the video, of which no two are alike.
        attempt: How often it was begun before.
        failed: How often it failed by itself.
        lost: How often processes or nodes died under it.
        avoided: Nodes whose lanes failed it.
        sent: The chunk that was sent last; None before the first.
        flights: The chunks on their way, in order.
        beginning: Calls that begin the attempt, until they are answered.
        asked_at: When these were made, or when something was done to have them answered.
        source: The source that they were given.
        left_behind: What earlier attempts had reached when they were given up, until one begins.
        begin_at: When to try to begin it, if it has not been tried.
        waits_since: From when on the attempt has waited for its processes.
        moved_at: When something was last done.
        commit: Its commit, from when all of it is written until it counts.
    """

    segment: Segment
    lane: Lane
    origin: str = ""
    attempt: int = 0
    failed: int = 0
    lost: int = 0
    avoided: set[str] = field(default_factory=set)
    sent: Chunk | None = None
    flights: deque[Flight] = field(default_factory=deque)
    beginning: list[Ref] = field(default_factory=list)
    has_begun: bool = False
    asked_at: float = 0.0
    source: Ref = None
    left_behind: list[Leg] = field(default_factory=list)
    begin_at: float = 0.0
    waits_since: float = 0.0
    moved_at: float = 0.0
    commit: Future[Any] | None = None

    def waited_s(self, now: float) -> float:
        """For how long the attempt has waited for its processes; 0 once it has begun."""
        return 0.0 if self.has_begun else max(0.0, now - self.waits_since)

    @property
    def frames_left(self) -> int:
        """Frames that were not sent yet, halo included."""
        first = self.segment.halo_first if self.sent is None else self.sent.stop
        return self.segment.taken_stop - first

    @property
    def token(self) -> str:
        """Names this attempt: calls of earlier ones are refused by it."""
        return f"{self.origin} segment {self.segment.index}, attempt {self.attempt}"
