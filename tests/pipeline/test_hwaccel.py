"""--hwaccel through the whole command."""

from pathlib import Path

import pytest
from card import Card
from clips import write_clip
from command import COMMON, FakeRun, Refused

from pipeline import cli
from pipeline.io.hardware import device_refusal

pytestmark = pytest.mark.usefixtures("process_as_it_was")

METHOD = ("--model", "identity", "--insert", "1", "--radius", "1")
without_device = pytest.mark.skipif(device_refusal() is None, reason="there is a device")


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "in.mp4", pts=range(24), options={"g": "6", "bf": "2"})


def made(source: Path, *words: str) -> bytes:
    sink = source.parent / "out.mp4"
    assert cli.main(["run", str(source), str(sink), *COMMON, *METHOD, "--overwrite", *words]) == 0
    return sink.read_bytes()


@without_device
def test_a_device_that_is_not_there_is_one_line_and_exit_code_two(
    film: Path, refused: Refused
) -> None:
    message = refused(2, film, film.parent / "out.mp4", "--hwaccel", "cuda")

    assert message.startswith("--hwaccel must name a device that decodes, got cuda: ")


@without_device
def test_auto_makes_the_same_file_where_there_is_no_device(
    film: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = made(film)
    capsys.readouterr()

    assert made(film, "--hwaccel", "auto") == plain

    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("name", ["auto", "cuda", "cuda:1"])
def test_a_device_makes_the_same_file(
    film: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    plain = made(film)
    card = Card(monkeypatch)

    assert made(film, "--hwaccel", name) == plain

    assert card.num_pictures == 24


@pytest.mark.parametrize(
    ("words", "is_told"),
    [
        (("--hwaccel", "cuda", "--method", "framewise"), True),
        (("--hwaccel", "cuda", "--no-cuts"), True),
        (("--hwaccel", "auto", "--no-cuts"), False),
        (("--hwaccel", "cuda"), False),
    ],
)
def test_a_device_that_has_nothing_to_do_is_told_where_it_was_named(
    film: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    is_told: bool,
) -> None:
    card = Card(monkeypatch)

    made(film, *words)

    assert ("--hwaccel cuda has no effect" in capsys.readouterr().err) == is_told
    assert (card.num_pictures == 0) == ("--no-cuts" in words or is_told)


@pytest.mark.parametrize("name", ["on", "cuda:", "nvdec", "cuda:x"])
def test_other_names_are_refused(
    fake_run: FakeRun, refused: Refused, film: Path, name: str
) -> None:
    message = refused(2, film, film.parent / "out.mp4", "--hwaccel", name)

    assert "must be off, auto, cuda or cuda:N" in message
    assert fake_run.calls == []


def test_on_ray_no_device_can_be_named(
    film: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    Card(monkeypatch)

    message = refused(2, film, film.parent / "out.mp4", "--engine", "ray", "--hwaccel", "cuda")

    assert message == "--hwaccel must be off or auto on Ray, where decoders hold no GPU, got cuda"
