"""The doctor on a healthy machine, and on machines that are broken on purpose."""

import importlib
import json
import logging
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from pipeline import cli, doctor
from pipeline.doctor import Check, can_run, examine, lines
from pipeline.io.hardware import device_refusal


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    handlers = logging.getLogger().handlers[:]
    yield
    logging.getLogger().handlers[:] = handlers


def found(name: str) -> Check:
    (check,) = [check for check in examine() if check.name == name]
    return check


def without(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """Make a package impossible to import, as where it is not installed."""
    real = importlib.import_module

    def refuse(name: str) -> ModuleType:
        if name.partition(".")[0] == missing:
            msg = f"No module named {missing!r}"
            raise ModuleNotFoundError(msg)
        return real(name)

    monkeypatch.setattr(importlib, "import_module", refuse)


def test_where_the_tests_run_the_default_pipeline_can_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["doctor"]) == 0

    assert capsys.readouterr().out.endswith("\nthe default pipeline can run on this machine\n")


@pytest.mark.parametrize(
    ("package", "check"),
    [
        ("torch", "torch"),
        ("onnxruntime", "onnxruntime"),
        ("cv2", "OpenCV DIS flow"),
        ("av", "PyAV"),
    ],
)
def test_a_missing_package_is_told_and_is_exit_code_one(
    package: str, check: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without(monkeypatch, package)

    assert cli.main(["doctor", "--log-format", "json"]) == 1

    checks = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert not checks[check]["is_ok"]
    assert checks[check]["detail"] == f"ModuleNotFoundError: No module named '{package}'"
    assert checks["Python"]["is_ok"]


def test_flow_that_does_not_find_the_motion_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    cv2 = importlib.import_module("cv2")

    class Blind:
        def calc(self, first: Any, second: Any, flow: Any) -> Any:
            del second, flow
            return importlib.import_module("numpy").zeros((*first.shape, 2))

    class Factory:
        @staticmethod
        def create(preset: int) -> Blind:
            del preset
            return Blind()

    assert found("OpenCV DIS flow").is_ok
    monkeypatch.setattr(cv2, "DISOpticalFlow", Factory)
    check = found("OpenCV DIS flow")
    assert not check.is_ok
    assert check.detail.endswith("finds 0.00 pixels for a motion of 3")


@pytest.mark.skipif(device_refusal() is None, reason="there may be a card that encodes")
def test_what_needs_a_graphics_card_is_missing_where_there_is_none() -> None:
    encoder, decoding = found("encoder h264_nvenc"), found("decoding on a GPU")

    assert not encoder.is_ok
    assert encoder.detail.startswith("in this build of FFmpeg, but no card: ")
    assert not decoding.is_ok
    assert not any(check.is_required for check in (encoder, decoding))
    assert found("encoder ffv1").is_ok


def test_an_encoder_that_ffmpeg_lacks_is_missing() -> None:
    assert doctor._encoder("libx264")
    with pytest.raises(doctor.MissingError, match=r"^not in this build of FFmpeg$"):
        doctor._encoder("no_such_encoder")


def test_little_memory_or_disk_is_said_with_both_numbers() -> None:
    gibibyte = 2**30

    assert doctor._enough(3 * gibibyte, 2 * gibibyte) == "3.0 GiB"
    with pytest.raises(doctor.MissingError, match=r"^0\.5 GiB; less than 2 GiB$"):
        doctor._enough(gibibyte // 2, 2 * gibibyte)


def test_only_what_is_required_stops_the_default_pipeline() -> None:
    required = Check("a", is_ok=True, is_required=True, detail="1.0", why="x")
    optional = Check("b", is_ok=False, is_required=False, detail="none", why="speed")
    broken = Check("c", is_ok=False, is_required=True, detail="none", why="all")

    assert can_run([required, optional])
    assert not can_run([required, broken])
    assert lines([required, optional, broken]) == [
        "ok       a  1.0",
        "missing  b  none  needed for: speed",
        "MISSING  c  none  needed for: all",
        "",
        "the default pipeline cannot run on this machine",
    ]
