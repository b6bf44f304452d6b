"""How a run of the command ends: streams, summary, signals and exit codes."""

import errno
import json
import signal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from command import (
    FakeRun,
    error_of,
    in_a_process,
    interpreter,
)

from operators.errors import ModelError
from pipeline import cli
from pipeline.errors import HyperConError, InputError, ResourceError, UsageError
from pipeline.progress import Progress, SilentProgress
from pipeline.report import RunReport
from pipeline.tally import JobState, StageRate

pytestmark = pytest.mark.usefixtures("process_as_it_was")


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (RuntimeError("broken\ninside"), 1),
        (HyperConError("x"), 1),
        (UsageError("x"), 2),
        (InputError("x"), 4),
        (ModelError("x"), 5),
        (ResourceError("x"), 6),
        (MemoryError(), 6),
        (OSError(errno.ENOSPC, "No space left on device"), 6),
        (KeyboardInterrupt(), 130),
    ],
    ids=repr,
)
def test_what_fails_inside_a_run_is_one_line_and_its_exit_code(
    error: BaseException,
    exit_code: int,
    fake_run: FakeRun,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    fake_run.error = error
    summary = tmp_path / "summary.json"

    assert cli.main(["run", "a", "b.mp4", "--summary", str(summary)]) == exit_code

    if exit_code != 130:
        message = error_of(capsys)
        written = json.loads(summary.read_text())
        assert written["status"] == "failed"
        assert written["exit_code"] == exit_code
        assert " ".join(written["error"].split()) == message


def test_the_terminal_is_given_back_when_a_run_fails(
    fake_run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished: list[bool] = []

    class Watched(SilentProgress):
        def finish(self) -> None:
            finished.append(True)

    def make_progress(**_: bool) -> Progress:
        return Watched()

    monkeypatch.setattr(cli, "make_progress", make_progress)
    fake_run.error = InputError("x")

    assert cli.main(["run", "a", "b.mp4"]) == 4

    assert finished == [True]


def test_the_summary_of_a_run_that_failed_says_how_far_it_came(
    fake_run: FakeRun, tmp_path: Path
) -> None:
    path = tmp_path / "summary.json"
    stage = StageRate("translate", 7, 3.5, 0.9, 2, queued=1, queue_age_s=0.5)
    fake_run.states = [JobState(num_frames=20), JobState(6, 20, elapsed_s=2.5, stages=(stage,))]
    fake_run.error = ResourceError("x")

    assert cli.main(["run", "a", "b.mp4", "--no-progress", "--summary", str(path)]) == 6

    assert json.loads(path.read_text()) == {
        "status": "failed",
        "exit_code": 6,
        "error": "x",
        "num_frames": 20,
        "frames_done": 6,
        "wall_s": 2.5,
        "stages": [
            {
                "name": "translate",
                "frames": 7,
                "fps": 3.5,
                "busy_share": 0.9,
                "workers": 2,
                "queued": 1,
                "queue_age_s": 0.5,
            }
        ],
    }


def test_the_summary_holds_the_report(fake_run: FakeRun, tmp_path: Path) -> None:
    summary = tmp_path / "summary.json"

    assert cli.main(["run", "a", "b.mp4", "--summary", str(summary)]) == 0

    written = json.loads(summary.read_text())
    assert (written["status"], written["exit_code"]) == ("done", 0)
    assert written | fake_run_report() == written


FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")


@needs_full
@pytest.mark.usefixtures("fake_run")
def test_a_summary_that_does_not_fit_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "a", "b.mp4", "--summary", str(FULL)]) == 6

    assert error_of(capsys) == (
        "summary /dev/full must fit on its disk, got No space left on device"
    )


@pytest.mark.usefixtures("fake_run")
def test_a_summary_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)

    assert cli.main(["run", "a", "b.mp4", "--summary", str(loop)]) == 2

    message = error_of(capsys)
    assert message.startswith(f"--summary must name a file that can be written, got {loop}: ")


@needs_full
def test_a_run_that_fails_is_told_after_its_summary(
    fake_run: FakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_run.error = InputError("in.mp4: broken")

    assert cli.main(["run", "a", "b.mp4", "--summary", str(FULL)]) == 4

    warning, error = capsys.readouterr().err.splitlines()
    assert warning.startswith("hypercon: warning: summary /dev/full must fit")
    assert error == "hypercon: error: in.mp4: broken"


def test_the_logger_has_the_name_of_the_module_however_it_is_started(tmp_path: Path) -> None:
    process = in_a_process("run", str(tmp_path / "absent.mp4"), "o.mp4", "--log-format", "json")

    _, err = process.communicate()

    assert json.loads(err)["logger"] == "pipeline.cli"


def fake_run_report() -> dict[str, Any]:
    return RunReport(frames_in=3, frames_out=3, wall_s=1.5).to_dict()


def test_log_lines_are_json_when_asked_for(
    fake_run: FakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_run.error = InputError("in.mp4: broken")

    assert cli.main(["run", "in.mp4", "b.mp4", "--log-format", "json"]) == 4

    out, err = capsys.readouterr()
    line = json.loads(err)
    assert out == ""
    assert (line["level"], line["message"], line["exit_code"]) == ("error", "in.mp4: broken", 4)


def test_the_last_json_line_holds_the_report(
    fake_run: FakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "in.mp4", "b.mp4", "--log-format", "json"]) == 0

    line = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert (line["event"], line["video"]) == ("report", "in.mp4")
    assert (line["frames_out"], line["wall_s"], line["fps"]) == (3, 1.5, 2.0)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three small images, each different."""
    folder = tmp_path / "images"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(3):
        image = generator.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), image)
    return folder


def test_a_real_run_frame_by_frame_changes_nothing(images: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    words = ["--method", "framewise", "--model", "identity", "--device", "cpu", "--no-progress"]

    assert cli.main(["run", str(images), str(output), *words]) == 0

    assert sorted(path.name for path in output.iterdir()) == ["00000.png", "00001.png", "00002.png"]
    for number in range(3):
        written = cv2.imread(str(output / f"{number:05}.png"))
        assert np.array_equal(written, cv2.imread(str(images / f"{number}.png")))


@pytest.mark.parametrize(
    ("words", "exit_code", "message"),
    [
        ("--model absent.onnx", 5, "absent.onnx"),
        ("--flow no-such-flow", 5, "no-such-flow"),
        ("--interpolator no-such-one", 5, "no-such-one"),
        ("--start 3", 4, "images"),
    ],
)
def test_a_real_run_that_cannot_be_done_says_why_and_leaves_nothing(
    words: str,
    exit_code: int,
    message: str,
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "out"

    code = cli.main(["run", str(images), str(output), "--device", "cpu", *words.split()])

    assert message in error_of(capsys)
    assert code == exit_code
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_signal_handlers_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    during: list[object] = []

    def remember(*_: object) -> RunReport:
        during.append(signal.getsignal(signal.SIGTERM))
        return RunReport()

    monkeypatch.setattr(cli, "execute", remember)
    assert cli.main(["run", "a", "b.mp4"]) == 0

    assert during not in ([], [before])
    assert signal.getsignal(signal.SIGTERM) is before


SLOW_RUN = """
import sys, time
from pathlib import Path
from pipeline import cli
def execute(config, source, sink, progress):
    try:
        Path(sink).touch()
        print("ready", flush=True)
        time.sleep(60)
    finally:
        Path(sink).unlink()
cli.execute = execute
sys.exit(cli.main(["run", "a", sys.argv[1], "--summary", sys.argv[1] + ".json"]))
"""


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_cleans_up_and_has_its_exit_code(
    number: signal.Signals, exit_code: int, tmp_path: Path
) -> None:
    output = tmp_path / "out.mp4"
    process = interpreter(SLOW_RUN.replace("sys.argv[1]", repr(str(output))))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert output.exists()

    process.send_signal(number)
    _, err = process.communicate()

    assert process.returncode == exit_code
    assert err == "hypercon: error: interrupted; the same command again goes on where it stopped\n"
    assert not output.exists()
    assert json.loads((tmp_path / "out.mp4.json").read_text())["exit_code"] == exit_code
