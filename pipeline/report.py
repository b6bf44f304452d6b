"""What a run did: counts and times."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class StageReport:
    """What one stage did.

    Attributes:
        name: Of the stage.
        items: Items that it took.
        busy_s: Seconds it worked.
    """

    name: str
    items: int = 0
    busy_s: float = 0.0


@dataclass(slots=True)
class RunReport:
    """What a run did.

    Attributes:
        frames_in: Frames that the source gave.
        frames_out: Frames of the output.
        frames_resumed: Of these, what an earlier run had made.
        retries: Segments that were begun again.
        wall_s: Seconds from the first look at the input to the finished output.
        setup_s: Seconds that loading models took, in ``wall_s``.
        wire_s: Seconds that packing and unpacking between stages took, in ``wall_s``.
        stages: One report for each stage, the reading and the writing included.
    """

    frames_in: int = 0
    frames_out: int = 0
    frames_resumed: int = 0
    retries: int = 0
    wall_s: float = 0.0
    setup_s: float = 0.0
    wire_s: float = 0.0
    stages: list[StageReport] = field(default_factory=list)

    @property
    def busy_s(self) -> float:
        """Seconds that the stages worked, together."""
        return sum(stage.busy_s for stage in self.stages)

    @property
    def overhead(self) -> float:
        """What running cost beyond the work of the stages, as a share of that work."""
        return (self.wall_s - self.setup_s) / self.busy_s - 1.0 if self.busy_s else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return asdict(self) | {
            "busy_s": self.busy_s,
            "overhead": self.overhead,
            "frames_per_second": self.frames_out / self.wall_s if self.wall_s else 0.0,
        }
