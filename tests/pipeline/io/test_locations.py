"""From names to sources and sinks."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import MakeClip

from pipeline.errors import InputError, UsageError
from pipeline.io.image_sink import ImageFolderSink
from pipeline.io.images import ImageFolderSource
from pipeline.io.locations import open_sink, open_source, require_distinct
from pipeline.io.video_sink import VideoSink
from pipeline.io.video_source import VideoSource


def test_a_folder_is_images_and_a_file_is_a_video(tmp_path: Path, make_clip: MakeClip):
    assert cv2.imwrite(str(tmp_path / "0.png"), np.zeros((4, 6, 3), np.uint8))

    folder = open_source(tmp_path, rate=Fraction(12), size=(8, 10))
    video = open_source(make_clip(pts=range(9)), start=2, frames=3)

    assert isinstance(folder, ImageFolderSource)
    assert (folder.info().rate, folder.info().height, folder.info().width) == (12, 8, 10)
    assert isinstance(video, VideoSource)
    assert len(list(video.frames())) == 3


def test_an_input_must_exist(tmp_path: Path):
    with pytest.raises(InputError, match=r"input must exist, got .*nowhere.mp4"):
        open_source(tmp_path / "nowhere.mp4")


def test_an_output_with_an_extension_is_a_video_and_without_one_a_folder(tmp_path: Path):
    (tmp_path / "run.1").mkdir()

    assert isinstance(open_sink(tmp_path / "out.MP4", crf=20), VideoSink)
    assert isinstance(open_sink(tmp_path / "out"), ImageFolderSink)
    assert isinstance(open_sink(tmp_path / "run.1", overwrite=True), ImageFolderSink)


def test_an_encoder_of_video_is_not_chosen_for_images(tmp_path: Path):
    with pytest.raises(UsageError, match="codec must be one of png, jpeg, exr for a folder"):
        open_sink(tmp_path / "out", codec="libx264")
    with pytest.raises(UsageError, match="crf must be left out for a folder of images"):
        open_sink(tmp_path / "out", crf=20)
    with pytest.raises(UsageError, match="pix_fmt must be one of rgb24, rgb48 for png images"):
        open_sink(tmp_path / "out", pix_fmt="yuv420p")
    with pytest.raises(UsageError, match="options must be options of png images, got tune"):
        open_sink(tmp_path / "out", options={"tune": "film"})
    with pytest.raises(UsageError, match="quality must be a whole number from 1 to 100, got '0'"):
        open_sink(tmp_path / "out", codec="jpeg", options={"quality": "0"})


def test_an_unknown_extension_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match=r"output must end in one of .avi .mkv .mov .mp4 .webm"):
        open_sink(tmp_path / "out.gif")


def test_an_output_must_not_replace_its_input(tmp_path: Path):
    clip = tmp_path / "clip.mp4"
    clip.touch()
    (tmp_path / "link.mp4").symlink_to(clip)

    for name in ("clip.mp4", "link.mp4", "./other/../clip.mp4"):
        with pytest.raises(UsageError, match="output must be another place than the input"):
            require_distinct(clip, tmp_path / name)
    require_distinct(clip, tmp_path / "other.mp4")
