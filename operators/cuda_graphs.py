"""CUDA graphs: a network recorded once for each shape of its inputs, then replayed.

A small network spends its time launching kernels. A recording launches all of them at once. What
it reads and writes lies at fixed addresses, so inputs are copied into it and outputs out of it.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor, nn

from operators.nested import leaves, mapped

# A recording holds the memory of a whole pass. A pipeline sees one shape, and a time for each
# inserted frame.
MOST_RECORDINGS = 8
# Libraries choose algorithms and take workspace in their first calls, which cannot be recorded.
WARM_UPS = 3

Replay = Callable[[tuple[Any, ...]], Any]
Record = Callable[[Callable[..., Any], tuple[Any, ...]], Replay]


def record(network: Callable[..., Any], inputs: tuple[Any, ...]) -> Replay:
    """Record one pass.

    Args:
        network: Neither waits for the device nor reads memory of the host in a pass.
        inputs: Structures of CUDA tensors, and plain values, which the recording keeps.

    Returns:
        A function of inputs of the same structure and shapes.
    """
    held = mapped(inputs, torch.clone)
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call] # PyTorch has no types here
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UPS):
            network(*held)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = network(*held)

    def replay(given: tuple[Any, ...]) -> Any:
        for place, value in zip(leaves(held), leaves(given), strict=True):
            if isinstance(place, Tensor):
                place.copy_(value)
        graph.replay()
        # The next replay writes over what this one gave.
        return mapped(outputs, torch.clone)

    return replay


class Replayed(nn.Module):
    """A network that is recorded for each kind of inputs, the last few of which are kept.

    Args:
        network: As for :func:`record`.
        recorder: Records one pass.
        most: How many recordings are kept.
    """

    def __init__(
        self,
        network: Callable[..., Any],
        *,
        recorder: Record = record,
        most: int = MOST_RECORDINGS,
    ) -> None:
        super().__init__()
        self._network = network
        self._recorder = recorder
        self._most = most
        self._recordings: OrderedDict[Hashable, Replay] = OrderedDict()

    def forward(self, *inputs: Any) -> Any:
        """What the network gives; recorded first if these inputs are of a new kind."""
        kind = tuple(_kind(leaf) for leaf in leaves(inputs))
        if kind not in self._recordings:
            if len(self._recordings) >= self._most:
                self._recordings.popitem(last=False)
            self._recordings[kind] = self._recorder(self._network, inputs)
        self._recordings.move_to_end(kind)
        return self._recordings[kind](inputs)


def _kind(leaf: Any) -> Hashable:
    """What must be equal for a recording to serve: layout of tensors, all of a plain value."""
    if isinstance(leaf, Tensor):
        return leaf.shape, leaf.stride(), leaf.dtype, leaf.device
    return type(leaf), leaf
