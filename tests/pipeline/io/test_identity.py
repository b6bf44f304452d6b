"""Another input has another identity."""

import os
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.io.identity import input_identity


def test_the_identity_of_a_file_changes_with_its_ends_its_size_and_its_time(tmp_path: Path):
    path = tmp_path / "in.mp4"
    data = bytearray(3 << 20)
    path.write_bytes(data)
    os.utime(path, ns=(0, 1_000_000_007))
    before = input_identity(path)
    seen = {before}

    for position in (0, len(data) - 1):
        changed = bytearray(data)
        changed[position] = 1
        path.write_bytes(changed)
        os.utime(path, ns=(0, 1_000_000_007))
        seen.add(input_identity(path))
    path.write_bytes(data + b"\0")
    os.utime(path, ns=(0, 1_000_000_007))
    seen.add(input_identity(path))
    path.write_bytes(data)
    os.utime(path, ns=(0, 1_000_000_008))
    seen.add(input_identity(path))
    assert len(seen) == 5

    os.utime(path, ns=(0, 1_000_000_007))
    assert input_identity(path) == before


def test_the_identity_of_a_folder_is_that_of_its_list(tmp_path: Path):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(b"x")
        os.utime(tmp_path / f"{number}.png", ns=(0, 5))
    before = input_identity(tmp_path)
    assert input_identity(tmp_path) == before

    (tmp_path / "2.png").rename(tmp_path / "3.png")
    renamed = input_identity(tmp_path)
    os.utime(tmp_path / "0.png", ns=(0, 6))
    assert len({before, renamed, input_identity(tmp_path)}) == 3

    with pytest.raises(InputError, match="missing must be a readable file or folder, got No such"):
        input_identity(tmp_path / "missing")
