"""The command as users meet it: words, options, plans, help."""

import json
from pathlib import Path

import pytest
import yaml
from command import (
    FakeRun,
    error_of,
    interpreter,
)

from pipeline import cli
from pipeline.config import Config

pytestmark = pytest.mark.usefixtures("process_as_it_was")


def test_a_run_says_what_it_did_in_one_line_and_returns_zero(
    fake_run: FakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "in.mp4", "out.mp4"]) == 0

    assert capsys.readouterr() == ("", "hypercon: 3 frames in 0:02, 2 fps\n")
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


@pytest.mark.usefixtures("seen_input", "fake_run")
@pytest.mark.parametrize("command", ["run", "plan"])
def test_useless_interpolation_is_a_warning(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([command, "a", "b.mp4", "--insert", "1", "--dilation", "2"]) == 0

    assert capsys.readouterr().err.splitlines()[0] == (
        "hypercon: warning: interpolation contributes nothing: every window reads original "
        "frames only (dilation 2 is a multiple of the stride 2)"
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


def test_help_imports_nothing_heavy() -> None:
    code = """
import sys
from pipeline import cli
assert cli.main(["run", "--help"]) == 0
heavy = {"torch", "onnxruntime", "cv2", "ray", "av", "numpy"} & set(sys.modules)
sys.exit(f"imported {sorted(heavy)}" if heavy else 0)
"""
    process = interpreter(code)
    _, err = process.communicate()

    assert (process.returncode, err) == (0, "")
