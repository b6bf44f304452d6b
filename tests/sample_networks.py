"""Every network of the table, filled with numbers that are the same every time, and its inputs."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from operators.models.entry import Entry, resolve
from operators.models.fast_neural_style import TransformerNet
from operators.models.vinet import Previous
from operators.nested import leaves

LAYERS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear)
# Last layers whose plain numbers would give motion across the picture, or pictures of one level.
SCALES = {"lastconv": 0.05, "flow_head.conv2": 0.1, "backbone.conv2": 0.3}


@torch.no_grad()
def seeded_network(entry: Entry) -> nn.Module:
    """The network of an entry, for inference, with weights that keep the size of a signal."""
    assert entry.network is not None
    torch.manual_seed(0)
    network: nn.Module = resolve(entry.network)()
    for name, module in network.named_modules():
        if isinstance(module, LAYERS):
            fan_in = module.weight[0].numel()
            scale = next((scale for part, scale in SCALES.items() if part in name), 1.0)
            nn.init.normal_(module.weight, std=scale * (1.0 / fan_in) ** 0.5)
            if module.bias is not None:
                nn.init.normal_(module.bias, std=0.01 * scale)
        elif isinstance(module, nn.LayerNorm):
            # Random features that are alike or not at all would match by the last digit.
            module.weight.fill_(0.1)
    if isinstance(network, TransformerNet):
        last = network.deconv3.conv2d
        last.weight.mul_(40.0)
        last.bias.fill_(128.0)
    return network.eval().requires_grad_(requires_grad=False)


def pictures(count: int, height: int, width: int) -> Tensor:
    """Smooth pictures, ``(count, 3, H, W)``, each a little moved from the one before."""
    torch.manual_seed(1)
    coarse = torch.rand(1, 3, height // 8 + 2, width // 8 + 2)
    size = (height + count, width + 2 * count)
    large = F.interpolate(coarse, size, mode="bicubic").clamp(0.0, 1.0)
    return torch.cat([large[..., n : n + height, 2 * n : 2 * n + width] for n in range(count)])


def sample_inputs(entry: Entry, height: int, width: int) -> tuple[Any, ...]:
    """What the adapter of an entry gives to its network for a frame, or for two."""
    first, second = pictures(2, height, width).split(1)
    hole = torch.zeros(1, 1, height, width)
    hole[..., height // 4 : height // 2, width // 4 : width // 2] = 1.0
    first_and_second = (first, second)
    inputs: dict[str, tuple[Any, ...]] = {
        "rife": (*first_and_second, 0.5),
        "vinet": (
            pictures(5, height, width)[None],
            hole.expand(5, -1, -1, -1)[None],
            Previous(first, 0.5 * hole),
        ),
        "lai": (first, first, second, second, None),
        "deepfill": (first, hole),
        "inception": (first,),
        "i3d": (pictures(10, height, width)[None].transpose(1, 2), ("Mixed_5c",)),
    }
    family = entry.name.partition("-")[0]
    return inputs.get(family, (first,) if entry.kind == "translator" else first_and_second)


def tensors_of(result: Any) -> list[Tensor]:
    """All floating point tensors of what a network returned."""
    parts = leaves(tuple(result.values()) if isinstance(result, dict) else result)
    return [part for part in parts if isinstance(part, Tensor)]
