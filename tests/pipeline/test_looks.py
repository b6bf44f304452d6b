"""A source is looked through by whichever decoder lives, and what it says is believed."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, RayTaskError

from pipeline import looks
from pipeline.actors import Survey
from pipeline.crew import Lane, Worker
from pipeline.errors import ClusterError, InputError, StandstillError
from pipeline.looks import MOST_LOOKS, Looks

DEAD = ActorDiedError()


class Decoder:
    """A decoder whose answers are scripted, and which counts how often it was asked."""

    def __init__(self, answers: Iterator[Any]) -> None:
        self.answers = answers
        self.asked = 0

    @property
    def survey(self) -> "Decoder":
        return self

    @property
    def find_cuts(self) -> "Decoder":
        return self

    def remote(self, given: Any, _still_s: float) -> Any:
        """What ray.get will give or raise; a survey comes with its source."""
        self.asked += 1
        answer = next(self.answers)
        return (f"source {self.asked}", answer) if given == "source" else answer


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    def get(ref: Any) -> Any:
        if isinstance(ref, Exception):
            raise ref
        return ref

    monkeypatch.setattr(looks.ray, "get", get)
    monkeypatch.setattr(looks.ray, "wait", lambda refs, timeout: (refs, []))
    monkeypatch.setattr(looks.time, "sleep", lambda _: None)


def made(*answers: Any, nodes: str = "aa") -> tuple[Looks, list[Decoder]]:
    script = iter(answers)
    decoders = [Decoder(script) for _ in nodes]
    nobody: Any = Worker("e", "encode", None)
    lanes = [
        Lane(Worker(f"d{n}", "decode", one), {}, nobody, nodes[n]) for n, one in enumerate(decoders)
    ]

    class Job:
        name = "film.mp4"

        class pipeline:  # noqa: N801 - plays an attribute
            source = "source"

    job: Any = Job
    return Looks(job, lambda: lanes, lambda: None, 60.0), decoders


pytestmark = pytest.mark.usefixtures("no_waiting")


def test_a_source_is_looked_through_once_and_its_notes_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    look, decoders = made(Survey(7, ("one timestamp was missing",)))

    with caplog.at_level(logging.WARNING):
        source, survey = look.survey()

    assert (source, survey.num_frames) == ("source 1", 7)
    assert "film.mp4: one timestamp was missing" in caplog.text
    assert [one.asked for one in decoders] == [1, 0]


def test_another_decoder_looks_when_one_dies() -> None:
    look, decoders = made(DEAD, RayTaskError("survey", "", DEAD), Survey(7, ()))

    source, survey = look.survey()

    assert (source, survey.num_frames) == ("source 2", 7)
    assert [one.asked for one in decoders] == [2, 1]


def test_when_decoder_after_decoder_dies_the_video_ends() -> None:
    look, decoders = made(*[DEAD] * MOST_LOOKS)

    with pytest.raises(ClusterError, match=r"film.mp4: the input cannot be looked through: Actor"):
        look.find_cuts()
    assert sum(one.asked for one in decoders) == MOST_LOOKS


def test_what_is_wrong_with_the_input_is_not_looked_for_again() -> None:
    torn = InputError("film.mp4: ends at 12")
    look, decoders = made(RayTaskError("survey", "", torn))

    with pytest.raises(InputError, match="ends at 12"):
        look.survey()
    assert sum(one.asked for one in decoders) == 1


def test_who_gets_nothing_of_the_input_is_ended_and_another_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[Any] = []
    monkeypatch.setattr(looks.ray, "kill", lambda actor, no_restart: ended.append(actor))
    still = RayTaskError("survey", "", StandstillError("film.mp4 must be readable, got nothing"))
    look, decoders = made(still, Survey(7, ()))

    source, survey = look.survey()

    assert (source, survey.num_frames) == ("source 1", 7)
    assert ended == decoders[:1]
    look, decoders = made(still, still)
    with pytest.raises(StandstillError, match="got nothing"):
        look.survey()
    assert ended[1:] == decoders


def test_what_one_node_cannot_read_another_may() -> None:
    gone = RayTaskError("survey", "", InputError("film.mp4 must exist, got no such file"))
    look, decoders = made(gone, Survey(7, ()), nodes="aaba")

    assert look.survey()[1].num_frames == 7
    assert [one.asked for one in decoders] == [1, 0, 1, 0]

    look, decoders = made(gone, gone, nodes="abc")
    with pytest.raises(InputError, match=r"film.mp4 must exist"):
        look.survey()
    assert sum(one.asked for one in decoders) == 2


def test_a_source_without_a_frame_is_refused() -> None:
    look, _ = made(Survey(0, ()))

    with pytest.raises(InputError, match=r"film.mp4: input must have at least one frame, got none"):
        look.survey()
