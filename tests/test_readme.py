"""What README.md shows must work: its Python is run, its commands are parsed."""

import re
import shlex
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clips import read_back, write_clip

from pipeline import cli
from pipeline.local_runner import LocalRunner

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)


def commands() -> list[list[str]]:
    """The words of every line that calls the command, without its name."""
    lines = "".join(blocks("sh")).splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[1:] for line in words if line[:1] == ["hypercon"]]


pytestmark = pytest.mark.usefixtures("logging_as_it_was")


def test_the_python_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_clip(tmp_path / "in.mp4", pts=range(0, 16, 4))
    monkeypatch.chdir(tmp_path)
    first, second = blocks("python")
    names: dict[str, Any] = {}

    exec(compile(first, "README.md", "exec"), names)  # noqa: S102 - the project's own text
    exec(compile(second, "README.md", "exec"), names)  # noqa: S102 - the same
    report = LocalRunner("cpu").run(names["pipeline"])

    times, _ = read_back(clip)
    assert read_back(tmp_path / "out.mp4")[0] == times
    assert abs(mean_level(clip) + mean_level(tmp_path / "out.mp4") - 255) < 4
    assert (report.frames_in, report.frames_out) == (4, 4)
    # The first frame is shown at zero seconds, when everything is still black.
    _, (black, *_, last) = read_back(tmp_path / "faded.mp4")
    assert black.max() == 16
    assert last.max() > 30


def mean_level(path: Path) -> float:
    """Mean of red, green and blue of the first frame, as FFmpeg converts it."""
    with av.open(str(path)) as container:
        return float(np.mean(next(container.decode(video=0)).to_ndarray(format="rgb24")))


def test_there_are_commands_to_check() -> None:
    assert {words[0] for words in commands()} == {"run", "plan", "models", "doctor"}


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_is_one(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    # Nothing is run and nothing is fetched: settings are read, and then shown.
    harmless = {"run": ["--dump-config"], "plan": ["--dump-config"], "models get": ["--help"]}
    name = "models get" if words[:2] == ["models", "get"] else words[0]

    assert cli.main([*words, *harmless.get(name, [])]) == 0

    out, err = capsys.readouterr()
    assert out
    assert err == ""


def test_every_option_is_one_of_some_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for command in ("run", "plan", "models", "models get", "doctor"):
        assert cli.main([*command.split(), "--help"]) == 0
    known = set(re.findall(r" (--[a-z-]+) ", capsys.readouterr().out))

    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", README)) <= known


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#:]+)\)", README))
def test_every_link_leads_somewhere(link: str) -> None:
    assert (Path(__file__).parents[1] / link).exists()
