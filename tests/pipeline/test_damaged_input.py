"""What the command does with inputs that are not whole: one line, or what is left of them."""

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import write_clip, write_song
from command import COMMON, Refused

from pipeline import cli

QUICK = ("--method", "framewise")


@pytest.fixture
def model(tmp_path: Path) -> tuple[str, ...]:
    """A model that changes nothing."""
    path = tmp_path / "same.py"
    path.write_text("def translate(images):\n    return images\n")
    return (*QUICK, "--model", f"{path}:translate")


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """Twelve frames of which the sixth cannot be decoded."""
    clip = write_clip(tmp_path / "in.mov", codec="png", pix_fmt="rgb24", pts=range(12))
    data = bytearray(clip.read_bytes())
    with av.open(str(clip)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][5]
    at = data.index(bytes(packet))
    data[at : at + packet.size] = bytes(packet.size)
    clip.write_bytes(data)
    return clip


def test_damage_in_the_middle_names_frame_and_time(
    damaged: Path, tmp_path: Path, refused: Refused, model: tuple[str, ...]
) -> None:
    for words in ((), ("--on-error", "stop")):
        message = refused(4, damaged, tmp_path / "out.mp4", *model, *words)

        assert "in.mov cannot be decoded at frame 5, after 0.160 s" in message


def test_damage_can_be_kept_and_is_named_in_one_line_and_in_the_summary(
    damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], model: tuple[str, ...]
) -> None:
    out, summary = tmp_path / "out.mp4", tmp_path / "summary.json"
    words = [str(damaged), str(out), *COMMON, *model, "--summary", str(summary)]

    assert cli.main(["run", *words, "--on-error", "keep"]) == 0

    named = f"{damaged} is damaged: 1 of 12 frames are missing: 5 (0.200 s)"
    assert json.loads(summary.read_text())["notes"] == [named]
    lines = [line for line in capsys.readouterr().err.splitlines() if "missing" in line]
    assert lines == [f"hypercon: warning: {named}"]
    with av.open(str(out)) as container:
        moments = [picture.pts * picture.time_base for picture in container.decode(video=0)]
    assert moments == [Fraction(number, 25) for number in range(12) if number != 5]


def test_sound_with_a_cover_is_no_video(
    tmp_path: Path, refused: Refused, model: tuple[str, ...]
) -> None:
    path = tmp_path / "song.m4a"
    write_song(path)

    for choice in ("stop", "keep"):
        message = refused(4, path, tmp_path / "out.mp4", *model, "--on-error", choice)
        assert "song.m4a must have a video stream that can be decoded, got none" in message


@pytest.mark.parametrize("name", ["empty.mkv", "empty.mp4", "empty.avi"])
@pytest.mark.parametrize("choice", ["stop", "keep"])
def test_a_video_of_no_duration_is_refused(
    name: str, choice: str, tmp_path: Path, refused: Refused, model: tuple[str, ...]
) -> None:
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        container.start_encoding()

    message = refused(4, path, tmp_path / "out.mkv", *model, "--on-error", choice)

    assert name in message
    assert "must" in message


@pytest.mark.parametrize("choice", ["stop", "keep"])
def test_bytes_that_mean_nothing_are_refused(
    choice: str, tmp_path: Path, refused: Refused, model: tuple[str, ...]
) -> None:
    path = tmp_path / "noise.mp4"
    path.write_bytes(np.random.default_rng(0).bytes(50_000))

    message = refused(4, path, tmp_path / "out.mp4", *model, "--on-error", choice)

    assert "noise.mp4 must be a readable video" in message
