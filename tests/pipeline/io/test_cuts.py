"""Lists of cuts: what is read, and the one line that refuses what is no list."""

import pickle
from pathlib import Path

import pytest
from streams import LongSource

from pipeline.errors import InputError
from pipeline.io.cut_detector import DetectedCuts
from pipeline.io.cuts import Cuts, ListedCuts

SOURCE = LongSource(240, 2, 2)


def listed(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "cuts.txt"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("\n# no cut\n\n", []),
        ("120\n", [120]),
        ("1\n2\n239", [1, 2, 239]),
        ("# shots of in.mp4\n\n  31  # the bird\n\t98\r\n200\n", [31, 98, 200]),
    ],
)
def test_numbers_are_read_and_comments_and_blank_lines_are_not(
    tmp_path: Path, text: str, expected: list[int]
) -> None:
    assert ListedCuts(listed(tmp_path, text)).find(SOURCE) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10\nten\n", "line 2: a cut must be the number of a frame, got 'ten'"),
        ("10.5\n", "line 1: a cut must be the number of a frame, got '10.5'"),
        ("-3\n", "line 1: a cut must be the number of a frame, got '-3'"),
        ("10 20\n", "line 1: a cut must be the number of a frame, got '10 20'"),
        ("١٢\n", "line 1: a cut must be the number of a frame, got '١٢'"),
        (f"{'9' * 5000}\n", f"line 1: a cut must be the number of a frame, got '{'9' * 40}'"),
        ("# first\n\n0\n", "line 3: a cut must be at least 1, got 0"),
        ("10\n\n10\n", "line 3: a cut must come after the one before it, got 10"),
        ("10\n30\n20\n", "line 3: a cut must come after the one before it, got 20"),
    ],
)
def test_what_is_no_list_is_refused_by_file_and_line(
    tmp_path: Path, text: str, message: str
) -> None:
    path = listed(tmp_path, text)

    with pytest.raises(InputError) as refusal:
        ListedCuts(path)

    assert str(refusal.value) == f"{path}, {message}"


def test_a_cut_beyond_the_video_is_refused_by_file_and_line(tmp_path: Path) -> None:
    path = listed(tmp_path, "# cuts\n239\n240\n")

    with pytest.raises(InputError) as refusal:
        ListedCuts(path).find(SOURCE)

    assert str(refusal.value) == (
        f"{path}, line 3: a cut must be one of the 240 frames of long, counted from 0, got 240"
    )


@pytest.mark.parametrize(
    ("start", "frames", "expected"),
    [
        (0, None, [20, 60, 90]),
        (20, None, [40, 70]),
        (19, 42, [1, 41]),
        (30, 20, []),
        (80, 30, [10]),
    ],
)
def test_a_list_for_the_whole_video_serves_a_part_of_it(
    tmp_path: Path, start: int, frames: int | None, expected: list[int]
) -> None:
    path = listed(tmp_path, "20\n60\n90\n")
    part = LongSource(100 - start if frames is None else min(frames, 100 - start), 2, 2)

    assert ListedCuts(path, start=start, frames=frames).find(part) == expected


def test_a_cut_beyond_the_end_of_a_part_is_refused_where_the_video_ends_there(
    tmp_path: Path,
) -> None:
    path = listed(tmp_path, "20\n100\n")

    with pytest.raises(InputError, match=r"line 2: a cut must be one of the 100 frames of long"):
        ListedCuts(path, start=70, frames=40).find(LongSource(30, 2, 2))


def test_a_list_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    binary = tmp_path / "cuts.bin"
    binary.write_bytes(b"\xff\xfe\x00")

    for path, reason in (
        (tmp_path / "missing.txt", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (binary, "something that is no text"),
    ):
        with pytest.raises(InputError) as refusal:
            ListedCuts(path)

        assert str(refusal.value) == f"{path} must be a readable list of cuts, got {reason}"


def test_cuts_travel_without_their_file(tmp_path: Path) -> None:
    path = listed(tmp_path, "7\n9\n")
    cuts = ListedCuts(path)
    path.unlink()

    assert pickle.loads(pickle.dumps(cuts)).find(SOURCE) == [7, 9]  # noqa: S301 - its own bytes


def test_both_ways_to_know_cuts_keep_the_promise(tmp_path: Path) -> None:
    for cuts in (ListedCuts(listed(tmp_path, "3\n")), DetectedCuts()):
        assert isinstance(pickle.loads(pickle.dumps(cuts)), Cuts)  # noqa: S301 - its own bytes
