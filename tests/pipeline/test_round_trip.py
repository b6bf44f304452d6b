"""What a pipeline that changes nothing loses: what the codec loses, and no more.

The same decoded pictures are encoded twice with the same settings: by a whole pipeline with the
identity for a translator, through RGB and the wire between its stages, and by PyAV alone, which
hands decoded pictures straight to the encoder. ``pytest -v`` prints the table.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clips import write_clip
from numpy.typing import NDArray

from pipeline.build import build_pipeline
from pipeline.config import Config
from pipeline.io.encoders import encoder_options
from pipeline.io.video_source import VideoSource
from pipeline.local_runner import LocalRunner

Pictures = list[list[NDArray[np.float64]]]
Row = Callable[..., None]
SIZE = (96, 128)
RANGES = ("", "limited", "full")


def scene(bits: int) -> Callable[[int, int, int], Sequence[NDArray[Any]]]:
    """Waves, texture and soft colours that move, inside the limited range and the gamut."""

    def planes(number: int, height: int, width: int) -> list[NDArray[Any]]:
        y, x = np.mgrid[0:height, 0:width].astype(float)
        texture = np.kron(np.random.default_rng(5).random((40, 50)), np.ones((4, 4)))
        texture = texture[number : number + height, 2 * number : 2 * number + width] - 0.5
        luma = 128 + 50 * np.sin(x / 9 + number / 3) * np.cos(y / 13) + 16 * texture
        cb = 128 + 24 * np.sin((x + 2 * number) / 23) + 10 * np.cos(y / 11)
        cr = 128 + 20 * np.cos((x - y + number) / 19)
        return [np.rint(plane * 2 ** (bits - 8)) for plane in (luma, cb, cr)]

    return planes


def stored(picture: av.VideoFrame) -> list[NDArray[np.float64]]:
    """The planes of a picture, the largest level being 1."""
    bits = picture.format.components[0].bits
    kind = np.uint8 if bits == 8 else np.dtype("<u2")
    rows = [np.frombuffer(memoryview(p), kind).reshape(p.height, -1) for p in picture.planes]
    planes = zip(rows, picture.planes, strict=True)
    return [part[:, : p.width].astype(float) / (2**bits - 1) for part, p in planes]


def decoded(path: Path) -> Pictures:
    with av.open(str(path)) as container:
        return [stored(picture) for picture in container.decode(video=0)]


def as_seen(path: Path) -> Pictures:
    """RGB, as any source of this project reads it; ``test_pixels`` holds that to the standards."""
    return [[frame.image.numpy().astype(float)] for frame in VideoSource(path).frames()]


def psnr(first: Pictures, second: Pictures) -> list[float]:
    """By plane, in dB, 99 for no difference; the mean squared error is over all pictures."""
    assert len(first) == len(second)
    values = []
    for number in range(len(first[0])):
        pairs = zip(first, second, strict=True)
        error = np.mean([np.mean((a[number] - b[number]) ** 2) for a, b in pairs])
        values.append(99.0 if error == 0 else min(99.0, float(-10 * np.log10(error))))
    return values


def identity(
    clip: Path,
    out: Path,
    codec: str,
    options: dict[str, str] | None = None,
    pix_fmt: str | None = None,
) -> None:
    """A pipeline that changes nothing."""
    config = Config.model_validate(
        {
            "method": "framewise",
            "translate": {"model": "identity"},
            "output": {"codec": codec, "options": options or {}, "pix_fmt": pix_fmt},
        }
    )
    LocalRunner("cpu").run(build_pipeline(config, clip, out))


def straight(
    clip: Path, out: Path, codec: str, pix_fmt: str, options: dict[str, str] | None = None
) -> None:
    """Decoded pictures into the encoder, as they are."""
    settings = encoder_options(codec, None, None, options or {})
    with av.open(str(clip)) as source, av.open(str(out), "w") as target:
        stream: Any = target.add_stream(codec, rate=25, options=settings)
        (stream.height, stream.width), stream.pix_fmt = SIZE, pix_fmt
        encoder = stream.codec_context
        encoder.thread_count = 0 if codec in {"libvpx-vp9", "libsvtav1"} else 4
        for picture in source.decode(video=0):
            encoder.color_range, encoder.colorspace = picture.color_range, picture.colorspace
            # Otherwise the encoder would make a key frame of each, as FFV1 did.
            picture.pict_type = 0
            target.mux(stream.encode(picture))
        target.mux(stream.encode(None))


@pytest.fixture(scope="module")
def row(request: pytest.FixtureRequest) -> Iterator[Row]:
    """Adds a line to the table."""
    lines: list[str] = []

    def add(*cells: object) -> None:
        texts = [f"{c:.1f}" if isinstance(c, float) else str(c) for c in cells]
        lines.append(" ".join(text.ljust(15 if at < 2 else 8) for at, text in enumerate(texts)))

    yield add
    if request.config.get_verbosity() > 0:
        writer = request.config.get_terminal_writer()
        with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            for line in ("", *lines):
                writer.line(line)


@pytest.fixture
def source_clip(tmp_path: Path) -> Callable[..., Path]:
    """A lossless clip of a pixel format, a range and a matrix."""

    def make(pix_fmt: str, color: tuple[int, int], size: tuple[int, int] = SIZE) -> Path:
        bits = av.VideoFormat(pix_fmt).components[0].bits
        return write_clip(
            tmp_path / "clip.mkv",
            codec="ffv1",
            pix_fmt=pix_fmt,
            size=size,
            color=color,
            planes=scene(bits),
            pts=range(6),
        )

    return make


LOSSY = {
    "libx264.mp4": ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le"),
    "libx265.mp4": ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv444p12le"),
    "libvpx-vp9.webm": ("yuv420p", "yuv422p", "yuv444p"),
    "libsvtav1.mp4": ("yuv420p", "yuv420p10le"),
    # ProRes has no full range.
    "prores_ks.mov": ("yuv422p10le",),
}


@pytest.mark.parametrize(
    ("name", "pix_fmt", "color_range"),
    [
        (name, pix_fmt, color_range)
        for name, formats in LOSSY.items()
        for pix_fmt in formats
        for color_range in ((1,) if name == "prores_ks.mov" else (1, 2))
    ],
)
def test_a_lossy_codec_loses_no_more_than_without_us(
    source_clip: Callable[..., Path],
    tmp_path: Path,
    row: Row,
    name: str,
    pix_fmt: str,
    color_range: int,
):
    clip = source_clip(pix_fmt, (color_range, 1))
    ours, theirs = tmp_path / name, tmp_path / f"straight_{name}"
    identity(clip, ours, ours.stem)
    straight(clip, theirs, ours.stem, pix_fmt)

    color = VideoSource(ours).info().color
    assert (color.range, color.matrix) == (color_range, 1)
    kept, lost = psnr(decoded(clip), decoded(ours)), psnr(decoded(clip), decoded(theirs))
    row(name, pix_fmt, RANGES[color_range], "ours", *kept, "straight", *lost)
    assert kept[0] >= lost[0] - 0.3
    # Chroma is scaled up for the model and down again.
    assert all(mine >= other - 1 for mine, other in zip(kept[1:], lost[1:], strict=True))
    assert min(kept) > 38


LOSSLESS = [
    ("ffv1.mkv", name, {})
    for name in ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p12le")
] + [
    ("libx264.mp4", "yuv444p", {"qp": "0"}),
    ("libx264.mp4", "yuv420p10le", {"qp": "0"}),
    ("libx265.mp4", "yuv420p", {"x265-params": "lossless=1"}),
    ("libvpx-vp9.webm", "yuv420p", {"lossless": "1"}),
]


@pytest.mark.parametrize("color", [(1, 1), (2, 6)])
@pytest.mark.parametrize(("name", "pix_fmt", "options"), LOSSLESS)
def test_a_lossless_codec_changes_luma_by_at_most_a_level(
    source_clip: Callable[..., Path],
    tmp_path: Path,
    row: Row,
    name: str,
    pix_fmt: str,
    options: dict[str, str],
    color: tuple[int, int],
):
    clip, out = source_clip(pix_fmt, color), tmp_path / name
    identity(clip, out, out.stem, options)

    before, after = decoded(clip), decoded(out)
    largest = 2 ** av.VideoFormat(pix_fmt).components[0].bits - 1
    change = max(np.abs(a[0] - b[0]).max() for a, b in zip(before, after, strict=True))
    kept = psnr(before, after)
    row(name, pix_fmt, RANGES[color[0]], "lossless", *kept)
    assert round(change * largest) <= 1
    assert kept[0] > 60
    assert min(kept) > 55
    tags = VideoSource(out).info().color
    assert (tags.range, tags.matrix) == color


@pytest.mark.parametrize("pix_fmt", ["bgr0", "gbrp10le", "gbrp16le"])
def test_rgb_stays_rgb_where_the_codec_has_it(tmp_path: Path, pix_fmt: str):
    rng = np.random.default_rng(0)
    clip, out = tmp_path / "clip.mkv", tmp_path / "out.mkv"
    with av.open(str(clip), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=25)
        (stream.height, stream.width), stream.pix_fmt = SIZE, pix_fmt
        for _ in range(2):
            noise = rng.integers(0, 1 << 16, (*SIZE, 3)).astype(np.uint16)
            picture = av.VideoFrame.from_ndarray(noise, "rgb48le")
            container.mux(stream.encode(picture.reformat(format=pix_fmt)))
        container.mux(stream.encode(None))

    identity(clip, out, "ffv1")

    assert VideoSource(out).info().pix_fmt == pix_fmt
    before, after = as_seen(clip), as_seen(out)
    assert before[0][0].std() > 0.25
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("color", [(0, 2), (1, 1), (2, 1)])
@pytest.mark.parametrize("name", ["libx264.mp4", "libx265.mp4", "ffv1.mkv", "ffv1.avi"])
def test_grey_that_is_asked_for_is_as_bright_as_the_input(
    tmp_path: Path, name: str, color: tuple[int, int]
):
    def grey(number: int, height: int, width: int) -> list[NDArray[Any]]:
        luma, *_ = scene(8)(number, height, width)
        return [luma, np.full_like(luma, 128), np.full_like(luma, 128)]

    clip = tmp_path / "clip.mkv"
    write_clip(clip, codec="ffv1", size=SIZE, color=color, planes=grey, pts=range(3))
    identity(clip, tmp_path / name, Path(name).stem, pix_fmt="gray")

    # Read as the other range it would be 30 dB apart.
    assert min(psnr(as_seen(clip), as_seen(tmp_path / name))) > 38


FIXED = [
    ("mjpeg.mov", (2, 5), 41),
    ("mjpeg.avi", (2, 5), 41),
    ("prores_ks.mov", None, 48),
    ("ffv1.avi", (0, 2), 46),
    ("mpeg4.avi", (0, 2), 38),
    ("mpeg4.mov", None, 38),
    ("ffv1.mp4", None, 46),
]


@pytest.mark.parametrize("color", [(1, 1), (2, 1), (2, 6), (0, 2), (2, 2)])
@pytest.mark.parametrize(("name", "tags", "least"), FIXED)
def test_where_range_or_matrix_cannot_be_said_colours_are_converted(
    source_clip: Callable[..., Path],
    tmp_path: Path,
    row: Row,
    name: str,
    tags: tuple[int, int] | None,
    least: float,
    color: tuple[int, int],
):
    clip, out = source_clip("yuv420p", color), tmp_path / name
    identity(clip, out, out.stem)

    found = VideoSource(out).info().color
    (kept,) = psnr(as_seen(clip), as_seen(out))
    row(name, "yuv420p", color, "->", (found.range, found.matrix), "RGB", kept)
    # Read with the wrong range or matrix they would be 30 to 37 dB apart.
    assert kept > least
    assert tags is None or (found.range, found.matrix) == tags


@pytest.mark.parametrize("size", [(67, 97), (80, 71)])
@pytest.mark.parametrize(
    "name",
    [*LOSSY, "ffv1.mkv", "mjpeg.mov", "mpeg4.mp4", "libvpx.webm"],
)
def test_odd_sizes_come_back_with_every_codec(
    source_clip: Callable[..., Path], tmp_path: Path, name: str, size: tuple[int, int]
):
    clip, out = source_clip("yuv420p", (1, 1), size), tmp_path / name
    identity(clip, out, out.stem)

    info = VideoSource(out).info()
    assert (info.height, info.width) == size
    # Edges count too: nothing is cut, padded or shifted.
    before, after = as_seen(clip), as_seen(out)
    rim = [[image[0][:, -1:, :], image[0][:, :, -1:]] for image in before]
    rim_after = [[image[0][:, -1:, :], image[0][:, :, -1:]] for image in after]
    assert min(psnr(before, after)) > 33
    assert min(psnr(rim, rim_after)) > 30
