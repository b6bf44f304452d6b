"""How items cross from one stage to the next: pictures as bytes, flow as half floats.

One pair of functions makes and unmakes the wire form. Every runner sends every item through it,
so that a result does not depend on where the stages run.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from operators.base import Item
from operators.frame import Frame, FramePair, Interval, PairFlow
from operators.functional.color import to_float, to_levels

Array = npt.NDArray[Any]
FloatName = Literal["float16", "float32"]
_FLOATS: dict[str, torch.dtype] = {"float16": torch.float16, "float32": torch.float32}


@dataclass(frozen=True, slots=True)
class Wire:
    """The number formats between stages.

    Attributes:
        picture: Of pictures in ``[0, 1]``.
        signal: Of outputs that are not pictures.
        flow: Of optical flow in pixels. float16 resolves 1/64 pixel up to 32 pixels of motion.
    """

    picture: Literal["uint8", "float16", "float32"] = "uint8"
    signal: FloatName = "float32"
    flow: FloatName = "float16"

    def picture_bytes(self) -> int:
        """Bytes of one number of a picture."""
        return {"uint8": 1, "float16": 2, "float32": 4}[self.picture]

    def flow_bytes(self) -> int:
        """Bytes of one number of a flow."""
        return {"float16": 2, "float32": 4}[self.flow]


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


def pack(item: Item, wire: Wire) -> Packed:
    """Make the wire form of an item.

    Args:
        item: A frame or an interval, on any device.
        wire: The number formats.

    Raises:
        TypeError: For a frame pair: pairs are made where they are read.
    """
    match item:
        case Frame():
            facts: dict[str, Any] = {"index": item.index}
            tensors = {"image": item.image, "mask": item.mask, "guide": item.guide}
        case Interval():
            facts = {
                "index": item.index,
                "stride": item.stride,
                "residues": item.residues,
                "num_present": item.num_present,
            }
            flow = item.flow
            tensors = {
                "images": item.images,
                "masks": item.masks,
                "sources": item.sources,
                "flow": None if flow is None else torch.stack((flow.forward, flow.backward)),
            }
        case FramePair():
            msg = "item must be a Frame or an Interval to be packed, got a FramePair"
            raise TypeError(msg)
    facts |= {
        "pts": item.pts,
        "time_base": (item.time_base.numerator, item.time_base.denominator),
        "is_halo": item.is_halo,
        "is_picture": item.is_picture,
    }
    arrays = {
        name: _to_array(name, tensor, wire, is_picture=item.is_picture)
        for name, tensor in tensors.items()
        if tensor is not None
    }
    return Packed(type(item), facts, arrays)


def unpack(packed: Packed, device: torch.device) -> Item:
    """Make an item of its wire form.

    Args:
        packed: What :func:`pack` returned; its arrays are not written to.
        device: Where the tensors go; bytes become floats there, not before.
    """
    facts = dict(packed.facts)
    facts["time_base"] = Fraction(*facts["time_base"])
    tensors: dict[str, Any] = {
        name: _to_tensor(array, device) for name, array in packed.arrays.items()
    }
    if "flow" in tensors:
        tensors["flow"] = PairFlow(*tensors["flow"].unbind())
    item: Item = packed.kind(**facts, **tensors)
    return item


def _to_array(name: str, tensor: Tensor, wire: Wire, *, is_picture: bool) -> Array:
    if tensor.dtype == torch.bool:
        return tensor.cpu().contiguous().numpy()
    if name == "flow":
        kind: str = wire.flow
    elif name in {"image", "images"} and not is_picture:
        kind = wire.signal
    else:
        kind = wire.picture
    converted = to_levels(tensor) if kind == "uint8" else tensor.to(_FLOATS[kind])
    return converted.cpu().contiguous().numpy()


def _to_tensor(array: Array, device: torch.device) -> Tensor:
    # Arrays out of an object store are read-only, which torch would warn about.
    writable = array if array.flags.writeable else np.array(array)
    tensor = torch.from_numpy(writable).to(device)
    if tensor.dtype == torch.bool:
        return tensor
    return to_float(tensor) if tensor.dtype == torch.uint8 else tensor.to(torch.float32)
