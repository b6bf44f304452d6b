"""What log lines look like, and where they go."""

import json
import logging
from datetime import UTC, datetime, timedelta

import pytest

from pipeline import log

pytestmark = pytest.mark.usefixtures("logging_as_it_was")


def test_lines_for_people_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("human")
    logging.getLogger("pipeline.x").info("a %s", "b")
    logging.getLogger("operators.x").warning("first\nsecond")
    logging.getLogger("pipeline.x").error("bad")

    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "hypercon: a b",
        "hypercon: warning: first second",
        "hypercon: error: bad",
    ]


def test_other_libraries_are_heard_only_when_something_is_wrong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log.configure("human")
    logging.getLogger("other").info("chatter")
    logging.getLogger("other").warning("trouble")
    logging.getLogger("pipeline").debug("detail")

    assert capsys.readouterr().err == "hypercon: warning: trouble\n"


def test_json_lines_hold_the_facts(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("json")
    logging.getLogger("pipeline.x").warning("ünï\ncode", extra={log.FACTS: {"frame": 3}})

    (text,) = capsys.readouterr().err.splitlines()
    line = json.loads(text)
    age = datetime.now(UTC) - datetime.fromisoformat(line.pop("time"))
    assert line == {
        "level": "warning",
        "logger": "pipeline.x",
        "message": "ünï code",
        "frame": 3,
    }
    assert timedelta(0) <= age < timedelta(minutes=1)


def test_configuring_again_replaces_what_was_there(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("human")
    log.configure("human")
    logging.getLogger("pipeline").info("once")

    assert capsys.readouterr().err == "hypercon: once\n"


def test_facts_are_shown_where_they_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("json")
    logger = logging.getLogger("pipeline.x")
    logger.info("a", extra=log.facts(video="in.mp4", segment=0, attempt=0, stage="decode"))
    logger.info("b", extra=log.facts(video="in.mp4", frames=[3, 5]))
    logger.info("c", extra=log.facts())

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    always = {"time", "level", "logger", "message"}
    assert [{k: v for k, v in line.items() if k not in always} for line in lines] == [
        {"video": "in.mp4", "segment": 0, "attempt": 0, "stage": "decode"},
        {"video": "in.mp4", "frames": [3, 5]},
        {},
    ]


def test_facts_do_not_show_in_lines_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("human")
    logging.getLogger("pipeline.x").info("a", extra=log.facts(video="in.mp4"))

    assert capsys.readouterr().err == "hypercon: a\n"
