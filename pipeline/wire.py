"""How items cross from one stage to the next: pictures as levels, flow as half floats.

One pair of functions makes and unmakes the wire form. Every runner sends every item through it,
so that a result does not depend on where the stages run. What a stage does not read it passes on
as it came.
"""

import warnings
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, Self

import numpy.typing as npt
import torch
from torch import Tensor

from operators.base import Item
from operators.frame import Frame, FramePair, Interval, PairFlow, Stored, unread
from operators.functional.color import to_float, to_levels
from pipeline.chunk import NUMBER_BYTES

Array = npt.NDArray[Any]
FloatName = Literal["float16", "float32"]
_TYPES = {name: getattr(torch, name) for name in ("uint8", "uint16", "float16", "float32")}


@dataclass(frozen=True, slots=True)
class Wire:
    """The number formats between stages.

    Attributes:
        picture: Of pictures in ``[0, 1]``; uint16 where a video has more than eight bits.
        signal: Of outputs that are not pictures.
        flow: Of optical flow in pixels. float16 resolves 1/64 pixel up to 32 pixels of motion.
    """

    picture: Literal["uint8", "uint16", "float16", "float32"] = "uint8"
    signal: FloatName = "float32"
    flow: FloatName = "float16"

    def picture_bytes(self) -> int:
        """Bytes of one number of a picture."""
        return NUMBER_BYTES[self.picture]

    def signal_bytes(self) -> int:
        """Bytes of one number of an output that is no picture."""
        return NUMBER_BYTES[self.signal]

    def flow_bytes(self) -> int:
        """Bytes of one number of a flow."""
        return NUMBER_BYTES[self.flow]


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """An item as C-contiguous arrays, which other processes can map without a copy.

    Attributes:
        kind: The type of the item.
        facts: What is not an array.
        arrays: The arrays by the name of their attribute.
    """

    kind: type[Item]
    facts: dict[str, Any]
    arrays: dict[str, Array]

    @property
    def num_bytes(self) -> int:
        """Bytes of the arrays."""
        return sum(array.nbytes for array in self.arrays.values())


class _Array(Stored):
    """An array of the wire that is to be a tensor on a device."""

    def __init__(self, array: Array, device: torch.device) -> None:
        self.array = array
        self._device = device

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def read(self) -> object:
        return _to_tensor(self.array, self._device)

    def __getitem__(self, key: Any) -> Self:
        return type(self)(self.array[key], self._device)


class _Flow(_Array):
    """Both flows of a pair, one after the other in one array."""

    def read(self) -> object:
        return PairFlow(*_to_tensor(self.array, self._device).unbind())


_ARRAYS: dict[type[Item], tuple[str, ...]] = {
    Frame: ("image", "mask", "guide"),
    Interval: ("images", "masks", "sources", "flow"),
}


def pack(item: Item, wire: Wire) -> Packed:
    """Make the wire form of an item.

    Args:
        item: A frame or an interval, on any device.
        wire: The number formats; those that the item was packed with before, if it was.

    Raises:
        TypeError: For a frame pair: pairs are made where they are read.
    """
    if isinstance(item, FramePair):
        msg = "item must be a Frame or an Interval to be packed, got a FramePair"
        raise TypeError(msg)
    names = _ARRAYS[type(item)]
    facts = {name: value for name, value in vars(item).items() if name not in names}
    facts["time_base"] = (item.time_base.numerator, item.time_base.denominator)
    held = ((name, unread(item, name)) for name in names)
    arrays = {
        name: value.array
        if isinstance(value, _Array)
        else _to_array(name, value, wire, is_picture=item.is_picture)
        for name, value in held
        if value is not None
    }
    return Packed(type(item), facts, arrays)


def unpack(packed: Packed, device: torch.device) -> Item:
    """Make an item of its wire form.

    Args:
        packed: What :func:`pack` returned; its arrays are not written to.
        device: Where the tensors go when they are read; bytes become floats there, not before.
    """
    facts = dict(packed.facts)
    facts["time_base"] = Fraction(*facts["time_base"])
    stored: dict[str, Any] = {
        name: _Flow(array, device) if name == "flow" else _Array(array, device)
        for name, array in packed.arrays.items()
    }
    item: Item = packed.kind(**facts, **stored)
    return item


def _to_array(name: str, value: Tensor | PairFlow, wire: Wire, *, is_picture: bool) -> Array:
    if isinstance(value, PairFlow):
        # Each is rounded while it is copied, and not all of it copied before.
        both = value.forward.new_empty((2, *value.forward.shape), dtype=_TYPES[wire.flow])
        both[0], both[1] = value.forward, value.backward
        return _contiguous(both)
    if value.dtype == torch.bool:
        return _contiguous(value)
    kind = wire.signal if name in {"image", "images"} and not is_picture else wire.picture
    is_float = _TYPES[kind].is_floating_point
    return _contiguous(value.to(_TYPES[kind]) if is_float else to_levels(value, _TYPES[kind]))


def _contiguous(tensor: Tensor) -> Array:
    array: Array = tensor.cpu().contiguous().numpy()
    return array


def _to_tensor(array: Array, device: torch.device) -> Tensor:
    stored = _borrowed(array)
    tensor = stored.to(device)
    if tensor.is_floating_point():
        tensor = tensor.to(torch.float32)
    elif tensor.dtype != torch.bool:
        tensor = to_float(tensor)
    # What lies in an object store is never written to, as operators may their tensors.
    is_shared = not array.flags.writeable and tensor.data_ptr() == stored.data_ptr()
    return tensor.clone() if is_shared else tensor


def _borrowed(array: Array) -> Tensor:
    """An array as a tensor, which nobody may write to if nobody may write to the array."""
    if array.flags.writeable:
        return torch.from_numpy(array)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(array)
