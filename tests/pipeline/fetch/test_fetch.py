"""Fetching weights from files and a local server."""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_model import TINY, archive_of, files_in, register
from torch import nn
from web import Server

from operators.errors import ModelError
from operators.models.entry import Entry
from operators.models.weights import sha256_of
from pipeline import cli
from pipeline import fetch as fetch_module
from pipeline.errors import UsageError
from pipeline.fetch import fetch


def test_a_file_is_copied_under_the_name_that_is_looked_for(
    cache: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, TINY)

    fetched = fetch("tiny", source=str(published))

    assert fetched.path == cache / "tiny.pth"
    assert fetched.path.read_bytes() == published.read_bytes()
    assert fetched.sha256 == hashlib.sha256(published.read_bytes()).hexdigest()
    assert (fetched.is_new, fetched.licence) == (True, "MIT")
    assert files_in(cache) == ["tiny.pth"]
    assert TINY.found() == fetched.path
    TINY.load()


def test_what_is_there_is_not_fetched_again_unless_a_source_is_named(
    cache: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, TINY)
    fetch("tiny", source=str(published))

    assert not fetch("tiny").is_new

    torch.save(nn.Linear(3, 2).state_dict(), published)
    assert fetch("tiny", source=str(published)).is_new
    assert (cache / "tiny.pth").read_bytes() == published.read_bytes()


def test_a_folder_can_be_named(
    cache: Path, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, TINY)

    fetched = fetch("tiny", source=str(published), folder=tmp_path / "a" / "b")

    assert fetched.path == tmp_path / "a" / "b" / "tiny.pth"
    assert not cache.exists()
    with pytest.raises(UsageError, match="folder for weights must be one that can be written"):
        fetch("tiny", source=str(published), folder=published)


@pytest.mark.parametrize("known", ["entry", "name"])
def test_a_file_of_another_hash_is_refused_and_the_old_one_kept(
    cache: Path, published: Path, monkeypatch: pytest.MonkeyPatch, known: str
) -> None:
    wrong = "0" * 64 if known == "entry" else None
    register(monkeypatch, replace(TINY, sha256=wrong))
    if known == "name":
        published = published.rename(published.with_name("tiny-00000000.pth"))
    cache.mkdir(parents=True)
    (cache / "tiny.pth").write_bytes(b"old")

    with pytest.raises(ModelError, match=r"must have the SHA-256 0{8,64}, got [0-9a-f]{64}"):
        fetch("tiny", source=str(published))

    assert (cache / "tiny.pth").read_bytes() == b"old"
    assert files_in(cache) == ["tiny.pth"]


@pytest.mark.parametrize("known", ["entry", "name"])
def test_a_file_of_the_known_hash_is_taken(
    cache: Path, published: Path, monkeypatch: pytest.MonkeyPatch, known: str
) -> None:
    digest = sha256_of(published)
    register(monkeypatch, replace(TINY, sha256=digest if known == "entry" else None))
    if known == "name":
        published = published.rename(published.with_name(f"tiny-{digest[:8]}.pth"))

    assert fetch("tiny", source=str(published)).sha256 == digest


def test_what_does_not_fit_the_network_is_refused_by_its_own_name(
    cache: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, TINY)
    torch.save(nn.Linear(4, 2).state_dict(), published)
    with pytest.raises(ModelError, match=r"authors/tiny-flownet\.pth: key 'weight' of 'tiny'"):
        fetch("tiny", source=str(published))
    published.write_bytes(b"<html>not here any more</html>")
    with pytest.raises(ModelError, match=r"authors/tiny-flownet\.pth: must be a readable weight"):
        fetch("tiny", source=str(published))

    assert files_in(cache) == []


def test_the_address_of_the_table_is_asked_and_archives_are_opened(
    cache: Path, published: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = published.read_bytes()
    archive_of(published.with_name("all.zip"), {"all/tiny.pth": content})
    register(monkeypatch, replace(TINY, address=f"{server.address}/all.zip?dl=1"))

    fetched = fetch("tiny")

    assert fetched.path.read_bytes() == content
    assert files_in(cache) == ["tiny.pth"]
    assert server.asked == [None]


def test_a_download_that_broke_off_goes_on_where_it_ended(
    cache: Path, published: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, replace(TINY, sha256=sha256_of(published)))
    address = f"{server.address}/{published.name}"
    server.break_after = 700
    for _ in range(2):
        with pytest.raises(ModelError, match="got: the connection broke off; repeat the command"):
            fetch("tiny", source=address)
    assert not (cache / "tiny.pth").exists()
    server.break_after = None

    fetched = fetch("tiny", source=address)

    assert fetched.path.read_bytes() == published.read_bytes()
    assert server.asked == [None, "bytes=700-", "bytes=1400-"]
    assert files_in(cache) == ["tiny.pth"]


def test_a_server_without_ranges_is_read_from_the_start(
    cache: Path, published: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, TINY)
    address = f"{server.address}/{published.name}"
    server.break_after = 700
    with pytest.raises(ModelError, match="broke off"):
        fetch("tiny", source=address)
    server.break_after, server.takes_ranges = None, False

    assert fetch("tiny", source=address).path.read_bytes() == published.read_bytes()


def test_a_whole_part_is_not_fetched_again_and_a_wrong_one_is_dropped(
    cache: Path, published: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, replace(TINY, sha256=sha256_of(published)))
    address = f"{server.address}/{published.name}"
    server.break_after = 700
    with pytest.raises(ModelError, match="broke off"):
        fetch("tiny", source=address)
    server.break_after = None
    (part,) = cache.iterdir()
    content = published.read_bytes()

    part.write_bytes(content)
    assert fetch("tiny", source=address).path.read_bytes() == content

    part.write_bytes(b"x" + content[1:700])
    with pytest.raises(ModelError, match="must have the SHA-256"):
        fetch("tiny", source=address)
    assert fetch("tiny", source=address).path.read_bytes() == content


def test_an_address_that_fails_is_one_line_with_the_way_out(
    cache: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, TINY)

    with pytest.raises(ModelError, match=r"got: 404 Not Found; .*example\.org/tiny.*--from"):
        fetch("tiny", source=f"{server.address}/gone.pth")
    server.stop()
    with pytest.raises(ModelError, match=r"got: .*refused") as refusal:
        fetch("tiny", source=f"{server.address}/gone.pth")
    assert "\n" not in str(refusal.value)


def test_without_an_address_the_page_to_visit_is_said(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, TINY)

    with pytest.raises(ModelError, match=r"tiny\.pth from https://example\.org/tiny .*MIT") as told:
        fetch("tiny")
    assert "hypercon models get tiny --from FILE" in str(told.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("gmlow", "did you mean 'gmflow'?"),
        ("linear", "NAME must be a model that needs weights, got 'linear', which needs none"),
        ("gmflow --from gone.pkl", "--from must be an existing file or an http address"),
        ("gmflow --from http://[::1/a.pkl", "--from must be an existing file or an http"),
        ("gmflow --weights /proc/none", "folder for weights must be one that can be written"),
        ("gmflow --from ftp://127.0.0.1/a.pkl", "--from must be an existing file or an http"),
    ],
)
def test_mistakes_at_the_command_are_one_line(
    cache: Path, capsys: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    handlers = logging.getLogger().handlers[:]
    try:
        assert cli.main(["models", "get", *words.split()]) == 2
    finally:
        logging.getLogger().handlers[:] = handlers

    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert message in err


def test_the_command_says_where_the_file_is_and_under_which_licence(
    cache: Path,
    published: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    register(monkeypatch, TINY)
    handlers = logging.getLogger().handlers[:]
    try:
        assert cli.main(["models", "get", "tiny", "--from", str(published)]) == 0
        told = capsys.readouterr().out
        assert cli.main(["models", "get", "tiny", "--log-format", "json"]) == 0
        facts = capsys.readouterr().out
    finally:
        logging.getLogger().handlers[:] = handlers

    assert told.splitlines()[0] == f"tiny: {cache / 'tiny.pth'}"
    assert "licence: MIT" in told
    assert '"is_new": false' in facts


def test_of_weights_in_two_files_each_can_be_given(
    cache: Path, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = torch.load(published, weights_only=True)
    for name in ("weight", "bias"):
        torch.save({name: state[name]}, published.parent / f"{name}.pth")
    second_file = published.parent / "bias.pth"
    second = replace(
        TINY,
        network=None,
        files=("tiny-bias.pth",),
        package="made-up-weights==1.2",
        member="heads/bias.pth",
        sha256=sha256_of(second_file),
    )
    entry = replace(TINY, beside=second)
    register(monkeypatch, entry)
    wheel = archive_of(tmp_path / "a.whl", {"heads/bias.pth": second_file.read_bytes()})

    for source in (second_file, wheel):
        assert fetch("tiny", source=str(source)).path == cache / "tiny-bias.pth"
        fetch("tiny", source=str(published.parent / "weight.pth"))
        torch.testing.assert_close(entry.load().state_dict(), state, rtol=0, atol=0)
        (cache / "tiny-bias.pth").unlink()


def test_weights_in_two_files_are_both_fetched_and_only_what_is_missing(
    cache: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = torch.load(published, weights_only=True)
    halves = {}
    for name in ("weight", "bias"):
        halves[name] = published.parent / f"{name}.pth"
        torch.save({name: state[name]}, halves[name])
    second = replace(TINY, network=None, files=("tiny-bias.pth",))
    entry = replace(TINY, beside=second)
    sources = {"tiny.pth": halves["weight"], "tiny-bias.pth": halves["bias"]}
    register(monkeypatch, entry)
    asked = []

    @contextmanager
    def obtained(entry: Entry, source: str | None, folder: Path) -> Iterator[Path]:
        asked.append(entry.files[0])
        yield sources[entry.files[0]]

    monkeypatch.setattr(fetch_module, "_obtained", obtained)

    assert fetch("tiny").is_new
    assert files_in(cache) == ["tiny-bias.pth", "tiny.pth"]
    torch.testing.assert_close(entry.load().state_dict(), state, rtol=0, atol=0)
    (cache / "tiny-bias.pth").unlink()
    assert not fetch("tiny").is_new
    assert asked == ["tiny-bias.pth", "tiny.pth", "tiny-bias.pth"]
