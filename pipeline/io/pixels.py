"""Decoded pictures of FFmpeg to image tensors and back."""

import av
import numpy as np
import torch
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray
from torch import Tensor

from pipeline.io.color_tags import FULL_RANGE, range_in_use
from pipeline.io.endpoint import ColorTags
from pipeline.io.pixel_formats import depth_of
from pipeline.io.yuv import matrix_in_use, rgb_from_yuv, yuv_from_rgb

_SCALING = (
    Interpolation.BICUBIC
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.ACCURATE_RND
    | Interpolation.BITEXACT
)


class ImageReader:
    """Turns decoded pictures into images. One for each stream: it keeps a scaler.

    Args:
        color: Colour tags of the stream.
        size: Height and width to scale to (bicubic), or None to keep the size.
        quarter_turns: Turns of 90 degrees, counter-clockwise, that set the picture upright. They
            are made after scaling; ``size`` is that of the upright picture.
    """

    def __init__(
        self, color: ColorTags, size: tuple[int, int] | None = None, quarter_turns: int = 0
    ) -> None:
        self._color = color
        self._size = size if size is None or quarter_turns % 2 == 0 else (size[1], size[0])
        self._quarter_turns = quarter_turns
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> Tensor:
        """``(3, H, W)`` float32 RGB in ``[0, 1]``, at the full depth of the stream."""
        bits = depth_of(frame.format)
        if frame.format.is_rgb or frame.format.has_palette:
            levels = _levels(self._reformat(frame, "gbrp", bits, FULL_RANGE))
            image = torch.from_numpy(levels[[2, 0, 1]]) / float((1 << bits) - 1)
        else:
            image = self._from_yuv(frame, bits)
        if self._quarter_turns:
            image = torch.rot90(image, self._quarter_turns, dims=(-2, -1))
        return image.contiguous()

    def _from_yuv(self, frame: av.VideoFrame, bits: int) -> Tensor:
        is_grey = frame.format.name.startswith("gray")
        color_range = range_in_use(self._color.range, frame.format.name)
        layout = "gray" if is_grey else "yuv444p"
        levels = torch.from_numpy(_levels(self._reformat(frame, layout, bits, color_range)))
        if is_grey:
            neutral = torch.full_like(levels, float(1 << (bits - 1)))
            levels = torch.cat((levels, neutral, neutral))
        return rgb_from_yuv(
            levels,
            matrix_in_use(self._color.matrix, frame.height),
            is_full_range=color_range == FULL_RANGE,
            bits=bits,
        )

    def _reformat(
        self, frame: av.VideoFrame, layout: str, bits: int, color_range: int
    ) -> av.VideoFrame:
        """Scale and bring chroma to full resolution; neither matrix nor range changes."""
        height, width = self._size or (frame.height, frame.width)
        return self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format=layout if bits == 8 else f"{layout}{bits}le",
            src_color_range=color_range,
            dst_color_range=color_range,
            interpolation=_SCALING,
        )


class ImageWriter:
    """Turns images into pictures for an encoder. One for each stream: it keeps a scaler.

    Args:
        pix_fmt: Pixel format of the encoder.
        color: Colour tags of the output, as :func:`pipeline.io.color_tags.output_color` gives them.
    """

    def __init__(self, pix_fmt: str, color: ColorTags) -> None:
        self._format = av.VideoFormat(pix_fmt)
        self._color = color
        self._reformatter = VideoReformatter()

    def __call__(self, image: Tensor) -> av.VideoFrame:
        """A picture of the encoder's format.

        Args:
            image: ``(3, H, W)`` or ``(1, H, W)`` float32 in ``[0, 1]``.
        """
        bits = depth_of(self._format)
        image = image.detach().to("cpu", torch.float32).expand(3, -1, -1)
        if self._format.is_rgb:
            largest = float((1 << bits) - 1)
            levels = (image[[1, 2, 0]].clamp(0.0, 1.0) * largest).round()
            layout = "gbrp"
        else:
            layout = "yuv444p"
            levels = yuv_from_rgb(
                image,
                matrix_in_use(self._color.matrix, image.shape[-2]),
                is_full_range=range_in_use(self._color.range, self._format.name) == FULL_RANGE,
                bits=bits,
            )
        picture = _picture(levels.numpy(), layout, bits)
        return self._finish(picture)

    def _finish(self, picture: av.VideoFrame) -> av.VideoFrame:
        color_range = range_in_use(self._color.range, self._format.name)
        if self._format.name.startswith("gray"):
            # swscale takes grey for full range whatever its tag: hand luma over as it is.
            luma = _levels(picture)[:1]
            bits = depth_of(self._format)
            reformatted = _picture(luma, "gray", bits)
        else:
            reformatted = self._reformatter.reformat(
                picture,
                format=self._format.name,
                src_color_range=color_range,
                dst_color_range=color_range,
                interpolation=_SCALING,
            )
        reformatted.color_range = self._color.range
        reformatted.colorspace = self._color.matrix
        reformatted.color_primaries = self._color.primaries
        reformatted.color_trc = self._color.transfer
        return reformatted


def _levels(picture: av.VideoFrame) -> NDArray[np.float32]:
    """The planes of a planar picture whose planes all have its size, ``(P, H, W)``."""
    kind = np.uint8 if picture.format.components[0].bits == 8 else np.dtype("<u2")
    rows = [
        np.frombuffer(memoryview(plane), dtype=kind).reshape(plane.height, -1)[:, : plane.width]
        for plane in picture.planes
    ]
    return np.stack(rows).astype(np.float32)


def _picture(levels: NDArray[np.float32], layout: str, bits: int) -> av.VideoFrame:
    """The inverse of :func:`_levels`."""
    _, height, width = levels.shape
    picture = av.VideoFrame(width, height, layout if bits == 8 else f"{layout}{bits}le")
    kind = np.dtype(np.uint8 if bits == 8 else "<u2")
    for plane, rows in zip(picture.planes, levels, strict=True):
        padded = np.zeros((height, plane.line_size // kind.itemsize), dtype=kind)
        padded[:, :width] = rows
        plane.update(padded.tobytes())
    return picture
