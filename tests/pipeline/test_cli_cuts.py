"""Cuts through the whole command: found, told, or refused in one line."""

import json
from pathlib import Path

import numpy as np
import pytest
from clips import read_back, write_clip
from command import COMMON, Refused

from pipeline import cli

pytestmark = pytest.mark.usefixtures("process_as_it_was")

METHOD = ("--model", "identity", "--insert", "0", "--radius", "2")


def two_scenes(number: int, height: int, width: int) -> list[np.ndarray]:
    """Stripes, and from frame 7 on a chessboard."""
    y, x = np.mgrid[0:height, 0:width]
    stripes, board = (x // 8) % 2, (x // 8 + y // 8) % 2
    luma = 40 + 150 * (stripes if number < 7 else 1 - board)
    return [luma, np.full_like(luma, 100 if number < 7 else 150), np.full_like(luma, 128)]


@pytest.fixture
def edited(tmp_path: Path) -> Path:
    """Thirteen frames of two scenes."""
    return write_clip(tmp_path / "in.mkv", codec="ffv1", pts=range(13), planes=two_scenes)


def run(source: Path, *words: str) -> tuple[dict[str, object], list[np.ndarray]]:
    """The summary, and the first planes of the output."""
    folder = source.parent
    summary, sink = folder / "summary.json", folder / "out.mkv"
    words = (*METHOD, *words, "--codec", "ffv1", "--overwrite", "--summary", str(summary))
    assert cli.main(["run", str(source), str(sink), *COMMON, *words]) == 0
    return json.loads(summary.read_text()), read_back(sink)[1]


def test_cuts_are_found_and_nothing_is_pooled_across_them(edited: Path) -> None:
    """Two still scenes: pooling within a scene changes nothing, across the cut it shows."""
    facts, lumas = run(edited)
    facts_without, lumas_without = run(edited, "--no-cuts")

    assert (facts["shots"], facts["cuts"]) == (2, [7])
    assert (facts_without["shots"], facts_without["cuts"]) == (1, [])
    _, originals = read_back(edited)
    differing = [np.abs(a.astype(int) - b).max() > 3 for a, b in zip(lumas, originals, strict=True)]
    mixed = [
        np.abs(a.astype(int) - b).max() > 3 for a, b in zip(lumas_without, originals, strict=True)
    ]
    assert not any(differing)
    assert mixed == [5 <= n <= 8 for n in range(13)]


def test_a_list_of_cuts_takes_the_place_of_looking(edited: Path) -> None:
    cuts = edited.parent / "cuts.txt"
    cuts.write_text("# by hand\n4\n7\n")

    facts, _ = run(edited, "--cuts", str(cuts))

    assert (facts["shots"], facts["cuts"]) == (3, [4, 7])


def test_a_list_of_cuts_counts_frames_of_the_whole_input(edited: Path) -> None:
    cuts = edited.parent / "cuts.txt"
    cuts.write_text("2\n7\n12\n")

    facts, _ = run(edited, "--cuts", str(cuts), "--start", "5", "--frames", "5")

    assert facts["cuts"] == [2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4\nfour\n", ", line 2: a cut must be the number of a frame, got 'four'"),
        ("7\n4\n", ", line 2: a cut must come after the one before it, got 4"),
        ("13\n", ", line 1: a cut must be one of the 13 frames of "),
    ],
)
def test_what_is_no_list_of_cuts_is_refused(
    refused: Refused, edited: Path, text: str, message: str
) -> None:
    cuts = edited.parent / "cuts.txt"
    cuts.write_text(text)

    line = refused(4, edited, edited.parent / "out.mkv", *METHOD, "--cuts", str(cuts))

    assert line.startswith(f"{cuts}{message}")


def test_a_list_of_cuts_that_is_missing_is_refused(refused: Refused, edited: Path) -> None:
    cuts = edited.parent / "absent.txt"

    line = refused(4, edited, edited.parent / "out.mkv", *METHOD, "--cuts", str(cuts))

    assert line == f"{cuts} must be a readable list of cuts, got No such file or directory"
