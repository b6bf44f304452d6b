"""The transformer of GMFlow: features of two frames, each told what is in the other.

Source:
    Xu et al., "GMFlow: Learning Optical Flow via Global Matching", CVPR 2022, section 3, with
    the shifted windows of Liu et al., "Swin Transformer", ICCV 2021.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# What the published weights were trained with; it is large beside any score, but not infinite.
UNRELATED = -100.0


def split_windows(features: Tensor, windows: int) -> Tensor:
    """Cut pictures into ``windows`` by ``windows`` parts, which become the batch.

    Args:
        features: ``(B, H, W, C)``, height and width multiples of ``windows``.
        windows: Parts along either side.

    Returns:
        ``(B * windows**2, H / windows, W / windows, C)``.
    """
    batch, height, width, channels = features.shape
    parts = features.reshape(
        batch, windows, height // windows, windows, width // windows, channels
    ).transpose(2, 3)
    return parts.reshape(-1, height // windows, width // windows, channels)


def merge_windows(parts: Tensor, windows: int) -> Tensor:
    """Put together what :func:`split_windows` cut."""
    _, height, width, channels = parts.shape
    features = parts.reshape(-1, windows, windows, height, width, channels).transpose(2, 3)
    return features.reshape(-1, windows * height, windows * width, channels)


def add_position(features: Tensor, windows: int) -> Tensor:
    """Add the sinusoidal code of the position in its window to every pixel.

    Args:
        features: ``(B, C, H, W)``, half of the channels for y, half for x.
        windows: Windows along either side.

    Returns:
        ``(B, C, H, W)``.

    Source:
        Carion et al., "DETR", ECCV 2020: positions are scaled to 2π and paired sine and cosine
        use the wavelengths of the original transformer.
    """
    _, channels, height, width = features.shape
    y = _code(height // windows, channels // 2, features)[:, None, :]
    x = _code(width // windows, channels // 2, features)[None, :, :]
    shape = (height // windows, width // windows, channels // 2)
    code = torch.cat((y.expand(shape), x.expand(shape)), dim=-1).permute(2, 0, 1)
    return features + code.repeat(1, windows, windows)


def _code(length: int, channels: int, like: Tensor) -> Tensor:
    """``(length, channels)``: sine and cosine of each position, alternating."""
    position = torch.arange(1, length + 1, device=like.device, dtype=like.dtype)
    angle = position / (length + 1e-6) * (2.0 * math.pi)
    channel = torch.arange(0, channels, 2, device=like.device, dtype=like.dtype)
    phase = angle[:, None] / 10000.0 ** (channel / channels)
    return torch.stack((phase.sin(), phase.cos()), dim=-1).flatten(1)


def shifted_window_mask(height: int, width: int, windows: int, device: torch.device) -> Tensor:
    """Which pixels of a window, after the shift by half a window, were no neighbours before.

    Args:
        height: Of the picture.
        width: Of the picture.
        windows: Windows along either side.
        device: Where the mask is needed.

    Returns:
        ``(windows**2, L, L)`` for ``L`` pixels in a window: 0, or ``UNRELATED``.
    """
    rows = _regions(height, windows, device)
    columns = _regions(width, windows, device)
    region = (rows[:, None] * 3 + columns[None, :]).view(1, height, width, 1)
    label = split_windows(region, windows).flatten(1)
    return UNRELATED * (label[:, :, None] != label[:, None, :]).float()


def _regions(length: int, windows: int, device: torch.device) -> Tensor:
    """0 up to the last window, then 1, then 2 for what wrapped around."""
    window = length // windows
    index = torch.arange(length, device=device)
    return (index >= length - window).long() + (index >= length - window // 2).long()


class Attention(nn.Module):
    """One head of attention, then optionally a small network; the result is added.

    Args:
        channels: Channels of the features.
        is_shifted: True to shift the windows by half a window.
        has_mlp: True for a network after the attention.
    """

    def __init__(self, channels: int, *, is_shifted: bool, has_mlp: bool) -> None:
        super().__init__()
        self.is_shifted = is_shifted
        self.q_proj = nn.Linear(channels, channels, bias=False)
        self.k_proj = nn.Linear(channels, channels, bias=False)
        self.v_proj = nn.Linear(channels, channels, bias=False)
        self.merge = nn.Linear(channels, channels, bias=False)
        self.norm1 = nn.LayerNorm(channels)
        self.mlp: nn.Module | None = None
        if has_mlp:
            self.mlp = nn.Sequential(
                nn.Linear(2 * channels, 8 * channels, bias=False),
                nn.GELU(),
                nn.Linear(8 * channels, channels, bias=False),
            )
            self.norm2 = nn.LayerNorm(channels)

    def forward(self, source: Tensor, target: Tensor, windows: int, mask: Tensor) -> Tensor:
        """Tell ``source`` what ``target`` holds.

        Args:
            source: ``(B, H, W, C)``.
            target: The same.
            windows: Windows along either side, within which pixels attend to each other.
            mask: Of :func:`shifted_window_mask`.

        Returns:
            ``(B, H, W, C)``.
        """
        query, key, value = self.q_proj(source), self.k_proj(target), self.v_proj(target)
        message = self.norm1(self.merge(self._attend(query, key, value, windows, mask)))
        if self.mlp is not None:
            message = self.norm2(self.mlp(torch.cat((source, message), dim=-1)))
        told: Tensor = source + message
        return told

    def _attend(
        self, query: Tensor, key: Tensor, value: Tensor, windows: int, mask: Tensor
    ) -> Tensor:
        batch, height, width, channels = query.shape
        window = (height // windows, width // windows)
        shift = (window[0] // 2, window[1] // 2)
        parts = []
        for part in (query, key, value):
            placed = part.roll((-shift[0], -shift[1]), (1, 2)) if self.is_shifted else part
            # The windows take the place of heads, so that one mask serves the whole batch.
            heads = split_windows(placed, windows).reshape(batch, windows**2, -1, channels)
            parts.append(heads)
        attended = F.scaled_dot_product_attention(
            parts[0], parts[1], parts[2], attn_mask=mask[None] if self.is_shifted else None
        )
        message = merge_windows(attended.reshape(-1, *window, channels), windows)
        return message.roll(shift, (1, 2)) if self.is_shifted else message


class Block(nn.Module):
    """Attention within a frame, then to the other frame.

    Args:
        channels: Channels of the features.
        is_shifted: True to shift the windows by half a window.
    """

    def __init__(self, channels: int, *, is_shifted: bool) -> None:
        super().__init__()
        self.self_attn = Attention(channels, is_shifted=is_shifted, has_mlp=False)
        self.cross_attn_ffn = Attention(channels, is_shifted=is_shifted, has_mlp=True)

    def forward(self, source: Tensor, target: Tensor, windows: int, mask: Tensor) -> Tensor:
        """Arguments and result as of :class:`Attention`."""
        source = self.self_attn(source, source, windows, mask)
        told: Tensor = self.cross_attn_ffn(source, target, windows, mask)
        return told


class Transformer(nn.Module):
    """Blocks whose windows are shifted every second time.

    Args:
        channels: Channels of the features.
        blocks: Number of blocks.
    """

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            Block(channels, is_shifted=number % 2 == 1) for number in range(blocks)
        )

    def forward(self, first: Tensor, second: Tensor, windows: int) -> tuple[Tensor, Tensor]:
        """Features of both frames, each told of the other.

        Args:
            first: ``(B, C, H, W)`` with positions added.
            second: The same.
            windows: Windows along either side.

        Returns:
            The same shapes.
        """
        height, width = first.shape[-2:]
        mask = shifted_window_mask(height, width, windows, first.device).to(first.dtype)
        source = torch.cat((first, second)).permute(0, 2, 3, 1).contiguous()
        for block in self.layers:
            before_first, before_second = source.chunk(2)
            source = block(source, torch.cat((before_second, before_first)), windows, mask)
        told_first, told_second = source.permute(0, 3, 1, 2).contiguous().chunk(2)
        return told_first, told_second
