"""LPIPS of a video: the mean over its frames of their perceptual distance from the references.

Distances by different trunks are not comparable, so the name of the trunk is part of the result.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class PerceptualDistanceResult:
    """The LPIPS of a video.

    Attributes:
        value: Mean over frames; NaN if there was none.
        num_frames: Frames that were compared.
        network_name: The trunk that it was measured with.
    """

    value: float
    num_frames: int
    network_name: str


class PerceptualDistance:
    """The mean LPIPS of a video, fed one or more frames at a time.

    Args:
        network: :class:`operators.models.lpips.LPIPS`, or what else gives the distance of each
            image, ``(B, 3, H, W)`` RGB in ``[0, 1]``, from its reference: ``(B,)``.
        network_name: Recorded in the result; ``alex`` is the one that papers report.
    """

    def __init__(self, network: Callable[[Tensor, Tensor], Tensor], network_name: str) -> None:
        self._network = network
        self._network_name = network_name
        self._distances: list[float] = []

    def update(self, images: Tensor, references: Tensor) -> None:
        """Add frames.

        Args:
            images: ``(B, 3, H, W)`` floating point, RGB in ``[0, 1]``, at their native size.
            references: The same.
        """
        self._distances += self._network(images, references).tolist()

    def result(self) -> PerceptualDistanceResult:
        """The mean over all frames so far."""
        num_frames = len(self._distances)
        return PerceptualDistanceResult(
            value=math.fsum(self._distances) / num_frames if num_frames else math.nan,
            num_frames=num_frames,
            network_name=self._network_name,
        )
