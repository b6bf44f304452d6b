"""Committed segments survive everything, and nothing else is taken for one."""

import errno
import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from kept_segments import commit, content, reopened

from pipeline.errors import ResourceError, SegmentError, UsageError
from pipeline.io.segments import SegmentStore, segment_folder

ROOT = Path(__file__).parents[3]


def test_a_committed_segment_is_found_by_the_next_run(tmp_path: Path, folder: Path):
    with SegmentStore(folder, "key", ".nut") as store:
        for index in (2, 0):
            commit(store, index)

    assert folder == tmp_path / ".out.mp4.segments"
    with SegmentStore(folder, "key", ".nut") as store:
        entries = store.entries()
        assert list(entries) == [0, 2]
        entry = entries[2]
        assert (entry.first, entry.stop, entry.num_frames) == (20, 30, 10)
        assert entry.path.read_bytes() == content(2)
        assert entry.size_bytes == len(content(2))
        assert entry.sha256 == hashlib.sha256(content(2)).hexdigest()


def test_the_first_commit_of_a_segment_wins(folder: Path, store: SegmentStore):
    commit(store, 0)
    before = store.entries()[0]
    late = store.part_path(0, 1)
    late.write_bytes(b"another attempt")

    assert store.commit(0, 0, 10, late, 1) == before

    assert not late.exists()
    assert before.path.read_bytes() == content(0)
    store.close()
    assert reopened(folder) == {0: content(0)}


def test_a_commit_of_an_earlier_run_wins_too(folder: Path):
    with SegmentStore(folder, "key", ".nut") as store:
        commit(store, 0)
    with SegmentStore(folder, "key", ".nut") as store:
        part = store.part_path(0, 0)
        part.write_bytes(b"again")
        store.commit(0, 0, 10, part, 0)

    assert reopened(folder) == {0: content(0)}


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_segment_is_made_again(folder: Path, damage: str):
    with SegmentStore(folder, "key", ".nut") as store:
        for index in range(3):
            commit(store, index)
        path = store.entries()[1].path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(data if damage == "flip" else data[:-1])

    assert reopened(folder) == {0: content(0), 2: content(2)}

    with SegmentStore(folder, "key", ".nut") as store:
        commit(store, 1)
    assert reopened(folder) == {index: content(index) for index in range(3)}


def test_segments_of_another_key_are_never_read_and_can_be_discarded(folder: Path):
    with SegmentStore(folder, "old", ".nut") as store:
        commit(store, 0)
    # Even where somebody moved the files.
    (folder / "key").mkdir()
    for file in (folder / "old").iterdir():
        (folder / "key" / file.name).write_bytes(file.read_bytes())

    assert reopened(folder, "key") == {}
    assert reopened(folder, "old") == {0: content(0)}

    with SegmentStore(folder, "key", ".nut") as store:
        commit(store, 1)
        store.discard_others()
    assert reopened(folder, "key") == {1: content(1)}
    assert reopened(folder, "old") == {}


def test_a_segment_can_be_a_folder(tmp_path: Path):
    folder = segment_folder(tmp_path / "frames")
    with SegmentStore(folder, "key", "") as store:
        for index in range(2):
            part = store.part_path(index, 0)
            part.mkdir()
            for number in range(3):
                (part / f"{number:05d}.png").write_bytes(content(10 * index + number))
            store.commit(index, 3 * index, 3 * index + 3, part, 0)

    with SegmentStore(folder, "key", "") as store:
        entries = store.entries()
        assert entries[1].size_bytes == sum(len(content(10 + number)) for number in range(3))
        (entries[0].path / "00001.png").rename(entries[0].path / "00003.png")
        assert list(store.entries()) == [1]
        (entries[1].path / "00002.png").write_bytes(content(13)[:-1])
        assert list(store.entries()) == []


def test_what_was_not_committed_is_cleared_away(folder: Path):
    with SegmentStore(folder, "key", ".nut") as store:
        commit(store, 0)
        left = store.part_path(1, 0)
        left.write_bytes(b"half")
        (left.parent / f".{left.name}.77.part").write_bytes(b"half")

    with SegmentStore(folder, "key", ".nut") as store:
        names = sorted(path.name for path in (folder / "key").iterdir())
        assert names == ["00000.nut", "journal.jsonl"]
        # A writer that outlived its run must not write where the next one does.
        assert store.part_path(1, 0) != left


def test_two_runs_cannot_write_the_same_output(folder: Path, store: SegmentStore):
    other = SegmentStore(folder, "other", ".nut")

    with pytest.raises(UsageError, match=r"\.out\.mp4\.segments must belong to one run at a time"):
        other.open()

    store.open()
    store.close()
    store.close()
    with other:
        commit(other, 0)


def test_after_removal_nothing_is_left_and_a_new_run_can_begin(tmp_path: Path, folder: Path):
    store = SegmentStore(folder, "key", ".nut")
    store.open()
    commit(store, 0)

    store.remove()

    assert list(tmp_path.iterdir()) == []
    assert reopened(folder) == {}


def test_a_lock_on_a_file_that_was_removed_meanwhile_does_not_count(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """Between opening and locking the file, the run that held it ends and removes it."""
    lock = fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        monkeypatch.setattr("pipeline.io.segments.fcntl.flock", lock)
        (folder / "lock").unlink()
        lock(descriptor, operation)

    monkeypatch.setattr("pipeline.io.segments.fcntl.flock", late)
    with (
        SegmentStore(folder, "key", ".nut"),
        pytest.raises(UsageError, match="one run at a time"),
    ):
        SegmentStore(folder, "key", ".nut").open()


def test_a_place_that_cannot_hold_segments_is_named(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")

    for place in (tmp_path / "missing", tmp_path / "file"):
        store = SegmentStore(segment_folder(place / "out.mp4"), "key", ".nut")
        with pytest.raises(UsageError, match=r"out\.mp4\.segments must be a folder that can be wr"):
            store.open()


def test_misuse_is_named(folder: Path, store: SegmentStore):
    with pytest.raises(SegmentError, match=r"segment 4 must be written before .* got no .*00004"):
        store.commit(4, 0, 1, store.part_path(4, 0), 0)
    with pytest.raises(ValueError, match="segment 4 must hold frames, got 5 to 5"):
        store.commit(4, 5, 5, store.part_path(4, 0), 0)
    with pytest.raises(ValueError, match=r"key must be letters, digits, - and _, got '\.\./x'"):
        SegmentStore(folder, "../x", ".nut")
    store.close()
    with pytest.raises(ValueError, match="must be opened before they are changed"):
        store.remove()


def test_a_full_disk_ends_the_command(
    folder: Path, store: SegmentStore, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.io.part_file.os.fsync", refuse)
        with pytest.raises(ResourceError, match="must fit on its disk"):
            commit(store, 0)
    store.close()

    assert reopened(folder) == {}


# Commits segments 0, 1, 2 … and says so; dies by itself at a step that is to be durable.
WRITER = """
import os, signal, sys
from pathlib import Path
from pipeline.io.segments import SegmentStore

steps = int(sys.argv[2])

def deadly(function):
    def step(*arguments):
        global steps
        steps -= 1
        if steps == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)
    return step

os.fsync = deadly(os.fsync)
Path.rename = deadly(Path.rename)
with SegmentStore(Path(sys.argv[1]), "key", ".nut") as store:
    done = store.entries()
    for index in range(200):
        if index in done:
            continue
        part = store.part_path(index, 0)
        part.write_bytes(bytes([index]) * (1000 + index))
        store.commit(index, 10 * index, 10 * index + 10, part, 0)
        print(index, flush=True)
"""


def start_writer(folder: Path, steps: int = 0) -> "subprocess.Popen[str]":
    return subprocess.Popen(  # noqa: S603 (the program is the line above)
        [sys.executable, "-c", WRITER, str(folder), str(steps)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("step", range(1, 12))
def test_a_run_that_is_killed_at_any_step_loses_only_what_it_had_not_committed(
    folder: Path, step: int
):
    with start_writer(folder, step) as writer:
        said, _ = writer.communicate()

    assert writer.returncode == -signal.SIGKILL
    found = reopened(folder)
    assert found == {index: content(index) for index in found}
    assert set(found) >= {int(line) for line in said.split()}


def test_runs_that_are_killed_at_random_moments_get_ahead_and_stay_consistent(folder: Path):
    moments = np.random.default_rng(5)
    committed: set[int] = set()
    for _ in range(6):
        with start_writer(folder) as writer:
            assert writer.stdout is not None
            first = writer.stdout.readline()
            threading.Event().wait(moments.uniform(0, 0.05))
            os.kill(writer.pid, signal.SIGKILL)
            committed |= {int(line) for line in (first + writer.stdout.read()).split()}

        found = reopened(folder)
        assert found == {index: content(index) for index in found}
        assert set(found) >= committed
    assert len(committed) >= 6


@pytest.mark.parametrize("existed", [False, True])
def test_whoever_takes_over_knows_whether_the_output_was_joined(
    tmp_path: Path, folder: Path, *, existed: bool
):
    output, joined = tmp_path / "out.mp4", tmp_path / "joined"
    if existed:
        output.write_bytes(b"of last week")
    joined.write_bytes(b"of today")

    with SegmentStore(folder, "key", ".nut") as store:
        assert not store.is_joined(output)
        store.begin_join(output)
        assert not store.is_joined(output)
    joined.rename(output)  # and the process dies before it can clear away

    with SegmentStore(folder, "key", ".nut") as store:
        assert store.is_joined(output)
        assert not SegmentStore(folder, "other", ".nut").is_joined(output)
        store.remove()
    assert not folder.exists()
