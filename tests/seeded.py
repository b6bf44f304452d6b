"""Weight files of random numbers that are the same every time, for networks of the table."""

from pathlib import Path

import torch
from torch import nn

from operators.models.entry import Entry, resolve


def save_seeded(entry: Entry, folder: Path, seed: int = 0) -> nn.Module:
    """Write the weight file of an entry into a folder; returns the network that it is of."""
    assert entry.network is not None
    torch.manual_seed(seed)
    network: nn.Module = resolve(entry.network)()
    torch.save(network.state_dict(), folder / entry.files[0])
    return network.eval().requires_grad_(requires_grad=False)
