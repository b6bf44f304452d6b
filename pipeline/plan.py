"""What a run will do and what it will hold in memory, from the arithmetic alone."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

from operators.timeline import Demand, Timeline, demand, segment_length
from pipeline.config import RECURRENT_METHODS, Config
from pipeline.plan_memory import (
    BOTH_WAYS,
    VINET_LOOK_AHEAD,
    MemoryTerm,
    aligns_exactly,
    flows_per_sample,
    held_terms,
    shares_flows,
    total_bytes,
    travelling_terms,
)
from pipeline.table import aligned

if TYPE_CHECKING:
    # With it comes torch, which would make every command slow to start.
    from pipeline.io.endpoint import StreamInfo

# What is counted where the container does not tell its number of frames.
SAMPLE_FRAMES = 100


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A stage and its share of the work.

    Attributes:
        name: Of the stage.
        what: What it runs.
        where: The device.
        work: How much, in words.
    """

    name: str
    what: str
    where: str
    work: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The work and the memory of a run.

    Attributes:
        method: As the configuration has it.
        width: Of the frames, in pixels.
        height: Of the frames, in pixels.
        num_frames: Frames of the input, or None where the container does not say.
        counted_frames: Frames that the counts are for: all, or a sample where that is unknown.
        timeline: The windows.
        work: Frames that are interpolated and translated, pairs whose flow is computed.
        pair_flows: Flows between consecutive frames, each direction counted.
        window_flows: Flows from a reference to a neighbour, for exact alignment.
        segment_length: Frames of a segment.
        num_segments: Segments, if the video has one shot.
        cuts: Where cuts of the scene are known from, in words.
        stages: From the reading to the writing.
        memory: What is held between stages, beside the models themselves.
        travelling: What is on its way between processes on Ray, for each replica of a pool.
        warnings: What the user should know before running this.
    """

    method: str
    width: int
    height: int
    num_frames: int | None
    counted_frames: int
    timeline: Timeline
    work: Demand
    pair_flows: int
    window_flows: int
    segment_length: int
    num_segments: int
    cuts: str
    stages: tuple[PlannedStage, ...]
    memory: tuple[MemoryTerm, ...]
    travelling: tuple[MemoryTerm, ...]
    warnings: tuple[str, ...]

    @property
    def num_bytes(self) -> int:
        """The bound: the sum of what is held."""
        return total_bytes(self.memory)

    @property
    def look_ahead(self) -> int:
        """Frames that are read before the first one comes out, beside that one."""
        return VINET_LOOK_AHEAD if self.method == "vinet" else self.timeline.halo

    @property
    def window_size(self) -> int:
        """Images that a whole window pools."""
        return len(self.timeline.offsets)

    @property
    def share_read(self) -> float:
        """Share of the dense timeline that some window reads."""
        return len(self.timeline.residues) / self.timeline.stride

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        timeline = self.timeline
        return {
            "method": self.method,
            "width": self.width,
            "height": self.height,
            "num_frames": self.num_frames,
            "counted_frames": self.counted_frames,
            "timeline": asdict(timeline)
            | {
                "stride": timeline.stride,
                "residues": list(timeline.residues),
                "share_read": self.share_read,
                "window_size": self.window_size,
                "halo": timeline.halo,
                "look_ahead": self.look_ahead,
                "ring_size": timeline.ring_size,
            },
            "counts": {
                "frames_in": self.counted_frames,
                "frames_out": self.counted_frames,
                "interpolated": self.work.interpolated,
                "translated": self.work.translated,
                "translated_without_demand": self.work.translated_without_demand,
                "pair_flows": self.pair_flows,
                "window_flows": self.window_flows,
            },
            "segments": {"length": self.segment_length, "number": self.num_segments},
            "cuts": self.cuts,
            "stages": [asdict(stage) for stage in self.stages],
            "memory": _facts_of(self.memory),
            "on_the_way_for_each_replica": _facts_of(self.travelling),
            "warnings": list(self.warnings),
        }

    def lines(self) -> list[str]:
        """The plan for people."""
        known = "frames" if self.num_frames is not None else "frames (as many as there are)"
        number = "" if self.num_frames is None else f"{self.num_frames} "
        sample = "" if self.num_frames is not None else f", per {self.counted_frames} frames"
        return [
            f"{self.method}: {number}{known} of {self.width}x{self.height}",
            "",
            *aligned(
                [(f"stage{sample}", "what", "where", "work")]
                + [(s.name, s.what, s.where, s.work) for s in self.stages]
            ),
            "",
            *aligned(self._timeline_rows()),
            "",
            "held in memory, beside the models, for three channels out and scale 1:",
            *aligned(_rows_of(self.memory)),
            "",
            "on the way between processes on Ray at most, for each replica:",
            *aligned(_rows_of(self.travelling)),
        ]

    def _timeline_rows(self) -> list[tuple[str, str]]:
        timeline = self.timeline
        read = ", ".join(str(residue) for residue in timeline.residues)
        return [
            ("stride", f"{timeline.stride} (i = {timeline.insert} inserted)"),
            (
                "window",
                f"{self.window_size} images (γ = {timeline.radius}, d = {timeline.dilation})",
            ),
            (
                "positions read",
                f"{read} of each {timeline.stride}: {self.share_read:.0%} of the dense timeline",
            ),
            ("halo, look-ahead", self._reach()),
            ("ring buffer", f"{timeline.ring_size} intervals of {len(timeline.residues)} images"),
            ("segments", f"{self.num_segments} of {self.segment_length} frames, for one shot"),
            ("cuts", self.cuts),
        ]

    def _reach(self) -> str:
        if self.method in RECURRENT_METHODS:
            return f"the whole shot, {self.look_ahead} frames"
        return f"{self.timeline.halo} frames"


def _facts_of(terms: tuple[MemoryTerm, ...]) -> dict[str, Any]:
    facts = [
        {
            "name": term.name,
            "formula": term.formula,
            "numbers": term.numbers,
            "bytes": term.num_bytes,
        }
        for term in terms
    ]
    return {"bytes": total_bytes(terms), "terms": facts}


def _rows_of(terms: tuple[MemoryTerm, ...]) -> list[tuple[str, str, str]]:
    rows = [
        (f"  {term.name}", f"{term.formula} = {term.numbers}", _mebibytes(term.num_bytes))
        for term in terms
    ]
    return [*rows, ("  together", "", _mebibytes(total_bytes(terms)))]


def _mebibytes(num_bytes: int) -> str:
    return f"{num_bytes / 2**20:.1f} MiB"


def plan(config: Config, info: "StreamInfo", *, interpolator_reads_flow: bool = True) -> Plan:
    """Count the work and bound the memory of a run; nothing is run.

    Args:
        config: What to do.
        info: What is known of the input.
        interpolator_reads_flow: What the interpolator declares of itself.
    """
    timeline = config.timeline
    counted = SAMPLE_FRAMES if info.num_frames is None else info.num_frames
    work = demand(timeline, counted)
    inserts = len(timeline.residues) > 1
    needs_pairs = shares_flows(config) or (inserts and interpolator_reads_flow)
    pair_flows = BOTH_WAYS * work.pair_flows if needs_pairs else 0
    window_flows = work.window_samples * flows_per_sample(config) if aligns_exactly(config) else 0
    # What remembers the whole shot keeps it in one segment.
    is_recurrent = config.method in RECURRENT_METHODS
    wanted = config.run.segment_frames or segment_length(timeline.halo)
    length = max(1, counted) if is_recurrent else wanted
    return Plan(
        method=config.method,
        width=info.width,
        height=info.height,
        num_frames=info.num_frames,
        counted_frames=counted,
        timeline=timeline,
        work=work,
        pair_flows=pair_flows,
        window_flows=window_flows,
        segment_length=length,
        num_segments=ceil(counted / length),
        cuts=_cuts(config),
        stages=_stages(config, counted, work, pair_flows, window_flows),
        memory=held_terms(config, info),
        travelling=travelling_terms(config, info),
        warnings=tuple(warnings(config)),
    )


def warnings(config: Config) -> Iterable[str]:
    """What the user should know before running this."""
    if config.method == "vinet" and config.mask.path is None:
        yield "vinet fills masked videos: --mask must be given, or the run is refused"
    timeline = config.timeline
    if timeline.interpolation_is_idle:
        neighbours = (
            f"every window reads original frames only (dilation {timeline.dilation} is a multiple "
            f"of the stride {timeline.stride})"
            if timeline.radius
            else "the windows have no neighbours (radius 0)"
        )
        yield f"interpolation contributes nothing: {neighbours}"


def _cuts(config: Config) -> str:
    if config.shots.file is not None:
        return f"as {config.shots.file} says"
    if not config.reads_neighbours:
        return "not looked for: no frame depends on another"
    if not config.shots.detect:
        return "not looked for: the input is taken for one shot"
    return "looked for first: the input is decoded once more"


def _stages(
    config: Config, counted: int, work: Demand, pair_flows: int, window_flows: int
) -> tuple[PlannedStage, ...]:
    device = config.run.device
    flow = config.interpolate.flow
    reading = PlannedStage("decode", "video or images", "cpu", f"{counted} frames")
    codec = config.output.codec or "by container"
    writing = PlannedStage("encode", codec, "cpu", f"{counted} frames")
    if config.method == "vinet":
        painting = PlannedStage("inpaint", config.translate.model, device, f"{counted} frames")
        return (reading, painting, writing)
    steadying = PlannedStage("consistency", "lai", device, f"{max(0, counted - 1)} frames")
    makers = [
        *([config.interpolate.interpolator] if work.interpolated else []),
        *([f"{flow} flow"] if pair_flows else []),
    ]
    made = f"{work.interpolated} frames, {pair_flows} flows"
    saved = f"{work.translated} frames; {work.translated_without_demand} without demand"
    pooling = f"{config.aggregate.pool}, {config.aggregate.alignment}"
    if window_flows:
        pooling += f", {flow} flow on {config.aggregate.flow_on} frames"
    return (
        reading,
        PlannedStage("interpolate", ", ".join(makers) or "nothing to do", device, made),
        PlannedStage("translate", config.translate.model, device, saved),
        PlannedStage(
            "aggregate",
            pooling if config.timeline.radius else "nothing to pool",
            device,
            f"{work.window_samples} neighbours, {window_flows} flows",
        ),
        *([steadying] if config.method == "blind-consistency" else []),
        writing,
    )
