"""What ``hypercon submit`` refuses before it speaks to a cluster."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pipeline import cli

pytestmark = pytest.mark.usefixtures("logging_as_it_was")


class FakeCluster(ModuleType):
    """Stands for ``pipeline.cluster_job`` and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__("pipeline.cluster_job")
        self.calls: list[tuple[Any, ...]] = []

    def connect(self, address: str) -> str:
        return address

    def start(self, client: str, words: list[str], working_dir: Path) -> str:
        self.calls.append((client, words, working_dir))
        return "job_1"

    def watch(self, client: str, job_id: str, write: Any, *, stop: bool) -> int:
        write("hypercon: 3 frames\n")
        return 5


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    fake = FakeCluster()
    monkeypatch.setitem(sys.modules, "pipeline.cluster_job", fake)
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return fake


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("-- run in.mp4 /out.mp4", "INPUT must be an absolute path that every node sees"),
        ("-- run /in.mp4 out.mp4", "OUTPUT must be an absolute path"),
        ("-- run /in.mp4 /out.mp4 --mask m.png", "--mask must be an absolute path"),
        ("-- run /in.mp4 /out.mp4 --cuts c.txt", "--cuts must be an absolute path"),
        ("-- run /in.mp4 /out.mp4 --weights w", "--weights must be an absolute path"),
        ("-- run /in.mp4 /out.mp4 --summary s.json", "--summary must be an absolute path"),
        ("-- run /in.mp4 /out.mp4 --raduis 3", "unknown option '--raduis'; did you mean"),
        ("-- runn /in.mp4 /out.mp4", "unknown command 'runn'; did you mean 'run'?"),
        ("-- submit run /in.mp4 /out.mp4", "submit must be given another command"),
        ("--adress x -- run /in.mp4 /out.mp4", "unknown option '--adress'; did you mean"),
    ],
)
def test_mistakes_are_answered_before_anything_is_sent(
    cluster: FakeCluster, capsys: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    assert cli.main(["submit", *words.split()]) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"hypercon: error: {message}")
    assert len(err.splitlines()) == 1
    assert cluster.calls == []


@pytest.mark.parametrize("separator", [["--"], []])
def test_options_after_the_command_are_the_commands_own(
    cluster: FakeCluster, capsys: pytest.CaptureFixture[str], separator: list[str]
) -> None:
    words = ["run", "/in.mp4", "/out.mp4", "--address", "auto", "--log-format", "json"]

    code = cli.main(["submit", "--address", "http://head:1", *separator, *words])

    assert code == 5
    assert cluster.calls == [("http://head:1", words, Path())]
    assert capsys.readouterr() == ("job_1\n", "hypercon: 3 frames\n")


def test_no_wait_leaves_with_the_jobs_name(
    cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["submit", "--no-wait", "run", "/in.mp4", "/out.mp4"]) == 0

    assert capsys.readouterr() == ("job_1\n", "")


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({}, "http://127.0.0.1:8265"),
        ({"RAY_ADDRESS": "http://a:1"}, "http://a:1"),
        ({"RAY_ADDRESS": "http://a:1", "RAY_API_SERVER_ADDRESS": "http://b:1"}, "http://b:1"),
    ],
)
def test_the_address_comes_from_the_variables_that_ray_reads(
    cluster: FakeCluster,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    address: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    cli.main(["submit", "run", "/in.mp4", "/out.mp4"])

    assert cluster.calls[0][0] == address
