"""What the journal says of segments and who made them, whatever was torn off it or stands in it."""

import hashlib
import json
from pathlib import Path

import pytest
from kept_segments import commit, content, reopened

from pipeline.io.segments import SegmentStore


def test_the_journal_says_in_one_line_what_was_committed(folder: Path):
    with SegmentStore(folder, "key", ".nut", run="monday") as store:
        commit(store, 3, attempt=1)

    (line,) = (folder / "key" / "journal.jsonl").read_text().splitlines()

    assert json.loads(line) == {
        "index": 3,
        "first": 30,
        "stop": 40,
        "num_frames": 10,
        "size": len(content(3)),
        "sha256": hashlib.sha256(content(3)).hexdigest(),
        "attempt": 1,
        "run": "monday",
        "key": "key",
    }


def test_whoever_takes_over_knows_what_its_own_run_made(folder: Path):
    for index, run in enumerate(["monday", "tuesday", "tuesday"]):
        with SegmentStore(folder, "key", ".nut", run=run) as store:
            commit(store, index)

    with SegmentStore(folder, "key", ".nut", run="tuesday") as store:
        own = [index for index, entry in store.entries().items() if entry.run == store.run]

    assert own == [1, 2]


def test_what_was_lost_and_made_again_to_the_byte_is_of_the_run_that_made_it_again(folder: Path):
    for run in ("monday", "tuesday"):
        with SegmentStore(folder, "key", ".nut", run=run) as store:
            commit(store, 0)
            entry = store.entries()[0]
            assert entry.run == run
        entry.path.unlink()
        if run == "tuesday":
            entry.path.write_bytes(content(0))

    with SegmentStore(folder, "key", ".nut") as store:
        assert store.entries()[0].run == "tuesday"


def test_two_runs_without_a_name_are_not_one(folder: Path):
    with SegmentStore(folder, "key", ".nut") as store:
        commit(store, 0)
        made_by = store.run

    with SegmentStore(folder, "key", ".nut") as store:
        assert store.entries()[0].run == made_by != store.run


def test_a_journal_from_before_runs_had_names_is_read(folder: Path):
    with SegmentStore(folder, "key", ".nut") as store:
        commit(store, 0)
    journal = folder / "key" / "journal.jsonl"
    line = json.loads(journal.read_text())
    del line["run"]
    journal.write_text(json.dumps(line) + "\n")

    with SegmentStore(folder, "key", ".nut", run="tuesday") as store:
        assert [entry.run for entry in store.entries().values()] == [""]


def test_every_torn_journal_gives_the_segments_of_its_whole_lines(folder: Path):
    with SegmentStore(folder, "key", ".nut") as store:
        for index in range(3):
            commit(store, index)
    journal = folder / "key" / "journal.jsonl"
    whole = journal.read_bytes()

    for length in range(len(whole) + 1):
        journal.write_bytes(whole[:length])
        num_lines = whole[:length].count(b"\n")
        assert reopened(folder) == {index: content(index) for index in range(num_lines)}

    journal.write_bytes(whole[:-5])
    with SegmentStore(folder, "key", ".nut") as store:
        commit(store, 2)
    assert reopened(folder) == {index: content(index) for index in range(3)}


@pytest.mark.parametrize("line", [b"\xff\xfe\n", b"[1]\n", b"7\n", b"{}\n", b'{"key": "key"}\n'])
def test_lines_that_make_no_sense_are_ignored(folder: Path, line: bytes):
    with SegmentStore(folder, "key", ".nut") as store:
        commit(store, 0)
        with (folder / "key" / "journal.jsonl").open("ab") as journal:
            journal.write(line)
        commit(store, 1)

    assert reopened(folder) == {0: content(0), 1: content(1)}
