"""How the Ray engine runs; read without importing Ray."""

from dataclasses import dataclass
from typing import Self

from pipeline.config import Config

GIB = 2**30


@dataclass(frozen=True, slots=True)
class RaySettings:
    """How the engine runs.

    Attributes:
        address: Of a cluster; None for ``RAY_ADDRESS``, or else this machine.
        device: Where operators work, as ``choose_device`` reads it.
        segment_frames: Frames of a segment; None for the length that the halo suggests.
        chunk_frames: Frames in a message; None to choose by their size and the workers.
        lanes: Segments that are open at once, of all videos together; None to choose by the
            workers. While one begins or ends, another is computed.
        attempts: How often a segment is begun before it is given up.
        stall_s: Seconds after which an input from which nothing comes is given up, and a process
            without progress is replaced. To the latter is added what starting one and loading its
            models takes.
        start_s: Seconds to wait for the cluster to start all processes and load all models.
        grow_after_s: Age of the work that waits for a pool at which it grows, if it may.
        idle_s: Seconds without work after which a replica is ended, if the pool may shrink.
        worker_bytes: Memory of its own at which a replica is replaced; None for never.
    """

    address: str | None = None
    device: str = "auto"
    segment_frames: int | None = None
    chunk_frames: int | None = None
    lanes: int | None = None
    attempts: int = 3
    stall_s: float = 300.0
    start_s: float = 600.0
    grow_after_s: float = 5.0
    idle_s: float = 60.0
    worker_bytes: float | None = None

    @classmethod
    def of(cls, config: Config) -> Self:
        """What a configuration says of it."""
        run, ray = config.run, config.ray
        return cls(
            address=run.address,
            device=run.device,
            segment_frames=run.segment_frames,
            chunk_frames=ray.chunk_frames,
            lanes=run.lanes,
            attempts=run.attempts,
            stall_s=run.stall_s,
            start_s=ray.start_s,
            grow_after_s=ray.grow_after_s,
            idle_s=ray.idle_s,
            worker_bytes=None if ray.worker_gib is None else ray.worker_gib * GIB,
        )
