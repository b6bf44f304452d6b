"""The promises that operators and the models inside them make. No code, only the contracts."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from operators.frame import Frame, FramePair, Interval

Item = Frame | FramePair | Interval


@runtime_checkable
class Operator(Protocol):
    """A step of the stream, run by one owner at a time.

    The constructor is cheap and the object can be pickled: it describes the work. The owner
    calls ``setup`` once, then ``process`` for each item of a shot in order and ``flush`` at the
    end of the shot, shot after shot, and ``close`` exactly once even after an error.

    Attributes:
        takes: The type of item that ``process`` reads. A runner turns frames into pairs or into
            intervals where this asks for it.
        is_stateful: True if ``process`` remembers earlier items. A stateful operator has one
            owner for a shot; any number of owners may share the items of a stateless one.
        reach: Original frames before and after its own that an output depends on, beyond the
            second frame of a pair. A video is cut into segments that overlap by it; None keeps
            every shot whole. One that depends on fewer items after its own says how many in a
            further attribute, ``ahead``: the frames between are then read as successors only.
    """

    @property
    def takes(self) -> type[Item]:
        """The type of item that ``process`` reads."""
        ...

    @property
    def is_stateful(self) -> bool:
        """Whether ``process`` remembers earlier items."""
        ...

    @property
    def reach(self) -> int | None:
        """Frames on each side that an output depends on; None for all of the shot."""
        ...

    def setup(self, device: torch.device) -> None:
        """Load weights and allocate buffers on ``device``."""
        ...

    def process(self, item: Any) -> Iterable[Item]:
        """Yield the results, zero or more, that became ready because of ``item``."""
        ...

    def flush(self) -> Iterable[Item]:
        """Yield what is still held at the end of a shot, and forget the shot."""
        ...

    def close(self) -> None:
        """Release what ``setup`` took."""
        ...


@runtime_checkable
class FlowEstimator(Protocol):
    """Estimates optical flow. Picklable before ``setup``."""

    def setup(self, device: torch.device) -> None:
        """Load weights on ``device``."""
        ...

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """Flow from ``first`` to ``second``.

        Args:
            first: ``(B, 3, H, W)`` float32 RGB in ``[0, 1]``, any size.
            second: The same.

        Returns:
            ``(B, 2, H, W)`` float32 on the grid of ``first``, pixels.
        """
        ...

    def pair(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Flow both ways in one call: from ``first`` to ``second``, then back."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Grids:
    """What equation (1) of the paper gives for an instant between two frames.

    Attributes:
        flow_t0: ``(B, 2, H, W)`` on the grid of the instant, pointing into the first frame.
        flow_t1: ``(B, 2, H, W)`` on the grid of the instant, pointing into the second frame.
        weight_of_1: ``(B, 1, H, W)`` in ``[0, 1]``, the share of the second frame.
    """

    flow_t0: Tensor
    flow_t1: Tensor
    weight_of_1: Tensor


@runtime_checkable
class Interpolator(Protocol):
    """Finds the sampling grids of the instants between two frames. Picklable before ``setup``.

    Attributes:
        reads_flow: True if ``__call__`` needs the flow of the pair.
    """

    reads_flow: bool

    def setup(self, device: torch.device) -> None:
        """Load weights on ``device``."""
        ...

    def __call__(
        self,
        first: Tensor,
        second: Tensor,
        flow: tuple[Tensor, Tensor] | None,
        times: tuple[float, ...],
    ) -> list[Grids]:
        """Grids and blend weight for each instant of ``times``.

        Args:
            first: ``(1, 3, H, W)`` float32 RGB in ``[0, 1]``, any size.
            second: The same.
            flow: Forward and backward flow of the pair, each ``(1, 2, H, W)``; None where
                ``reads_flow`` is false.
            times: Instants strictly between 0 and 1.
        """
        ...


@dataclass(frozen=True, slots=True)
class TranslatorTraits:
    """What a translator declares about itself.

    Attributes:
        channels: Channels of the output.
        scale: Output size over input size, a whole number (2 for a twofold upscaler).
        multiple: Height and width of the input must be multiples of this; the operator pads.
        batch: The exact batch size that the model needs, or None if any will do.
        takes_mask: True if it is called with masks as a second argument.
        is_picture: True if the output is a picture in ``[0, 1]``; false for depth, logits and
            the like, which are neither clamped nor rounded to eight bits.
        is_deterministic: True if equal inputs give equal outputs.
    """

    channels: int = 3
    scale: int = 1
    multiple: int = 1
    batch: int | None = None
    takes_mask: bool = False
    is_picture: bool = True
    is_deterministic: bool = True

    def __post_init__(self) -> None:
        for name in ("channels", "scale", "multiple", "batch"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                msg = f"translator trait {name} must be a whole number of at least 1, got {value!r}"
                raise ValueError(msg)


@runtime_checkable
class Translator(Protocol):
    """An image-to-image model. Picklable before ``setup``; ``traits`` is known after it.

    Attributes:
        name: What messages call the model.
        traits: What the model declares.
    """

    name: str
    traits: TranslatorTraits

    def setup(self, device: torch.device) -> None:
        """Load weights on ``device``."""
        ...

    def __call__(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Translate a batch.

        Args:
            images: ``(B, 3, H, W)`` float32 RGB in ``[0, 1]``; ``B`` and the multiple of ``H``
                and ``W`` as declared.
            masks: ``(B, 1, H, W)`` float32, 1 where missing; given only if declared.

        Returns:
            ``(B, channels, H * scale, W * scale)``.
        """
        ...
