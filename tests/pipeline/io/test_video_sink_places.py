"""Where a video goes: names, disks, refusals."""

import errno
import resource
from pathlib import Path
from typing import Any

import pytest
from clips import MakeClip
from sinks import SinkAt, plain_frame, plain_info, write_noise

from pipeline.errors import InputError, ResourceError, UsageError
from pipeline.io.endpoint import Sink
from pipeline.io.video_sink import VideoSink
from pipeline.io.video_source import VideoSource


def test_nothing_has_the_final_name_before_close(sink_at: SinkAt):
    sink = sink_at()
    for number in range(5):
        sink.write(plain_frame(number))
        assert not sink.path.exists()

    sink.close()

    assert list(sink.path.parent.iterdir()) == [sink.path]
    sink.close()
    sink.abort()
    assert sink.path.exists()


def test_abort_leaves_nothing_however_often_it_is_called(sink_at: SinkAt):
    sink = sink_at()
    sink.abort()
    assert isinstance(sink, Sink)
    sink.open(plain_info())
    sink.write(plain_frame(0))

    sink.abort()
    sink.abort()

    assert list(sink.path.parent.iterdir()) == []


def test_a_sink_that_is_forgotten_leaves_the_old_file_alone(tmp_path: Path):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"old")
    sink = VideoSink(path, overwrite=True)
    sink.open(plain_info())
    sink.write(plain_frame(0))
    del sink

    assert path.read_bytes() == b"old"


def test_an_existing_output_is_replaced_only_where_that_is_asked_for(tmp_path: Path):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"old")

    with pytest.raises(UsageError, match=r"output must not exist .* got .*out.mp4"):
        VideoSink(path).open(plain_info())

    sink = VideoSink(path, overwrite=True)
    sink.open(plain_info())
    sink.write(plain_frame(0))
    sink.close()
    assert len(list(VideoSource(path).frames())) == 1


def test_places_that_cannot_be_written_are_refused_before_any_work(
    tmp_path: Path, make_clip: MakeClip
):
    clip = make_clip()
    (tmp_path / "folder.mp4").mkdir()

    for path, words in (
        (tmp_path / "missing" / "out.mp4", "the folder of output .* must exist"),
        (tmp_path / "folder.mp4", "output must be a file"),
    ):
        with pytest.raises(UsageError, match=words):
            VideoSink(path, overwrite=True).open(plain_info())
    with pytest.raises(UsageError, match="output must be another file than the input"):
        VideoSink(clip, overwrite=True).open(VideoSource(clip).info())


def test_unknown_names_are_answered_with_the_known_ones(tmp_path: Path):
    with pytest.raises(
        UsageError, match=r"must end in one of .avi .mkv .mov .mp4 .webm, got .*x.gif"
    ):
        VideoSink(tmp_path / "x.gif")
    with pytest.raises(
        UsageError, match=r"codec must be a video encoder such as .*libx264.* 'h265x'"
    ):
        VideoSink(tmp_path / "x.mp4", codec="h265x").open(plain_info())
    with pytest.raises(UsageError, match="codec must be a video encoder"):
        VideoSink(tmp_path / "x.mp4", codec="aac").open(plain_info())
    with pytest.raises(UsageError, match="crf must be left out for prores_ks"):
        VideoSink(tmp_path / "x.mov", codec="prores_ks", crf=20)


@pytest.mark.parametrize(
    ("choices", "shape", "words"),
    [
        ({"pix_fmt": "yuv420p"}, (3, 15, 24), "sides divisible by 2 and 2 for yuv420p, got 24x15"),
        (
            {"codec": "libx265"},
            (3, 200, 64),
            "sides of at least 65 .* libx265, got 64x200; libx264",
        ),
        ({}, (4, 16, 24), "must get frames of 1 or 3 channels, got 4 at frame 0; map them"),
    ],
)
def test_what_the_encoder_cannot_do_with_a_frame_is_the_users_choice(
    sink_at: SinkAt, choices: dict[str, Any], shape: tuple[int, int, int], words: str
):
    sink = sink_at(**choices)

    with pytest.raises(UsageError, match=words):
        sink.write(plain_frame(0, shape))

    sink.abort()
    assert list(sink.path.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"pix_fmt": "rgb24"}, "pix_fmt must be one of yuv420p, .* got 'rgb24'"),
        ({"pix_fmt": "yuv999p"}, "pix_fmt must be a pixel format of FFmpeg, got 'yuv999p'"),
        ({"options": {"crop": "1"}}, "options must be options of libx264, got crop"),
        ({"codec": "utvideo"}, "codec must be one that a .mp4 file can hold, got 'utv"),
        ({"preset": "hasty"}, "libx264 must be given options .* preset=hasty for yuv420p: .*hasty"),
        ({"crf": 20, "codec": "ffv1"}, "crf must be left out for ffv1, .* 20; it is lossless"),
        ({"preset": "fast", "codec": "mjpeg"}, "preset must be left out for mjpeg, .* got fast"),
        ({"preset": "medium", "codec": "libsvtav1"}, "libsvtav1 must be given .* value medium"),
        ({"crf": 900, "codec": "libvpx-vp9"}, "libvpx-vp9 must be given options .* crf=900"),
        ({"options": {"crf": "20"}, "codec": "prores_ks"}, "options of prores_ks, got crf"),
    ],
)
def test_what_the_encoder_does_not_know_is_said_before_anything_is_done(
    tmp_path: Path, choices: dict[str, Any], words: str
):
    name = "out.mov" if choices.get("codec") == "prores_ks" else "out.mp4"

    with pytest.raises(UsageError, match=words):
        VideoSink(tmp_path / name, **choices)

    assert list(tmp_path.iterdir()) == []


def test_frames_must_keep_their_shape_and_their_order(sink_at: SinkAt):
    sink = sink_at()
    sink.write(plain_frame(0))
    with pytest.raises(ValueError, match=r"frames of one shape, got \(3, 16, 26\) at frame 1"):
        sink.write(plain_frame(1, (3, 16, 26)))

    sink = sink_at("order.mp4")
    sink.write(plain_frame(3))
    with pytest.raises(ValueError, match="in the order in which they are shown, got frame 2"):
        sink.write(plain_frame(2))
    assert list(sink.path.parent.iterdir()) == []


def test_an_output_without_frames_is_refused(sink_at: SinkAt):
    sink = sink_at()

    with pytest.raises(InputError, match="at least one frame, got none"):
        sink.close()

    assert list(sink.path.parent.iterdir()) == []


def test_a_disk_that_is_full_ends_the_command_and_leaves_nothing(sink_at: SinkAt):
    """The system refuses to let a file of this process grow, as a full disk would."""
    sink = sink_at(crf=0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
    try:
        with pytest.raises(ResourceError, match="must fit on its disk"):
            write_noise(sink)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert list(sink.path.parent.iterdir()) == []


def test_no_space_while_finishing_is_not_taken_for_success(
    sink_at: SinkAt, monkeypatch: pytest.MonkeyPatch
):
    sink = sink_at()
    sink.write(plain_frame(0))

    def refuse(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pipeline.io.part_file.os.fsync", refuse)

    with pytest.raises(ResourceError, match="must fit on its disk, got No space left on device"):
        sink.close()

    assert list(sink.path.parent.iterdir()) == []


def test_a_link_is_written_through(tmp_path: Path):
    target = tmp_path / "target.mp4"
    link = tmp_path / "link.mp4"
    link.symlink_to(target)
    sink = VideoSink(link)
    sink.open(plain_info())
    sink.write(plain_frame(0))
    sink.close()

    assert link.is_symlink()
    assert len(list(VideoSource(target).frames())) == 1


def test_metadata_is_carried_but_not_that_of_the_muxer(sink_at: SinkAt):
    sink = sink_at(info=plain_info(tags={"title": "A day", "major_brand": "qt  "}))
    sink.write(plain_frame(0))
    sink.close()

    tags = VideoSource(sink.path).info().tags
    assert tags["title"] == "A day"
    assert tags["major_brand"] == "isom"


def test_writing_before_opening_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="must be opened before frame 4 is written"):
        VideoSink(tmp_path / "out.mp4").write(plain_frame(4))
