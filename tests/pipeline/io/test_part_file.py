"""Temporary names."""

import os
from pathlib import Path

import pytest

from pipeline.errors import ResourceError, UsageError
from pipeline.io.part_file import PartFile, disk_space


def test_a_name_that_was_taken_meanwhile_is_not_replaced(tmp_path: Path):
    part = PartFile(tmp_path / "out.bin", overwrite=False)
    part.require_writable()
    part.part.write_bytes(b"new")
    part.path.write_bytes(b"somebody else's")

    with pytest.raises(UsageError, match="must not exist unless it may be overwritten"):
        part.publish()

    assert part.path.read_bytes() == b"somebody else's"
    part.remove()
    assert list(tmp_path.iterdir()) == [part.path]


def test_a_file_and_a_folder_get_their_final_names(tmp_path: Path):
    file, folder = (
        PartFile(tmp_path / "a", overwrite=False),
        PartFile(tmp_path / "b", overwrite=False),
    )
    file.part.write_bytes(b"whole")
    folder.part.mkdir()
    (folder.part / "0").write_bytes(b"whole")

    file.publish()
    folder.publish()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert (tmp_path / "b" / "0").read_bytes() == b"whole" == (tmp_path / "a").read_bytes()


def test_what_killed_processes_left_of_the_same_output_is_removed(tmp_path: Path):
    part = PartFile(tmp_path / "out.mp4", overwrite=False)
    part.part.write_bytes(b"own")
    others = [".out.mp4.1.old", ".out.mp4.part", ".out.mp4x.1.part", "out.mp4", "shout.mp4.1.part"]
    for name in [*others, ".out.mp4.1.part"]:
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ".out.mp4.23.part").mkdir()
    (tmp_path / ".out.mp4.23.part" / "000.png").write_bytes(b"")

    part.remove_leftovers()

    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, part.part.name])


def test_the_temporary_name_is_hidden_beside_the_final_one_and_tells_the_process(tmp_path: Path):
    part = PartFile(tmp_path / "out.mp4", overwrite=False).part

    assert part == tmp_path / f".out.mp4.{os.getpid()}.part"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unwritable for the superuser")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    tmp_path.chmod(0o500)

    with pytest.raises(UsageError, match="must be writable, got"):
        PartFile(tmp_path / "out.mp4", overwrite=False).require_writable()


def test_errors_that_are_not_about_space_pass_through():
    with pytest.raises(PermissionError), disk_space("out.mp4"):
        raise PermissionError(13, "Permission denied")
    with (
        pytest.raises(ResourceError, match=r"out.mp4 must fit on its disk, got Disk quota"),
        disk_space("out.mp4"),
    ):
        raise OSError(122, "Disk quota exceeded")
