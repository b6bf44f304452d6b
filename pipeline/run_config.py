"""Where and how a run is computed and watched: keys that say nothing of the method."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from pipeline.values import Device, Group, Level, Name, Natural, Seconds

Engine = Literal["auto", "local", "ray"]
LogFormat = Literal["human", "json"]
Precision = Literal["float32", "float16"]


class RunConfig(Group):
    """Where and how it runs."""

    engine: Engine = Field(
        default="auto",
        description="local is one process; ray is as many as the cluster has; auto is ray where "
        "RAY_ADDRESS names a cluster or this machine has several GPUs.",
    )
    address: Name | None = Field(
        default=None, description="Ray cluster; RAY_ADDRESS by default, or else this machine."
    )
    segment_frames: Natural | None = Field(
        default=None,
        description="Frames of a segment, the unit of resuming; by default as many as make its "
        "overlap cost little.",
    )
    lanes: Natural | None = Field(
        default=None,
        description="Segments that Ray computes at once; by default by the number of workers.",
    )
    attempts: Natural = Field(
        default=3, description="How often Ray begins a segment that fails before it gives up."
    )
    stall_s: Seconds = Field(
        default=300.0,
        description="Seconds without progress after which Ray replaces a process, and after which "
        "an input that does not answer is given up.",
    )
    device: Device = Field(
        default="auto",
        description="Where models run: auto, cpu, cuda or cuda:N.",
    )
    precision: Precision = Field(
        default="float32",
        description="Numbers that networks compute with; float16 needs CUDA and rounds.",
    )
    compile: bool = Field(
        default=False, description="Compile networks first: slow to start, faster on long videos."
    )
    weights: Path | None = Field(
        default=None, description="Folder of weights that is searched instead of the usual ones."
    )
    progress: bool = Field(default=True, description="Show progress.")
    log_format: LogFormat = Field(default="human", description="Log lines for people or as JSON.")
    summary: Path | None = Field(
        default=None, description="Write what was done to this file, as JSON."
    )


class RayConfig(Group):
    """How Ray runs it, beyond what most need to say."""

    chunk_frames: Natural | None = Field(
        default=None,
        description="Frames in a message; by default as their size and the workers suggest.",
    )
    start_s: Seconds = Field(
        default=600.0, description="Seconds to wait for the cluster to start all processes."
    )
    grow_after_s: Seconds = Field(
        default=5.0, description="Age of waiting work at which a pool of MIN:MAX replicas grows."
    )
    idle_s: Seconds = Field(
        default=60.0, description="Seconds without work after which such a pool ends a replica."
    )
    worker_gib: Level | None = Field(
        default=None,
        description="Replace a replica that holds more memory than this, in GiB, as one does that "
        "leaks; by default none is.",
    )
