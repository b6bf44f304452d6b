"""VFID: how far videos are from reference videos, as distributions of what a network sees in them.

It comes in two flavours whose values are of different size: a video gives one feature as a whole,
or one for each clip of ten frames.

Source:
    Wang et al., "Video-to-Video Synthesis", NeurIPS 2018, section 4, in the form of the published
    evaluation of Szeto and Corso, "The DEVIL is in the Details", CVPR 2022: frames in ``[0, 1]``
    at their native size, the last block of I3D averaged over time and space.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from operators.check import require_images
from operators.metrics.fid import distance_of_sets
from operators.metrics.pvcs import CLIP_LENGTH, ClipNetwork, SlidingClip

ENDPOINT = "Mixed_5c"

Unit = Literal["video", "clip"]


def clip_features(network: ClipNetwork, clips: Tensor) -> Tensor:
    """What the network sees in each clip.

    Args:
        network: What sees them.
        clips: ``(B, 3, T, H, W)`` floating point, RGB in ``[0, 1]``.

    Returns:
        ``(B, C)``, 1024 channels for I3D.
    """
    return network(clips, (ENDPOINT,))[ENDPOINT].mean(dim=(2, 3, 4))


class VideoFeatures:
    """The features of one set of videos, fed some frames at a time; kept on the CPU.

    Args:
        network: What sees the videos.
        unit: Whether there is a feature for each video or for each clip.

    Attributes:
        features: Of the videos that have ended, ``(C,)`` each; of clips, also of an open one.
        num_videos: Videos that have ended.
    """

    def __init__(self, network: ClipNetwork, unit: Unit) -> None:
        self.features: list[Tensor] = []
        self.num_videos = 0
        self._network = network
        self._unit: Unit = unit
        self._frames: list[Tensor] = []
        self._clip = SlidingClip()

    @property
    def is_open(self) -> bool:
        """True if there are frames of a video that has not ended."""
        return self._clip.num_frames > 0

    def update(self, frames: Tensor) -> None:
        """Add frames that follow those before, ``(B, 3, H, W)`` RGB in ``[0, 1]``."""
        require_images("frames", frames, channels=3)
        for frame in frames:
            clip = self._clip.push(frame)
            if self._unit == "video":
                self._frames.append(frame)
            elif clip is not None:
                self._add(clip)

    def end_video(self) -> None:
        """Complete the features of the open video, if there is one."""
        if not self.is_open:
            return
        if self._unit == "video":
            self._add(torch.stack(self._frames, dim=1)[None])
        elif self._clip.num_frames < CLIP_LENGTH:
            self._add(self._clip.padded())
        self.num_videos += 1
        self._frames, self._clip = [], SlidingClip()

    def _add(self, clip: Tensor) -> None:
        self.features += clip_features(self._network, clip).detach().cpu()


@dataclass(frozen=True, slots=True)
class VideoFrechetDistanceResult:
    """The VFID of a set of videos.

    Attributes:
        value: NaN if a set has fewer than two features, which have no covariance.
        num_videos: Videos that were measured.
        num_references: Videos that they were compared with.
        unit: What had a feature. Values of different units are not comparable.
    """

    value: float
    num_videos: int
    num_references: int
    unit: Unit


class VideoFrechetDistance:
    """The VFID of a set of videos, fed some frames of either set at a time.

    By clips it holds ten frames of either open video. By videos it holds all their frames, and
    the network reads a video at once, as the published code does: at 480 rows the first layer
    alone makes 13 MB of every frame.

    Args:
        network: What sees the videos.
        unit: A feature for each video, or for each clip of ten frames; a video that is shorter
            than a clip repeats its last frame.
    """

    def __init__(self, network: ClipNetwork, unit: Unit = "video") -> None:
        self._unit: Unit = unit
        self._measured = VideoFeatures(network, unit)
        self._references = VideoFeatures(network, unit)

    def update(self, frames: Tensor) -> None:
        """Add frames to the open video that is measured.

        Args:
            frames: ``(B, 3, H, W)`` floating point, RGB in ``[0, 1]``, at their native size.

        Raises:
            ValueError: If the shape is another, or the size not that of the frames before.
        """
        self._measured.update(frames)

    def update_references(self, frames: Tensor) -> None:
        """Add frames to the open video of the references; layout and errors of :meth:`update`."""
        self._references.update(frames)

    def end_video(self) -> None:
        """End the open video of either set, if there is one; the next frame begins another."""
        self._measured.end_video()
        self._references.end_video()

    def result(self) -> VideoFrechetDistanceResult:
        """The distance of all videos so far.

        Raises:
            ValueError: If a video was not ended.
        """
        if self._measured.is_open or self._references.is_open:
            msg = "every video must be ended before the result, got one that is open"
            raise ValueError(msg)
        return VideoFrechetDistanceResult(
            value=distance_of_sets(self._measured.features, self._references.features),
            num_videos=self._measured.num_videos,
            num_references=self._references.num_videos,
            unit=self._unit,
        )
