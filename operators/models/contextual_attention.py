"""Contextual attention: fills a hole with patches borrowed from what is known around it.

Yu et al., "Generative image inpainting with contextual attention", CVPR 2018, section 4. The
released TensorFlow code defines the layer; two PyTorch ports of it differ in details that their
weights have learnt, so the details are an argument.
"""

from dataclasses import dataclass
from enum import Enum

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from operators.check import require_images
from operators.functional.precision import exact, full_precision

RATE = 2
SOFTMAX_SCALE = 10.0
NORM_FLOOR = 1e-4
HOLE_RATE = 4


class Subsampling(Enum):
    """Which pixel a nearest-neighbour reduction keeps."""

    CORNERS = "first and last pixel of either grid coincide, halves away from zero"
    TRAILING = "the grid of the output ends one step before the corner, halves to even"
    FIRST = "the first of each group"


@dataclass(frozen=True, slots=True)
class Conventions:
    """Where the releases of DeepFill v1 disagree. Weights need the conventions of their training.

    Attributes:
        pads_symmetrically: True if a convolution of stride two pads both sides; false for
            TensorFlow's "SAME", which pads only right and below where the side is even.
        subsampling: How the layer halves the features.
        hole_subsampling: How the mask is brought to the grid of the halved features.
        clamps_norm: True if the norm of a patch is at least 1e-4; false if 1e-4 is added to each
            squared component.
    """

    pads_symmetrically: bool = False
    subsampling: Subsampling = Subsampling.CORNERS
    hole_subsampling: Subsampling = Subsampling.CORNERS
    clamps_norm: bool = True


# JiahuiYu/generative_inpainting, branch v1.0.0; also for its weights converted to PyTorch.
OFFICIAL = Conventions()
# daa233/generative-inpainting-pytorch, for weights trained there.
DAA233 = Conventions(
    pads_symmetrically=True,
    subsampling=Subsampling.FIRST,
    hole_subsampling=Subsampling.FIRST,
    clamps_norm=False,
)
# nbei/Deep-Flow-Guided-Video-Inpainting.
NBEI = Conventions(subsampling=Subsampling.TRAILING, hole_subsampling=Subsampling.FIRST)


def kept_pixels(size: int, rate: int, rule: Subsampling) -> Tensor:
    """Which pixels of a side survive a nearest-neighbour reduction.

    Args:
        size: Length of the side, a multiple of ``rate``.
        rate: Whole factor of the reduction.
        rule: Which pixel is nearest.

    Returns:
        ``(size / rate,)`` int64, ascending.
    """
    count = size // rate
    steps = torch.arange(count)
    if rule is Subsampling.FIRST:
        return steps * rate
    if rule is Subsampling.TRAILING:
        return (steps.double() * (size - 1) / count).round().long()
    # Single precision, as TensorFlow computes it: a half may come out just below a half.
    scale = (size - 1) / (count - 1) if count > 1 else float(rate)
    positions = steps.float() * torch.tensor(scale, dtype=torch.float32)
    return (positions.double() + 0.5).floor().long().clamp(max=size - 1)


def subsample(image: Tensor, rate: int, rule: Subsampling) -> Tensor:
    """``(B, C, H, W)`` to ``(B, C, H / rate, W / rate)`` by dropping pixels."""
    height, width = image.shape[-2:]
    rows = kept_pixels(height, rate, rule).to(image.device)
    columns = kept_pixels(width, rate, rule).to(image.device)
    return image[..., rows[:, None], columns]


class ContextualAttention(nn.Module):
    """Rebuilds features from their own known patches, each query a soft choice among them.

    Departure: the paper speaks of a foreground that borrows from a background; in the network
    both are the same features, and only they are an argument here. Departure: the released code
    uses the mask of the first picture for all of a batch, here each picture has its own.

    Args:
        conventions: The details of a release.
    """

    def __init__(self, conventions: Conventions = OFFICIAL) -> None:
        super().__init__()
        self.conventions = conventions

    def forward(self, features: Tensor, hole: Tensor) -> Tensor:
        """Rebuild the features.

        Args:
            features: ``(B, C, H, W)``, both sides even.
            hole: ``(B, 1, 4H, 4W)``, 1 where missing, on the grid of the picture.

        Returns:
            ``(B, C, H, W)``.

        Raises:
            ValueError: If the shapes disagree.

        Source:
            Section 4.1, "match and attend".
        """
        require_images("features", features)
        batch, _, height, width = features.shape
        if height % RATE or width % RATE:
            msg = f"features must have even sides, got {height}x{width}"
            raise ValueError(msg)
        if hole.shape != (batch, 1, HOLE_RATE * height, HOLE_RATE * width):
            msg = (
                f"hole must be ({batch}, 1, {HOLE_RATE * height}, {HOLE_RATE * width}), "
                f"got {tuple(hole.shape)}"
            )
            raise ValueError(msg)
        rule = self.conventions.hole_subsampling
        small_hole = subsample(subsample(hole, HOLE_RATE, rule), RATE, rule)
        # One picture at a time: its scores alone are (H W / 4)² numbers.
        pictures = zip(exact(features), small_hole, strict=True)
        with full_precision(features):
            return torch.cat(
                [self._rebuild(picture[None], missing[None]) for picture, missing in pictures]
            )

    def _rebuild(self, features: Tensor, hole: Tensor) -> Tensor:
        small = subsample(features, RATE, self.conventions.subsampling)
        queries = F.unfold(small, kernel_size=3, padding=1)[0]
        keys = queries / self._norm(queries)
        scores = propagate(keys.T @ queries, *small.shape[-2:])
        # A patch that touches the hole scores nothing, but stays in the sum of the softmax.
        known = (F.unfold(hole, kernel_size=3, padding=1)[0].sum(dim=0) == 0)[:, None]
        weights = (SOFTMAX_SCALE * scores * known).softmax(dim=0) * known
        patches = F.unfold(features, kernel_size=2 * RATE, stride=RATE, padding=1)[0]
        pasted = (patches @ weights)[None]
        size = features.shape[-2:]
        # Every pixel was pasted from the four patches that overlap there.
        return F.fold(pasted, size, kernel_size=2 * RATE, stride=RATE, padding=1) / 4.0

    def _norm(self, patches: Tensor) -> Tensor:
        if self.conventions.clamps_norm:
            return patches.square().sum(dim=0).sqrt().clamp(min=NORM_FLOOR)
        return (patches.square() + NORM_FLOOR).sum(dim=0).sqrt()


def propagate(scores: Tensor, height: int, width: int) -> Tensor:
    """Let neighbours that move together support each other.

    Args:
        scores: ``(H W, H W)``, patch by query, both row by row.
        height: ``H``.
        width: ``W``.

    Returns:
        The same shape: sums of three along the rows of either grid, then along the columns.

    Source:
        Section 4.1, "attention propagation", over three neighbours. As in the released code it
        is done before the softmax, and the end of a row is the neighbour of the start of the
        next.
    """
    along_rows = _sum_diagonally(scores)
    transposed = along_rows.view(height, width, height, width).permute(1, 0, 3, 2)
    along_columns = _sum_diagonally(transposed.reshape(scores.shape))
    restored = along_columns.view(width, height, width, height).permute(1, 0, 3, 2)
    return restored.reshape(scores.shape)


def _sum_diagonally(scores: Tensor) -> Tensor:
    """A 3x3 convolution with the identity matrix, zero outside."""
    total = scores.clone()
    total[1:, 1:] += scores[:-1, :-1]
    total[:-1, :-1] += scores[1:, 1:]
    return total
