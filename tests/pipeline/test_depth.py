"""More than eight bits: the wire between stages has them where either end does, and only there."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from clips import write_clip

from pipeline.build import build_pipeline
from pipeline.config import Config
from pipeline.errors import InputError
from pipeline.io.video_source import VideoSource
from pipeline.local_runner import LocalRunner
from pipeline.stage import Pipeline


def pipeline_of(clip: Path, out: Path, **values: Any) -> Pipeline:
    identity = {"method": "framewise", "translate": {"model": "identity"}}
    return build_pipeline(Config.model_validate(identity | values), clip, out)


def images(folder: Path, kind: type) -> Path:
    folder.mkdir()
    level = np.full((16, 16, 3), np.iinfo(kind).max // 3, dtype=kind)
    assert cv2.imwrite(str(folder / "0.png"), level)
    return folder


@pytest.mark.parametrize(
    ("pix_fmt", "name", "output", "picture"),
    [
        ("yuv420p", "out.mp4", {}, "uint8"),
        ("yuv444p", "out.webm", {}, "uint8"),
        ("yuv420p10le", "out.mp4", {}, "uint16"),
        # The model may still make use of what the output has no room for.
        ("yuv420p10le", "out.mp4", {"pix_fmt": "yuv420p"}, "uint16"),
        ("yuv420p", "out.mp4", {"pix_fmt": "yuv420p10le"}, "uint16"),
        ("yuv420p", "out.mov", {"codec": "prores_ks"}, "uint16"),
        ("yuv420p", "out", {}, "uint8"),
        ("yuv420p", "out", {"pix_fmt": "rgb48"}, "uint16"),
        ("yuv420p", "out", {"codec": "exr"}, "uint16"),
    ],
)
def test_pictures_travel_at_the_depth_of_the_deeper_end(
    tmp_path: Path, pix_fmt: str, name: str, output: dict[str, Any], picture: str
):
    clip = write_clip(tmp_path / "clip.mkv", codec="ffv1", pix_fmt=pix_fmt)

    assert pipeline_of(clip, tmp_path / name, output=output).wire.picture == picture


@pytest.mark.parametrize(("kind", "picture"), [(np.uint8, "uint8"), (np.uint16, "uint16")])
def test_images_travel_at_their_own_depth(tmp_path: Path, kind: type, picture: str):
    folder = images(tmp_path / "in", kind)

    assert pipeline_of(folder, tmp_path / "out").wire.picture == picture


def test_levels_between_those_of_eight_bits_reach_the_output(tmp_path: Path):
    """A ramp over every level of ten bits: through eight, three of four would be gone."""

    def ramp(number: int, height: int, width: int) -> list[Any]:
        luma = 64 + np.arange(height * width).reshape(height, width) % 877
        return [luma, np.full((height, width), 512), np.full((height, width), 512)]

    clip = write_clip(
        tmp_path / "clip.mkv",
        codec="ffv1",
        pix_fmt="yuv444p10le",
        size=(40, 48),
        planes=ramp,
        pts=range(2),
    )
    LocalRunner("cpu").run(pipeline_of(clip, tmp_path / "out.mkv", output={"codec": "ffv1"}))

    first = next(VideoSource(tmp_path / "out.mkv").frames())
    assert VideoSource(tmp_path / "out.mkv").info().pix_fmt == "yuv444p10le"
    assert len(first.image[1].unique()) == 877


def test_hdr_is_refused_by_a_run_unless_it_is_to_be_kept(tmp_path: Path):
    parameters = (
        "log-level=error:bframes=0:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc"
    )
    clip = write_clip(
        tmp_path / "hdr.mp4",
        codec="libx265",
        pix_fmt="yuv420p10le",
        size=(96, 128),
        color=(1, 9),
        options={"x265-params": parameters},
        pts=range(2),
    )
    with pytest.raises(InputError, match=r"standard dynamic range .* --hdr keep"):
        pipeline_of(clip, tmp_path / "out.mp4")

    kept = pipeline_of(clip, tmp_path / "out.mp4", source={"hdr": "keep"})
    LocalRunner("cpu").run(kept)

    before, after = (VideoSource(p, keep_hdr=True).info() for p in (clip, tmp_path / "out.mp4"))
    assert after.color == before.color
    assert (after.pix_fmt, after.color.transfer) == ("yuv420p10le", 16)
