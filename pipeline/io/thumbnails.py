"""Pictures so small that looking at all of a video costs little more than decoding it."""

from collections.abc import Iterator

import av
import numpy as np
import torch.nn.functional as F
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from operators.frame import Frame
from operators.functional.color import to_levels
from pipeline.io.endpoint import Source, ThumbnailSource

# ``(H, W, 3)`` uint8 RGB.
Thumbnail = NDArray[np.uint8]

_SCALING = (
    Interpolation.AREA
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.ACCURATE_RND
    | Interpolation.BITEXACT
)


class Thumbnailer:
    """Shrinks decoded pictures before anything is converted. One for each stream.

    Colours are those of swscale with its defaults: good enough to tell pictures apart.

    Args:
        height: Of a thumbnail, in pixels; the aspect ratio is not kept.
        width: Of a thumbnail, in pixels.
    """

    def __init__(self, height: int, width: int) -> None:
        self._height = height
        self._width = width
        self._reformatter = VideoReformatter()

    def __call__(self, picture: av.VideoFrame) -> Thumbnail:
        """``(H, W, 3)`` uint8 RGB."""
        small = self._reformatter.reformat(
            picture,
            width=self._width,
            height=self._height,
            format="rgb24",
            interpolation=_SCALING,
        )
        return small.to_ndarray().astype(np.uint8, copy=False)


def thumbnails_of(source: Source, height: int, width: int) -> Iterator[Thumbnail]:
    """A thumbnail of every frame of a source, by the shortest way that it offers.

    Args:
        source: Gives the frames.
        height: Of a thumbnail, in pixels; the aspect ratio is not kept.
        width: Of a thumbnail, in pixels.

    Raises:
        InputError: Where the source cannot be read.
    """
    if isinstance(source, ThumbnailSource):
        yield from source.thumbnails(height, width)
    else:
        for frame in source.frames():
            yield _shrunk(frame, height, width)


def _shrunk(frame: Frame, height: int, width: int) -> Thumbnail:
    small = F.interpolate(frame.image[None], size=(height, width), mode="area")[0]
    levels: Thumbnail = to_levels(small).permute(1, 2, 0).numpy()
    return levels
