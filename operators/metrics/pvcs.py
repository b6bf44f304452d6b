"""PVCS: how different two videos look, by what a classifier of actions sees in short clips.

The same metric as VLPIPS under the name that it was published with.

Source:
    Szeto and Corso, "The DEVIL is in the Details: A Diagnostic Evaluation Benchmark for Video
    Inpainting", CVPR 2022, in the form of its published evaluation.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from operators.check import require_images, require_same_grid
from operators.models.lpips import unit_normalize

CLIP_LENGTH = 10
ENDPOINTS = ("Conv3d_2c_3x3", "Mixed_3c", "Mixed_4f", "Mixed_5c")

# :class:`operators.models.i3d.I3D`, or what else gives features, ``(B, C, T, H, W)``, of clips,
# ``(B, 3, T, H, W)`` RGB in ``[0, 1]``, under the names that it is asked for.
ClipNetwork = Callable[[Tensor, Iterable[str]], Mapping[str, Tensor]]
Padding = Literal["own", "reference"]


class SlidingClip:
    """The last ten frames of a video, as a network of clips reads them.

    Attributes:
        num_frames: Frames of the video so far.
    """

    def __init__(self) -> None:
        self.num_frames = 0
        self._frames: deque[Tensor] = deque(maxlen=CLIP_LENGTH)

    def push(self, frame: Tensor) -> Tensor | None:
        """Add a frame.

        Args:
            frame: ``(3, H, W)``, of the size of those before it.

        Returns:
            ``(1, 3, 10, H, W)``, or None as long as the video is shorter.

        Raises:
            ValueError: If the size is another.
        """
        if self._frames and frame.shape != self._frames[0].shape:
            msg = (
                f"frames of a video must be of one size, "
                f"got {tuple(frame.shape)} after {tuple(self._frames[0].shape)}"
            )
            raise ValueError(msg)
        self._frames.append(frame)
        self.num_frames += 1
        return self.padded() if len(self._frames) == CLIP_LENGTH else None

    def last(self) -> Tensor:
        """The frame pushed last, ``(3, H, W)``."""
        return self._frames[-1]

    def padded(self, filler: Tensor | None = None) -> Tensor:
        """The clip of a video that may be too short for one.

        Args:
            filler: ``(3, H, W)``, repeated at the end; None to repeat the last frame.

        Returns:
            ``(1, 3, 10, H, W)``.
        """
        missing = CLIP_LENGTH - len(self._frames)
        filling = [self.last() if filler is None else filler] * missing
        return torch.stack((*self._frames, *filling), dim=1)[None]


def clip_distances(network: ClipNetwork, clips: Tensor, references: Tensor) -> Tensor:
    """How far clips are from their references, at each of four depths of the network.

    Args:
        network: What sees them.
        clips: ``(B, 3, T, H, W)`` floating point, RGB in ``[0, 1]``, at their native size.
        references: The same.

    Returns:
        ``(B, 4)``: squared differences of features of unit length, summed over channels and
        averaged over time and space.
    """
    of_clips = network(clips, ENDPOINTS)
    of_references = network(references, ENDPOINTS)
    distances = []
    for name in ENDPOINTS:
        difference = unit_normalize(of_clips[name]) - unit_normalize(of_references[name])
        distances.append(difference.square().sum(dim=1).mean(dim=(1, 2, 3)))
    return torch.stack(distances, dim=1)


@dataclass(frozen=True, slots=True)
class ClipSimilarityResult:
    """The PVCS of a video: a distance, less is better.

    Attributes:
        value: Mean over windows; NaN if there was no frame.
        num_frames: Frames that were compared.
        num_windows: Clips that were compared, one for a video that is shorter than a clip.
    """

    value: float
    num_frames: int
    num_windows: int


class PerceptualVideoClipSimilarity:
    """The PVCS of a video, fed one or more frames at a time.

    Every ten consecutive frames are a clip. It holds the last ten frames of either video.

    Args:
        network: What sees the clips.
        padding: What a video of fewer than ten frames is extended with: its own last frame, or,
            as the published code does to both videos, the last frame of the reference. That
            makes short videos look better than they are.
    """

    def __init__(self, network: ClipNetwork, padding: Padding = "own") -> None:
        self._network = network
        self._padding: Padding = padding
        self._clip, self._reference_clip = SlidingClip(), SlidingClip()
        self._distances: list[float] = []

    def update(self, images: Tensor, references: Tensor) -> None:
        """Add frames that follow those before.

        Args:
            images: ``(B, 3, H, W)`` floating point, RGB in ``[0, 1]``, at their native size.
            references: The same.

        Raises:
            ValueError: If the shapes disagree, or are others than before.
        """
        require_images("images", images, channels=3)
        require_images("references", references, channels=3)
        require_same_grid("references", references, "images", images)
        for image, reference in zip(images, references, strict=True):
            clip, reference_clip = self._clip.push(image), self._reference_clip.push(reference)
            if clip is not None and reference_clip is not None:
                self._distances.append(self._distance(clip, reference_clip))

    def result(self) -> ClipSimilarityResult:
        """The mean over all windows so far."""
        distances = self._distances
        num_frames = self._clip.num_frames
        if 0 < num_frames < CLIP_LENGTH:
            filler = self._reference_clip.last() if self._padding == "reference" else None
            padded, reference = self._clip.padded(filler), self._reference_clip.padded()
            distances = [self._distance(padded, reference)]
        return ClipSimilarityResult(
            value=math.fsum(distances) / len(distances) if distances else math.nan,
            num_frames=num_frames,
            num_windows=len(distances),
        )

    def _distance(self, clip: Tensor, reference: Tensor) -> float:
        return clip_distances(self._network, clip, reference).sum().item()
