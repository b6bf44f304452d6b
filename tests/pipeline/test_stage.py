"""What a pipeline is made of, and what is refused before anything runs."""

from dataclasses import dataclass
from fractions import Fraction

import pytest
import torch
from streams import ListSink, ListSource

from operators.frame import Frame, FramePair, Interval
from operators.translate import Translate
from pipeline.recipes import blind_consistency, hypercon
from pipeline.stage import Pipeline, Resources, Stage, ahead_of, halo_of, overlap_of


@dataclass
class Idle:
    """An operator that is never run."""

    takes: type = Frame
    is_stateful: bool = False
    reach: int | None = 0

    def setup(self, device: torch.device) -> None: ...
    def process(self, item: Frame) -> list[Frame]: ...
    def flush(self) -> list[Frame]: ...
    def close(self) -> None: ...


def pipeline(*stages: object) -> Pipeline:
    return Pipeline(ListSource([]), list(stages), ListSink())


def test_an_operator_becomes_a_stage_named_after_its_class() -> None:
    (stage,) = pipeline(Idle()).stages

    assert stage.name == "idle"


def test_a_function_becomes_a_translation() -> None:
    (stage,) = pipeline(lambda images: 1 - images).stages

    assert (stage.name, type(stage.operator)) == ("translate", Translate)


def test_a_stage_is_taken_as_it_is() -> None:
    stage = Stage(Idle(), "mine", Resources(replicas=3))

    assert pipeline(stage).stages == (stage,)


def test_what_is_no_operator_is_refused_in_words() -> None:
    with pytest.raises(TypeError, match="a stage must be a Stage, an operator or a function"):
        pipeline(3)


def test_a_stage_around_what_is_no_operator_is_refused_in_words() -> None:
    with pytest.raises(TypeError, match=r"stage 'mine' must hold an operator \(.*\), got function"):
        Stage(lambda images: images, "mine")  # type: ignore[arg-type] # the mistake under test


def test_two_stages_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="stage names must be unique, got 'idle' more than once"):
        pipeline(Idle(), Idle())


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"replicas": 0}, "replicas must be at least 1, got 0"),
        ({"num_cpus": -1}, "num_cpus must be at least 0, got -1"),
        ({"num_gpus": -0.5}, "num_gpus must be at least 0, got -0.5"),
    ],
)
def test_resources_that_make_no_sense_are_refused(wishes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Resources(**wishes)


def test_the_halo_of_a_chain_is_the_sum_of_its_reaches() -> None:
    assert halo_of([]) == 0
    assert halo_of([Stage(Idle(reach=n), str(n)) for n in (2, 0, 3)]) == 5


def test_one_stage_that_needs_the_whole_shot_makes_the_chain_need_it() -> None:
    assert halo_of([Stage(Idle(reach=reach), str(reach)) for reach in (2, None, 3)]) is None
    assert halo_of(blind_consistency("identity")) is None


@pytest.mark.parametrize("insert", [0, 1, 3])
@pytest.mark.parametrize("radius", [0, 1, 2, 5])
@pytest.mark.parametrize("dilation", [1, 2])
def test_the_halo_of_the_method_is_what_changes_an_output(
    insert: int, radius: int, dilation: int
) -> None:
    """Window positions reach ``dilation * radius`` dense steps, of which a frame is one stride."""
    stages = hypercon("identity", insert=insert, radius=radius, dilation=dilation)

    furthest = Fraction(dilation * radius, insert + 1)
    halo = halo_of(stages)

    assert halo is not None
    # Whoever reads inserted frames reads the frame after them too.
    assert furthest <= halo <= furthest + 1
    # Inserted frames belong to the frame before them.
    assert ahead_of(stages) <= furthest < ahead_of(stages) + 1


def test_a_chain_works_on_all_that_it_reaches_unless_a_stage_says_less() -> None:
    class Early(Idle):
        ahead = 1

    assert ahead_of([Stage(Idle(reach=2), "a"), Stage(Early(reach=3), "b")]) == 3
    assert ahead_of([Stage(Early(reach=3), "a"), Stage(Idle(reach=None), "b")]) == 0


def test_chunks_overlap_by_a_frame_only_where_pairs_are_read() -> None:
    assert overlap_of([Stage(Idle(), "a"), Stage(Idle(Interval), "b")]) == 0
    assert overlap_of(hypercon("identity")) == 1
    assert overlap_of([Stage(Idle(Interval), "a"), Stage(Idle(FramePair), "b")]) == 1


def test_pairs_behind_what_remembers_are_refused_in_words() -> None:
    chain = [Stage(Idle(is_stateful=True), "before"), Stage(Idle(FramePair), "pairs")]

    with pytest.raises(
        ValueError, match="stage 'pairs' must come before the stateful stage 'before'"
    ):
        overlap_of(chain)
