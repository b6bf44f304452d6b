"""The command as users and schedulers meet it: words, streams and exit codes."""

import errno
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from operators.errors import ModelError
from pipeline import cli
from pipeline.config import Config
from pipeline.errors import HyperConError, InputError, ResourceError, UsageError
from pipeline.io.endpoint import StreamInfo
from pipeline.progress import Progress, SilentProgress
from pipeline.report import RunReport

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def logging_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("HYPERCON_DEBUG", raising=False)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


class FakeRun:
    """Stands for building and running a pipeline, and remembers what it was given."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.calls: list[tuple[Config, Path, Path]] = []
        self.progress: Progress | None = None

    def __call__(self, config: Config, source: Path, sink: Path, progress: Progress) -> RunReport:
        self.calls.append((config, source, sink))
        self.progress = progress
        if self.error is not None:
            raise self.error
        return RunReport(frames_in=3, frames_out=3, wall_s=1.5)

    @property
    def config(self) -> Config:
        return self.calls[-1][0]


@pytest.fixture
def fake_run(monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    fake = FakeRun()
    monkeypatch.setattr(cli, "execute", fake)
    return fake


@pytest.fixture
def seen_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(config: Config, input_path: Path) -> tuple[StreamInfo, bool]:
        del config, input_path
        return StreamInfo(64, 48, Fraction(1, 24), Fraction(24), 12), True

    monkeypatch.setattr(cli, "look", look)


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error; nothing may stand on standard output."""
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    prefix = "hypercon: error: "
    assert line.startswith(prefix)
    return line.removeprefix(prefix)


def test_a_run_is_quiet_and_returns_zero(
    fake_run: FakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "in.mp4", "out.mp4"]) == 0

    assert capsys.readouterr() == ("", "")
    assert fake_run.calls == [(Config(), Path("in.mp4"), Path("out.mp4"))]


def test_every_option_reaches_its_key(fake_run: FakeRun, tmp_path: Path) -> None:
    summary = tmp_path / "summary.json"
    words = (
        "--method hypercon --model net.onnx --insert 1 --radius 4 --dilation 3 --pool valid-median "
        "--alignment exact --flow-on source --flow gmflow --interpolator rife-4.6 --strength 0.5 "
        "--mask masks --mask-invert --mask-threshold 0.25 --mask-dilate 2 --start 5 --frames 6 "
        "--size 48x64 --rate 30000/1001 --codec libx265 --crf 20 --preset 6 --pix-fmt yuv444p "
        "-e tune=film -e x265-params=a=1 --overwrite --engine local --device cpu --weights w "
        f"--no-progress --log-format json --summary {summary}"
    )

    assert cli.main(["run", "a.mp4", *words.split(), "b"]) == 0

    assert fake_run.config == Config.model_validate(
        {
            "method": "hypercon",
            "source": {"start": 5, "frames": 6, "size": (48, 64), "rate": "30000/1001"},
            "mask": {"path": "masks", "invert": True, "threshold": 0.25, "dilate": 2},
            "interpolate": {"insert": 1, "flow": "gmflow", "interpolator": "rife-4.6"},
            "translate": {"model": "net.onnx"},
            "aggregate": {
                "radius": 4,
                "dilation": 3,
                "pool": "valid-median",
                "alignment": "exact",
                "flow_on": "source",
                "strength": 0.5,
            },
            "output": {
                "codec": "libx265",
                "crf": 20,
                "preset": "6",
                "pix_fmt": "yuv444p",
                "options": {"tune": "film", "x265-params": "a=1"},
                "overwrite": True,
            },
            "run": {
                "engine": "local",
                "device": "cpu",
                "weights": "w",
                "progress": False,
                "log_format": "json",
                "summary": str(summary),
            },
        }
    )


def test_options_win_over_set_and_set_over_the_file(fake_run: FakeRun, tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("[aggregate]\nradius = 5\ndilation = 5\nstrength = 0.5\n")

    words = ["--radius", "7", "--set", "aggregate.radius=6", "--set", "aggregate.dilation=6"]
    assert cli.main(["run", "a", "b.mp4", "--config", str(file), *words]) == 0

    aggregate = fake_run.config.aggregate
    assert (aggregate.radius, aggregate.dilation, aggregate.strength) == (7, 6, 0.5)


def test_the_dumped_configuration_is_the_one_that_runs(
    fake_run: FakeRun, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["--mask", "m.png", "--radius", "1", "-e", "tune=film"]
    assert cli.main(["run", *words, "--dump-config"]) == 0
    out, err = capsys.readouterr()
    file = tmp_path / "dump.yaml"
    file.write_text(out)

    assert err == ""
    assert yaml.safe_load(out)["translate"]["model"] == "inpaint:telea"
    assert fake_run.calls == []
    cli.main(["run", "a", "b.mp4", *words])
    cli.main(["run", "a", "b.mp4", "--config", str(file)])
    assert fake_run.calls[0] == fake_run.calls[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("run --raduis 3 a b", "unknown option '--raduis'; did you mean '--radius'?"),
        ("run --zzzzz a b", "unknown option '--zzzzz'"),
        ("rum a b", "unknown command 'rum'; did you mean 'run'?"),
        ("zzzzz", "unknown command 'zzzzz'"),
        ("--versoin", "unknown option '--versoin'; did you mean '--version'?"),
        ("run --radius", "option '--radius' requires an argument"),
        ("run a b c", "got unexpected extra argument(s) (c)"),
        ("run --radius -1 a b", "--radius must be at least 0, got -1"),
        ("run --radius two a b", "--radius must be a whole number, got 'two'"),
        ("run --pool x a b", "--pool must be 'mean', 'median', 'valid-mean' or 'valid-median'"),
        ("run --size 480p a b", "--size must be HEIGHTxWIDTH in pixels, like 480x854, got '480p'"),
        ("run --device gpu a b", "--device must be auto, cpu, cuda or cuda:N, got 'gpu'"),
        ("run -e film a b", "-e must be KEY=VALUE, like tune=film, got 'film'"),
        (
            "run --set translate.modle=x a b",
            "--set: unknown key 'translate.modle'; did you mean 'translate.model'?",
        ),
        ("run --config absent.yaml a b", "configuration file must be readable, got absent.yaml"),
        ("run", "INPUT and OUTPUT must be given, like: hypercon run in.mp4 out.mp4"),
        ("run a", "INPUT and OUTPUT must be given, like: hypercon run in.mp4 out.mp4"),
        ("plan", "INPUT must be given, like: hypercon plan in.mp4"),
        (
            "run a b --summary /nowhere/at/all.json",
            "--summary must name a file in an existing folder, got /nowhere/at/all.json",
        ),
        ("doctor --log-format x", "invalid value for '--log-format'"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_two(
    words: str, message: str, capsys: pytest.CaptureFixture[str], fake_run: FakeRun
) -> None:
    assert cli.main(words.split()) == 2

    assert error_of(capsys).startswith(message)
    assert fake_run.calls == []


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


def test_the_summary_holds_the_report(fake_run: FakeRun, tmp_path: Path) -> None:
    summary = tmp_path / "summary.json"

    assert cli.main(["run", "a", "b.mp4", "--summary", str(summary)]) == 0

    written = json.loads(summary.read_text())
    assert (written["status"], written["exit_code"]) == ("done", 0)
    assert written | fake_run_report() == written


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


@pytest.mark.usefixtures("seen_input", "fake_run")
@pytest.mark.parametrize("command", ["run", "plan"])
def test_useless_interpolation_is_a_warning(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([command, "a", "b.mp4", "--insert", "1", "--dilation", "2"]) == 0

    assert capsys.readouterr().err == (
        "hypercon: warning: interpolation contributes nothing: every window reads original "
        "frames only (dilation 2 is a multiple of the stride 2)\n"
    )


@pytest.mark.usefixtures("seen_input")
def test_a_plan_is_text_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "a.mp4"]) == 0

    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("hypercon: 12 frames of 64x48\n")


@pytest.mark.usefixtures("seen_input")
def test_a_plan_is_json_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "a.mp4", "out.mp4", "--log-format", "json"]) == 0

    facts = json.loads(capsys.readouterr().out)
    assert facts["counts"]["translated"] == 12 + 11 * 3


@pytest.mark.usefixtures("seen_input")
def test_a_plan_says_that_the_output_is_in_the_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.mp4"
    output.touch()

    assert cli.main(["plan", "a.mp4", str(output)]) == 0
    assert "--overwrite replaces it" in capsys.readouterr().err
    assert cli.main(["plan", "a.mp4", str(output), "--overwrite"]) == 0
    assert capsys.readouterr().err == ""


def test_a_missing_input_is_exit_code_four(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["plan", str(tmp_path / "absent.mp4")]) == 4

    assert "absent.mp4" in error_of(capsys)


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


def test_a_device_that_is_not_there_is_a_mistake_of_the_caller() -> None:
    cli._require_device("auto", 0)
    cli._require_device("cpu", 0)
    cli._require_device("cuda", 1)
    cli._require_device("cuda:1", 2)

    message = "--device must be a device of this machine, which has 1 CUDA, got cuda:1"
    with pytest.raises(UsageError, match=f"^{message}$"):
        cli._require_device("cuda:1", 1)
    with pytest.raises(UsageError, match=r"which has 0 CUDA, got cuda$"):
        cli._require_device("cuda", 0)


def test_version_and_help_are_results(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == "hypercon 0.1.0\n"

    for words in ([], ["--help"], ["-h"]):
        assert cli.main(words) == 0
        out = capsys.readouterr().out
        assert all(command in out for command in ("run", "plan", "models", "doctor"))


def test_help_shows_every_option_with_its_default(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")

    assert cli.main(["run", "--help"]) == 0

    out = capsys.readouterr().out
    flags = (
        "--method --model --insert --radius --dilation --pool --alignment --flow-on --flow "
        "--interpolator --strength --mask --engine --config --set --dump-config --start --frames "
        "--size --overwrite --no-progress --log-format --weights --codec --crf --preset -e "
        "--pix-fmt --device --mask-invert --mask-threshold --mask-dilate --rate --summary"
    )
    for flag in flags.split():
        assert f" {flag} " in out
    assert "styles:19" in out


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


def hypercon(code: str) -> "subprocess.Popen[str]":
    """A fresh interpreter, as a user's shell starts one."""
    return subprocess.Popen(  # noqa: S603 - the code is this file's own
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={key: value for key, value in os.environ.items() if key != "HYPERCON_DEBUG"},
    )


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
    process = hypercon(SLOW_RUN.replace("sys.argv[1]", repr(str(output))))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert output.exists()

    process.send_signal(number)
    _, err = process.communicate()

    assert process.returncode == exit_code
    assert err == "hypercon: error: interrupted; the same command again goes on where it stopped\n"
    assert not output.exists()
    assert json.loads((tmp_path / "out.mp4.json").read_text())["exit_code"] == exit_code


def test_help_imports_nothing_heavy() -> None:
    code = """
import sys
from pipeline import cli
assert cli.main(["run", "--help"]) == 0
heavy = {"torch", "onnxruntime", "cv2", "ray", "av", "numpy"} & set(sys.modules)
sys.exit(f"imported {sorted(heavy)}" if heavy else 0)
"""
    process = hypercon(code)
    _, err = process.communicate()

    assert (process.returncode, err) == (0, "")
