"""RAFT (Teed and Deng, ECCV 2020): all-pairs correlation and a recurrent update, two sizes.

The layers are in ``raft_layers.py`` and have torchvision's names; :func:`from_published` also
reads the files of the authors, princeton-vl/RAFT.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from operators.check import require_pair
from operators.functional.precision import exact, full_precision
from operators.functional.warp import bilinear_sample, sample_positions
from operators.models.raft_layers import (
    STRIDE,
    Encoder,
    FlowHead,
    MaskPredictor,
    MotionEncoder,
    RecurrentBlock,
    UpdateBlock,
)

# At an eighth of the size, four levels of correlation: the coarsest must still have two pixels.
MIN_SIDE = 128
DEFAULT_NUM_UPDATES = 12

# What the authors' layers are called here, in the order in which the patterns are applied.
AUTHORS_NAMES = (
    (r"^fnet\.", "feature_encoder."),
    (r"^cnet\.", "context_encoder."),
    (r"^(\w+_encoder)\.conv1\.", r"\1.convnormrelu.0."),
    (r"^(\w+_encoder)\.norm1\.", r"\1.convnormrelu.1."),
    (r"^(\w+_encoder)\.conv2\.", r"\1.conv."),
    (r"^(\w+_encoder\.layer\d\.\d)\.conv(\d)\.", r"\1.convnormrelu\2.0."),
    (r"^(\w+_encoder\.layer\d\.\d)\.norm(\d)\.", r"\1.convnormrelu\2.1."),
    (r"^update_block\.encoder\.convc(\d)\.", r"update_block.motion_encoder.convcorr\1.0."),
    (r"^update_block\.encoder\.convf(\d)\.", r"update_block.motion_encoder.convflow\1.0."),
    (r"^update_block\.encoder\.conv\.", "update_block.motion_encoder.conv.0."),
    (r"^update_block\.gru\.conv([zrq])(\d)\.", r"update_block.recurrent_block.convgru\2.conv\1."),
    (r"^update_block\.gru\.conv([zrq])\.", r"update_block.recurrent_block.convgru1.conv\1."),
    (r"^update_block\.mask\.0\.", "mask_predictor.convrelu.0."),
    (r"^update_block\.mask\.2\.", "mask_predictor.conv."),
)
# The authors register the normalisation of a shortcut a second time, as one more of its block.
SHORTCUT_DUPLICATE = re.compile(r"\.(norm3|norm4)\.")


def from_published(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Turn the contents of a published file into a state dict of :class:`RAFT`.

    Args:
        checkpoint: A state dict of torchvision's RAFT, or of princeton-vl/RAFT, with or without
            the ``module.`` of ``DataParallel``.

    Returns:
        A state dict for strict loading.
    """
    keys = {key: key.removeprefix("module.") for key in checkpoint}
    # Only the context encoder of the large network has weights in its normalisation, and its
    # blocks have two convolutions: a third or fourth normalisation is always a duplicate.
    return {
        _own_name(key): checkpoint[published]
        for published, key in keys.items()
        if not SHORTCUT_DUPLICATE.search(key)
    }


def _own_name(key: str) -> str:
    for pattern, replacement in AUTHORS_NAMES:
        key = re.sub(pattern, replacement, key)
    return key


class CorrelationPyramid:
    """Similarity of every feature of one picture to every one of the other (section 3.2).

    Memory grows with the fourth power of the side: ``1.33 (H W / 64)²`` numbers for a pair of
    ``H`` by ``W`` pictures, 5.6 GB at 1080p.

    Args:
        first: ``(B, C, H, W)`` features.
        second: ``(B, C, H, W)`` features.
        num_levels: Levels of the pyramid, each half the size of the one before.
        radius: How far a lookup reaches at each level.
    """

    def __init__(self, first: Tensor, second: Tensor, *, num_levels: int, radius: int) -> None:
        batch, channels, height, width = first.shape
        # The division is not in the paper; the published weights were trained with it.
        with full_precision(first):
            correlation = first.flatten(2).mT @ second.flatten(2) / channels**0.5
        volume = correlation.view(batch * height * width, 1, height, width)
        self._levels = [volume]
        for _ in range(num_levels - 1):
            volume = F.avg_pool2d(volume, 2)
            self._levels.append(volume)
        steps = torch.arange(-radius, radius + 1, dtype=first.dtype, device=first.device)
        # Of a neighbourhood's two axes the first moves x and the second y: the weights want it so.
        self._offsets = torch.stack(torch.meshgrid(steps, steps, indexing="ij"))

    def lookup(self, positions: Tensor) -> Tensor:
        """Similarities around a position in the other picture, at every level.

        Args:
            positions: ``(B, 2, H, W)``, x then y, in pixels of the features.

        Returns:
            ``(B, levels * (2 radius + 1)², H, W)``; zero where the other picture has ended.
        """
        batch, _, height, width = positions.shape
        centres = positions.permute(0, 2, 3, 1).reshape(-1, 2, 1, 1)
        found = [
            bilinear_sample(volume, centres / 2**level + self._offsets, padding="zeros")
            for level, volume in enumerate(self._levels)
        ]
        channels_last = torch.cat([values.flatten(1) for values in found], dim=1)
        return channels_last.view(batch, height, width, -1).permute(0, 3, 1, 2)


def upsample_convex(flow: Tensor, logits: Tensor) -> Tensor:
    """Eight times the size, each new pixel a convex combination of 3x3 old ones (section 3.3).

    Args:
        flow: ``(B, 2, H, W)`` in pixels of its grid.
        logits: ``(B, 9 * 64, H, W)``: for each of nine neighbours in row-major order, each of
            8x8 new pixels in row-major order.

    Returns:
        ``(B, 2, 8 H, 8 W)`` in pixels of the new grid.
    """
    batch, _, height, width = flow.shape
    weights = logits.view(batch, 1, 9, STRIDE, STRIDE, height, width).softmax(dim=2)
    neighbours = F.unfold(STRIDE * flow, 3, padding=1).view(batch, 2, 9, 1, 1, height, width)
    blocks = (weights * neighbours).sum(dim=2)
    return blocks.permute(0, 1, 4, 2, 5, 3).reshape(batch, 2, STRIDE * height, STRIDE * width)


class RAFT(nn.Module):
    """RAFT: optical flow of pictures of any size.

    Pictures are padded on all sides to multiples of 8, and to 128 at least, by repeating the
    border; the flow is cropped.

    Args:
        feature_encoder: Picture to the features that are compared.
        context_encoder: Picture to the first hidden state and the context, in this order.
        correlation: Builds the :class:`CorrelationPyramid` of two feature maps.
        update_block: The iteration.
        mask_predictor: Hidden state to the weights of the upsampling; None to upsample
            bilinearly, as the small network does.
        hidden_size: Channels of the hidden state.
        num_updates: How often the iteration runs. The authors ran 12 in training and 24 or 32
            in their evaluations.
    """

    def __init__(
        self,
        *,
        feature_encoder: nn.Module,
        context_encoder: nn.Module,
        correlation: Callable[[Tensor, Tensor], CorrelationPyramid],
        update_block: nn.Module,
        mask_predictor: nn.Module | None,
        hidden_size: int,
        num_updates: int = DEFAULT_NUM_UPDATES,
    ) -> None:
        super().__init__()
        if num_updates < 1:
            msg = f"num_updates must be at least 1, got {num_updates}"
            raise ValueError(msg)
        self.feature_encoder = feature_encoder
        self.context_encoder = context_encoder
        self.correlation = correlation
        self.update_block = update_block
        self.mask_predictor = mask_predictor
        self.hidden_size = hidden_size
        self.num_updates = num_updates

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Flow from ``first`` to ``second``.

        Args:
            first: ``(B, 3, H, W)`` RGB in ``[0, 1]``.
            second: The same.

        Returns:
            ``(B, 2, H, W)`` on the grid of ``first``, pixels.

        Raises:
            ValueError: If the shapes are others.
        """
        require_pair(first, second)
        images = _prepare(torch.cat((first, second)))
        features_first, features_second = exact(self.feature_encoder(images)).chunk(2)
        flow = self._estimate(features_first, features_second, images[: first.shape[0]])
        return _crop(flow, first)

    def _estimate(self, first: Tensor, second: Tensor, images: Tensor) -> Tensor:
        """Flow at full size, from two feature maps and the pictures of the first."""
        hidden, context = self.context_encoder(images).tensor_split([self.hidden_size], dim=1)
        hidden, context = torch.tanh(hidden), torch.relu(context)
        pyramid = self.correlation(first, second)
        flow = torch.zeros_like(first[:, :2])
        for _ in range(self.num_updates):
            found = pyramid.lookup(sample_positions(flow))
            hidden, change = self.update_block(hidden, context, found, flow)
            flow = flow + change
        if self.mask_predictor is None:
            # The small network was trained without convex upsampling.
            return STRIDE * F.interpolate(
                flow, scale_factor=STRIDE, mode="bilinear", align_corners=True
            )
        return upsample_convex(flow, exact(self.mask_predictor(hidden)))


def raft_large(num_updates: int = DEFAULT_NUM_UPDATES) -> RAFT:
    """RAFT with the parts of the published large weights: 5 257 536 parameters."""
    encoder = partial(Encoder, channels=(64, 64, 96, 128), out_channels=256, is_bottleneck=False)
    return RAFT(
        feature_encoder=encoder(norm=nn.InstanceNorm2d),
        context_encoder=encoder(norm=nn.BatchNorm2d),
        correlation=partial(CorrelationPyramid, num_levels=4, radius=4),
        update_block=UpdateBlock(
            motion_encoder=MotionEncoder(
                correlation_channels=4 * 9 * 9,
                correlation_widths=(256, 192),
                flow_widths=(128, 64),
                out_channels=128,
            ),
            recurrent_block=RecurrentBlock(
                hidden_size=128, input_size=256, kernel_sizes=((1, 5), (5, 1))
            ),
            flow_head=FlowHead(hidden_size=128, width=256),
        ),
        mask_predictor=MaskPredictor(hidden_size=128, width=256),
        hidden_size=128,
        num_updates=num_updates,
    )


def raft_small(num_updates: int = DEFAULT_NUM_UPDATES) -> RAFT:
    """RAFT with the parts of the published small weights: 990 162 parameters."""
    encoder = partial(Encoder, channels=(32, 32, 64, 96), is_bottleneck=True)
    return RAFT(
        feature_encoder=encoder(out_channels=128, norm=nn.InstanceNorm2d),
        context_encoder=encoder(out_channels=160, norm=None),
        correlation=partial(CorrelationPyramid, num_levels=4, radius=3),
        update_block=UpdateBlock(
            motion_encoder=MotionEncoder(
                correlation_channels=4 * 7 * 7,
                correlation_widths=(96,),
                flow_widths=(64, 32),
                out_channels=82,
            ),
            recurrent_block=RecurrentBlock(hidden_size=96, input_size=146, kernel_sizes=((3, 3),)),
            flow_head=FlowHead(hidden_size=96, width=128),
        ),
        mask_predictor=None,
        hidden_size=96,
        num_updates=num_updates,
    )


def _margins(height: int, width: int) -> tuple[int, int, int, int]:
    """Left, right, top and bottom padding, the odd pixel on the right and at the bottom."""
    missing_x, missing_y = (max(MIN_SIDE, side + -side % STRIDE) - side for side in (width, height))
    left, top = missing_x // 2, missing_y // 2
    return left, missing_x - left, top, missing_y - top


def _prepare(images: Tensor) -> Tensor:
    """Pad, and bring to ``[-1, 1]``."""
    return F.pad(2.0 * images - 1.0, _margins(*images.shape[-2:]), mode="replicate")


def _crop(flow: Tensor, image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    left, _, top, _ = _margins(height, width)
    return flow[..., top : top + height, left : left + width]
