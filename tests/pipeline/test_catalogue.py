"""The list of models, with weights here and missing."""

import json
import logging
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from pipeline import catalogue as catalogue_module
from pipeline import cli
from pipeline.catalogue import catalogue


@pytest.fixture(autouse=True)
def no_weights_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.setenv("HYPERCON_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "weights").mkdir()
    handlers = logging.getLogger().handlers[:]
    yield tmp_path / "weights"
    logging.getLogger().handlers[:] = handlers


def state_of(name: str, given: Path | None = None) -> str:
    (state,) = [model.state for model in catalogue(given).models if model.name == name]
    return state


def test_what_runs_without_weights_says_so() -> None:
    assert state_of("dis") == "needs no weights"
    assert state_of("styles:0..25") == "needs no weights"


def test_weights_are_missing_until_their_file_is_there(tmp_path: Path) -> None:
    missing = "missing gmflow-flownet.pkl, from https://github.com/haofeixu/gmflow"
    assert state_of("gmflow") == missing

    file = tmp_path / "weights" / "gmflow-flownet.pkl"
    file.touch()

    assert state_of("gmflow") == f"found {file}"
    assert state_of("gmflow", given=tmp_path) == missing


def test_what_a_user_must_know_of_a_network_is_listed() -> None:
    listed = {(model.kind, model.name): model for model in catalogue().models}

    aligner = listed["flow", "pwcnet"]
    assert aligner.licence == "CC BY-NC-SA 4.0 (non-commercial)"
    assert (aligner.parameters, aligner.convention[:13]) == (9_374_274, "BGR in [0, 1]")
    assert listed["recurrent", "vinet-512"].licence == "none stated"
    # In the order of what happens to a video.
    kinds = [model.kind for model in catalogue().models]
    order = ["flow", "interpolator", "translator", "recurrent", "evaluation"]
    assert kinds == sorted(kinds, key=order.index)


def test_of_weights_in_two_files_the_one_that_is_missing_is_named(tmp_path: Path) -> None:
    def state() -> str:
        return next(m.state for m in catalogue(tmp_path).models if m.name == "lpips-alex")

    trunk = tmp_path / "alexnet-owt-7be5be79.pth"

    assert state().startswith("missing alexnet-owt-7be5be79.pth, from https://")
    trunk.touch()
    assert state().startswith("missing lpips-alex-heads.pth, from https://")
    (tmp_path / "lpips-alex-heads.pth").touch()
    assert state() == f"found {trunk}"


def test_the_search_path_is_shown_in_order(tmp_path: Path) -> None:
    folders = (tmp_path / "weights", tmp_path / "cache" / "hypercon")

    assert catalogue().search_path == folders
    assert catalogue(tmp_path).search_path == (tmp_path,)
    assert f"{folders[0]}, {folders[1]}" in catalogue().lines()[-1]


def test_plugins_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    def points(*, group: str) -> list[EntryPoint]:
        return [EntryPoint("cartoon", "toons:Net", group)]

    monkeypatch.setattr(catalogue_module, "entry_points", points)

    (plugin,) = [model for model in catalogue().models if model.name == "cartoon"]
    assert (plugin.kind, plugin.summary) == ("translator", "entry point toons:Net")


def test_the_command_prints_a_table_or_json(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.main(["models"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert cli.main(["models", "--log-format", "json", "--weights", str(tmp_path)]) == 0
    facts = json.loads(capsys.readouterr().out)

    assert table[0].split() == ["kind", "name", "licence", "weights", "what"]
    assert len(table) == 1 + len(facts["models"]) + 2
    assert facts["search_path"] == [str(tmp_path)]
    assert {"flow", "interpolator", "translator", "recurrent", "evaluation"} == {
        m["kind"] for m in facts["models"]
    }
