"""What a run did: counts, times, and what follows from them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

# The stage that a run's efficiency is measured by.
TRANSLATE = "translate"
# Of a video with more cuts, the report tells the first.
MOST_CUTS = 100


@dataclass(slots=True)
class StageReport:
    """What one stage did.

    Attributes:
        name: Of the stage.
        frames: Frames that it took; those of halos and of attempts that failed later are among
            them.
        busy_s: Seconds that its workers worked, together.
        workers: Processes that shared its work: where their number changed, its mean over the
            run; where videos share them at the same time, the part of this one.
    """

    name: str
    frames: int = 0
    busy_s: float = 0.0
    workers: float = 1.0

    @property
    def fps(self) -> float | None:
        """Frames a second that the stage takes alone, all workers working all the time.

        This is ``workers * frames / busy_s``; None if it did not work.
        """
        return self.workers * self.frames / self.busy_s if self.frames and self.busy_s else None


@dataclass(slots=True)
class RunReport:
    """What a run did.

    Attributes:
        frames_in: Frames that the source gave.
        frames_out: Frames of the output.
        frames_resumed: Of these, what an earlier run had made.
        retries: Segments that were begun again.
        shots: Shots of the video.
        cuts: First frames of the shots after the first; of many, the first 100.
        notes: What was repaired or is missing in the source, a line each.
        wall_s: Seconds from the first look at the input to the finished output.
        setup_s: Seconds that loading models took, in ``wall_s``.
        wire_s: Seconds that packing and unpacking between stages took, in ``wall_s``.
        stages: One report for each stage, the reading and the writing included.
    """

    frames_in: int = 0
    frames_out: int = 0
    frames_resumed: int = 0
    retries: int = 0
    shots: int = 1
    cuts: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    wall_s: float = 0.0
    setup_s: float = 0.0
    wire_s: float = 0.0
    stages: list[StageReport] = field(default_factory=list)

    @property
    def busy_s(self) -> float:
        """Seconds that the stages worked, together."""
        return sum(stage.busy_s for stage in self.stages)

    @property
    def run_s(self) -> float:
        """Seconds of the run without set-up."""
        return self.wall_s - self.setup_s

    @property
    def overhead(self) -> float:
        """What running cost beyond the work of the stages, as a share of that work."""
        return self.run_s / self.busy_s - 1.0 if self.busy_s else 0.0

    @property
    def fps(self) -> float | None:
        """New frames of the output a second, set-up not counted; None if there are none.

        What an earlier run had made is not new.
        """
        new_frames = self.frames_out - self.frames_resumed
        return new_frames / self.run_s if new_frames and self.run_s > 0 else None

    @property
    def efficiency(self) -> float | None:
        """``fps`` over what the translator alone would have reached with the same workers.

        The translator's own rate is that of this run: the frames that it took, over the seconds
        that its workers worked, times their number. 1 means that they never waited, for anything,
        and that no frame was translated twice: waiting for other stages, the start and the end of
        the video, halos of segments and failed attempts all lower it. What an earlier run had
        made counts neither above nor below the line. None if nothing was translated.
        """
        alone = next((stage.fps for stage in self.stages if stage.name == TRANSLATE), None)
        return self.fps / alone if self.fps and alone else None

    @property
    def bottleneck(self) -> str | None:
        """The stage that was busy for the largest part of its time, of equals the later."""
        worked = [stage for stage in self.stages if stage.busy_s > 0]
        # Of equals, max takes the first that it meets.
        return max(reversed(worked), key=self.busy_share).name if worked else None

    def busy_share(self, stage: StageReport) -> float:
        """Part of the run in which the workers of a stage worked, 0 to 1."""
        available_s = stage.workers * self.run_s
        return stage.busy_s / available_s if available_s > 0 else 0.0

    def tell_cuts(self, cuts: Sequence[int]) -> None:
        """Take note of the shots: the first frame of each but the first."""
        self.shots = len(cuts) + 1
        self.cuts = list(cuts[:MOST_CUTS])

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        stages = [
            asdict(stage) | {"fps": stage.fps, "busy_share": self.busy_share(stage)}
            for stage in self.stages
        ]
        return asdict(self) | {
            "stages": stages,
            "busy_s": self.busy_s,
            "overhead": self.overhead,
            "fps": self.fps,
            "efficiency": self.efficiency,
            "bottleneck": self.bottleneck,
        }
