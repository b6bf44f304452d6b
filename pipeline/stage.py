"""What a pipeline is: a source, stages in order, a sink."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from operators.base import Operator
from operators.frame import FramePair
from operators.translate import Translate
from operators.translators.load import load_translator
from pipeline.bounds import Bounds
from pipeline.io.cuts import Cuts
from pipeline.io.endpoint import Sink, Source
from pipeline.wire import Wire


@dataclass(frozen=True, slots=True)
class Resources:
    """What a stage takes on a cluster. A runner in one process ignores it.

    Attributes:
        replicas: Processes that share the items of a stateless stage: a number, or bounds between
            which the pool grows and shrinks; None lets the runner choose by what the cluster has.
        num_cpus: Processors of one replica; its threads are held to as many. None lets the
            runner choose.
        num_gpus: GPUs of one replica; a fraction shares one. None lets the runner choose: a
            whole one where the cluster has any.
    """

    replicas: int | Bounds | None = None
    num_cpus: float | None = None
    num_gpus: float | None = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.replicas, int) and self.replicas < 1:
            msg = f"replicas must be at least 1, got {self.replicas}"
            raise ValueError(msg)
        for name, value in (("num_cpus", self.num_cpus), ("num_gpus", self.num_gpus)):
            if value is not None and value < 0:
                msg = f"{name} must be at least 0, got {value}"
                raise ValueError(msg)

    @property
    def bounds(self) -> Bounds | None:
        """The fewest and the most replicas; None lets the runner choose."""
        if isinstance(self.replicas, int):
            return Bounds(self.replicas, self.replicas)
        return self.replicas


@dataclass(frozen=True, slots=True)
class Stage:
    """An operator and how it is run.

    Attributes:
        operator: What is done. It is set up by whoever runs it, never before.
        name: What messages and reports call the stage.
        resources: What it takes on a cluster.
    """

    operator: Operator
    name: str
    resources: Resources = Resources()

    def __post_init__(self) -> None:
        given: object = self.operator
        if not isinstance(given, Operator):
            msg = (
                f"stage {self.name!r} must hold an operator (takes, is_stateful, reach, setup, "
                f"process, flush, close), got {type(given).__name__}"
            )
            raise TypeError(msg)


class Pipeline:
    """A source, the stages that its frames go through, and a sink.

    Args:
        source: Where frames come from.
        stages: What is done to them, in order. An operator becomes a stage named after its
            class; a plain function from images to images becomes a translation stage.
        sink: Where frames go.
        wire: Number formats between stages.
        cuts: Knows where new shots begin; stages never see two shots at once. None takes the
            video for one shot.

    Raises:
        TypeError: If a stage is none of these.
        ValueError: If two stages have the same name.
    """

    def __init__(
        self,
        source: Source,
        stages: Sequence[Stage | Operator | Callable[..., Any]],
        sink: Sink,
        wire: Wire | None = None,
        *,
        cuts: Cuts | None = None,
    ) -> None:
        self.source = source
        self.stages = tuple(_as_stage(stage) for stage in stages)
        self.sink = sink
        self.wire = wire or Wire()
        self.cuts = cuts
        repeated = [name for name, n in Counter(s.name for s in self.stages).items() if n > 1]
        if repeated:
            msg = f"stage names must be unique, got {repeated[0]!r} more than once"
            raise ValueError(msg)


def halo_of(stages: Sequence[Stage]) -> int | None:
    """Frames on each side that the outputs of a chain depend on; None for the whole shot."""
    reaches = [stage.operator.reach for stage in stages]
    known = [reach for reach in reaches if reach is not None]
    return sum(known) if len(known) == len(reaches) else None


def ahead_of(stages: Sequence[Stage]) -> int:
    """Frames after their own that outputs of a chain depend on; of shots that are kept whole none.

    The rest of the halo is read, and nothing is made of it.
    """
    ahead = 0
    for stage in stages:
        reach = stage.operator.reach
        if reach is None:
            return 0
        ahead += getattr(stage.operator, "ahead", reach)
    return ahead


def overlap_of(stages: Sequence[Stage]) -> int:
    """Frames that a chunk carries beyond its own: the successor of its last, where pairs are read.

    Raises:
        ValueError: If pairs are read behind a stateful stage, which would see the successor twice,
            or by two stages, of which the second would not see the successor.
    """
    readers = [stage.name for stage in stages if stage.operator.takes is FramePair]
    if len(readers) > 1:
        msg = f"one stage at most must read pairs, got {', '.join(map(repr, readers))}"
        raise ValueError(msg)
    for position, stage in enumerate(stages):
        if stage.operator.takes is FramePair:
            before = [other.name for other in stages[:position] if other.operator.is_stateful]
            if before:
                msg = f"stage {stage.name!r} must come before the stateful stage {before[0]!r}"
                raise ValueError(msg)
            return 1
    return 0


def _as_stage(candidate: object) -> Stage:
    if isinstance(candidate, Stage):
        return candidate
    if isinstance(candidate, Operator):
        return Stage(candidate, type(candidate).__name__.lower())
    if callable(candidate):
        return Stage(Translate(load_translator(candidate)), "translate")
    msg = (
        f"a stage must be a Stage, an operator or a function from images to images, "
        f"got {type(candidate).__name__}"
    )
    raise TypeError(msg)
