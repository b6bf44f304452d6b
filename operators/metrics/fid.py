"""FID: how far the frames of all videos together are from reference frames, as distributions.

The reference frames are the ground truth for inpainting, and the frame by frame translation for
style transfer. The value falls as the number of frames grows, so that only sets of about the same
size can be compared.

Source:
    Heusel et al., "GANs Trained by a Two Time-Scale Update Rule", NeurIPS 2017.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from operators.metrics.frechet import frechet_distance


@dataclass(frozen=True, slots=True)
class FrechetInceptionDistanceResult:
    """The FID of a set of images.

    Attributes:
        value: NaN if a set has fewer than two images, which have no covariance.
        num_images: Images that were measured.
        num_references: Images that they were compared with.
    """

    value: float
    num_images: int
    num_references: int


class FrechetInceptionDistance:
    """The FID, fed some images of either set at a time.

    It keeps the features, on the CPU: 8 kB for each image, whatever its size.

    Args:
        network: :class:`operators.models.inception.InceptionV3`, or what else turns images,
            ``(B, 3, H, W)`` RGB in ``[0, 1]``, into features: ``(B, D)``.
    """

    def __init__(self, network: Callable[[Tensor], Tensor]) -> None:
        self._network = network
        self._features: list[Tensor] = []
        self._reference_features: list[Tensor] = []

    def update(self, images: Tensor) -> None:
        """Add images that are to be measured.

        Args:
            images: ``(B, 3, H, W)`` floating point, RGB in ``[0, 1]``.
        """
        self._features += self._network(images).detach().cpu()

    def update_references(self, images: Tensor) -> None:
        """Add images to compare with; the same layout, any number and size."""
        self._reference_features += self._network(images).detach().cpu()

    def result(self) -> FrechetInceptionDistanceResult:
        """The distance of all images so far."""
        return FrechetInceptionDistanceResult(
            value=distance_of_sets(self._features, self._reference_features),
            num_images=len(self._features),
            num_references=len(self._reference_features),
        )


def distance_of_sets(features: list[Tensor], references: list[Tensor]) -> float:
    """The Fréchet distance of two lists of features, ``(D,)`` each; NaN if one is too short."""
    if min(len(features), len(references)) < 2:
        return math.nan
    return frechet_distance(torch.stack(features), torch.stack(references))
