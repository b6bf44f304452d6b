"""What travels between operators: frames, pairs of frames, and intervals of the dense timeline.

What a frame or an interval holds may come in the form in which it travelled, as :class:`Stored`:
it becomes a tensor when an operator first reads it, and not at all where nobody does.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Self, TypeVar

from torch import Tensor

T = TypeVar("T")
Item = TypeVar("Item", bound="Frame | Interval")


class Stored(ABC):
    """What an attribute of an item will be, before anyone has read it."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape that the tensor will have."""

    @abstractmethod
    def read(self) -> object:
        """Make the value of the attribute."""

    @abstractmethod
    def __getitem__(self, key: Any) -> Self:
        """A part of it, or with ``None`` a view of one more dimension, still unread."""


class _ReadLate:
    """An attribute that turns what is stored into its value when it is first read."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, item: Any, owner: type | None = None) -> Any:
        if item is None:
            return self
        value = item.__dict__[self._name]
        if isinstance(value, Stored):
            value = item.__dict__[self._name] = value.read()
        return value

    def __set__(self, item: Any, value: object) -> None:
        item.__dict__[self._name] = value


def _reads_late(*names: str) -> Callable[[type[T]], type[T]]:
    def changed(cls: type[T]) -> type[T]:
        for name in names:
            setattr(cls, name, _ReadLate(name))
        return cls

    return changed


def unread(item: "Frame | Interval", name: str) -> Any:
    """An attribute as it is: its value or, where nobody has read it yet, a :class:`Stored`."""
    return item.__dict__[name]


def with_changes(item: Item, **changes: object) -> Item:
    """A frame or an interval with other values for some attributes; nothing is read for it.

    Raises:
        TypeError: If it has no such attribute.
        ValueError: If it cannot have such a value.
    """
    unknown = changes.keys() - item.__dict__.keys()
    if unknown:
        msg = f"{type(item).__name__} must have what is changed, got {sorted(unknown)}"
        raise TypeError(msg)
    changed = object.__new__(type(item))
    changed.__dict__.update(item.__dict__, **changes)
    changed.__post_init__()
    return changed


@_reads_late("image", "mask", "guide")
@dataclass(frozen=True, eq=False)
class Frame:
    """One picture and the moment it is shown.

    Attributes:
        index: Number of the frame in its source, from zero.
        image: ``(C, H, W)`` float32; RGB in ``[0, 1]`` unless a translator declared otherwise.
        pts: Presentation timestamp in ticks of ``time_base``.
        time_base: Seconds per tick, always positive.
        mask: ``(1, H, W)`` bool on the grid of the untranslated picture, true where it is missing
            and is to be filled; None for a video without masks.
        guide: ``(3, H, W)`` the untranslated picture, for operators that read it; otherwise None.
        is_halo: True for a frame that only serves its neighbours and is not emitted.
        is_picture: False for what a translator declared not to be a picture (depth, logits): it
            is neither clamped nor rounded to eight bits on its way.
    """

    index: int
    image: Tensor
    pts: int
    time_base: Fraction
    mask: Tensor | None = None
    guide: Tensor | None = None
    is_halo: bool = False
    is_picture: bool = True

    def __post_init__(self) -> None:
        shape = tuple(unread(self, "image").shape)
        if len(shape) != 3:
            msg = f"Frame.image must be (C, H, W), got {shape}"
            raise ValueError(msg)
        if self.time_base <= 0:
            msg = f"Frame.time_base must be positive, got {self.time_base}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, eq=False)
class FramePair:
    """A frame and its successor in the same shot.

    Attributes:
        first: The frame.
        second: The next frame, or None if the shot (or what is read of it) ends with ``first``.
    """

    first: Frame
    second: Frame | None


@dataclass(frozen=True, slots=True, eq=False)
class PairFlow:
    """Optical flow between two consecutive frames, both ways.

    Attributes:
        forward: ``(2, H, W)`` on the grid of the first frame, pointing into the second, pixels.
        backward: ``(2, H, W)`` on the grid of the second frame, pointing into the first, pixels.
    """

    forward: Tensor
    backward: Tensor


@_reads_late("images", "masks", "flow", "sources")
@dataclass(frozen=True, eq=False)
class Interval:
    """An original frame and what was inserted between it and the next: the unit of work.

    All intervals of a run have the same shape, so that models see batches of fixed shape. The
    last interval of a shot has nothing after its original frame; its missing images repeat that
    frame and ``num_present`` is 1.

    Attributes:
        index: Number of the original frame in its source, from zero.
        stride: Dense steps from one original frame to the next.
        residues: Dense offset of each image from the original frame, ascending; the first is 0,
            the original itself. Only offsets that some window reads are present.
        images: ``(K, C, H, W)`` float32, one for each residue.
        num_present: How many leading images exist; the rest is padding that nobody reads.
        pts: Presentation timestamp of the original frame.
        time_base: Seconds per tick.
        masks: ``(K, 1, H, W)`` bool, true where missing; or None.
        flow: The flow between the original frame and the next; None at the end of a shot and
            where nobody reads it.
        sources: The untranslated images, where a later operator reads them: ``(K, 3, H, W)``, or
            ``(1, 3, H, W)`` where only the original frame is read.
        is_halo: True for an interval that only serves its neighbours.
        is_picture: As for a frame.
    """

    index: int
    stride: int
    residues: tuple[int, ...]
    images: Tensor
    num_present: int
    pts: int
    time_base: Fraction
    masks: Tensor | None = None
    flow: PairFlow | None = None
    sources: Tensor | None = None
    is_halo: bool = False
    is_picture: bool = True

    def __post_init__(self) -> None:
        shape = tuple(unread(self, "images").shape)
        if len(shape) != 4 or shape[0] != len(self.residues):
            msg = (
                f"Interval.images must be (K, C, H, W) with one image for each of "
                f"{len(self.residues)} residues, got {shape}"
            )
            raise ValueError(msg)
        if not 1 <= self.num_present <= len(self.residues):
            msg = f"Interval.num_present must be 1 to {len(self.residues)}, got {self.num_present}"
            raise ValueError(msg)


def interval_of(frame: Frame) -> Interval:
    """A frame as an interval of one image: frame-wise pipelines insert nothing."""
    mask, guide = unread(frame, "mask"), unread(frame, "guide")
    return Interval(
        index=frame.index,
        stride=1,
        residues=(0,),
        images=unread(frame, "image")[None],
        num_present=1,
        pts=frame.pts,
        time_base=frame.time_base,
        masks=None if mask is None else mask[None],
        sources=None if guide is None else guide[None],
        is_halo=frame.is_halo,
        is_picture=frame.is_picture,
    )


def frame_of(interval: Interval) -> Frame:
    """The original frame of an interval."""
    masks, sources = unread(interval, "masks"), unread(interval, "sources")
    return Frame(
        index=interval.index,
        image=unread(interval, "images")[0],
        pts=interval.pts,
        time_base=interval.time_base,
        mask=None if masks is None else masks[0],
        guide=None if sources is None else sources[0],
        is_halo=interval.is_halo,
        is_picture=interval.is_picture,
    )
