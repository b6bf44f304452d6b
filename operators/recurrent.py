"""The recurrent baselines of the paper: operators that read what they made of the last frame.

What they remember reaches back to the first frame of a shot, so a shot is never cut for them:
``reach`` is None, and whoever runs them keeps every shot in one segment.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from operators.accelerate import PLAIN, Acceleration
from operators.errors import FrameError
from operators.frame import Frame, with_changes
from operators.models import vinet
from operators.models.convlstm import State
from operators.models.entry import Entry
from operators.weighted import Weighted

# Frames of the window, relative to the one that is painted, as in the demo of VINet.
WINDOW_OFFSETS = (-6, -3, 0, 3, 6)
LOOK_AHEAD = WINDOW_OFFSETS[-1]
# How much of a hole the network for 512 pixels is told to mistrust in the previous output.
PREVIOUS_MISTRUST = 0.5
MISTRUSTFUL = "vinet-512"


class BlindConsistency(Weighted):
    """Makes a video that was translated frame by frame steadier, guided by the untranslated one.

    Takes frames with guides. The first output of a shot is its first translated frame. The
    output that the network is shown of the frame before is clamped to ``[0, 1]``, as the
    published script clamps it by writing a file, but is not rounded to eight bits.

    Departure: where a side is no multiple of four, the published script resizes the frames and
    resizes the outputs back, which blurs every frame but the first. Here frames are extended at
    the right and at the bottom by repeating the border, and outputs are cut back.

    Args:
        entry: Which weights.
        weights: A weight file, or a folder to search for it, instead of the usual places.
        acceleration: How the network is made faster, as far as that pays for it.

    Source:
        Lai et al., "Learning Blind Video Temporal Consistency", ECCV 2018, section 3.1.
    """

    takes = Frame
    is_stateful = True
    reach = None

    def __init__(
        self, entry: Entry, weights: Path | None = None, acceleration: Acceleration = PLAIN
    ) -> None:
        super().__init__(entry, weights, acceleration)
        self._previous: Frame | None = None
        self._state: State | None = None

    @torch.no_grad()
    def process(self, frame: Frame) -> Iterable[Frame]:
        """Yield the frame, made consistent with the one before.

        Raises:
            FrameError: If the frame is no picture, or has no guide of its own size.
        """
        _require_guide(frame)
        if self._previous is not None:
            frame = with_changes(frame, image=self._corrected(frame, self._previous))
        self._previous = frame
        yield frame

    def _corrected(self, frame: Frame, previous: Frame) -> Tensor:
        guide, previous_guide = cast("Tensor", frame.guide), cast("Tensor", previous.guide)
        # A side of four pixels, the smallest multiple, would be too short to be reflected.
        least = 2 * self.entry.multiple
        inputs = [
            _extended(image[None], self.entry.multiple, least=least)
            for image in (frame.image, previous.image, guide, previous_guide)
        ]
        output, self._state = self._loaded()(*inputs, self._state)
        height, width = frame.image.shape[-2:]
        image = output[0, :, :height, :width].clamp(0.0, 1.0)
        return image if frame.mask is None else torch.where(frame.mask, image, guide)

    def flush(self) -> Iterable[Frame]:
        """Nothing is held back; the next frame begins a shot."""
        self._previous = self._state = None
        return ()

    def close(self) -> None:
        """Drop the network and what is remembered."""
        self._network = self._previous = self._state = None


class VINetInpaint(Weighted):
    """Paints the holes of a masked video, each frame from its neighbours and the last output.

    Takes frames with masks. Frame ``t`` is painted from ``t-6``, ``t-3``, ``t``, ``t+3`` and
    ``t+6``, reflected at the ends of the shot, so six frames are read ahead and thirteen held.
    Known pixels are those of the input.

    Departures: frames keep their size, extended at the right and at the bottom by repeating the
    border, where the published demo resizes them to a square; and the demo paints thirty frames
    backwards before it begins, where here the first frame of a shot has no previous output.

    Args:
        entry: Which weights.
        weights: A weight file, or a folder to search for it, instead of the usual places.
        acceleration: How the network is made faster, as far as that pays for it.

    Source:
        Kim et al., "Deep Video Inpainting", CVPR 2019, and the authors' published demo: the
        offsets, what is said of the previous output, and a memory that each frame starts afresh.
    """

    takes = Frame
    is_stateful = True
    reach = None

    def __init__(
        self, entry: Entry, weights: Path | None = None, acceleration: Acceleration = PLAIN
    ) -> None:
        super().__init__(entry, weights, acceleration)
        self._held: deque[Frame] = deque(maxlen=2 * LOOK_AHEAD + 1)
        self._forget()

    def _forget(self) -> None:
        self._held.clear()
        self._num_arrived = 0
        self._num_painted = 0
        self._previous: Tensor | None = None

    def process(self, frame: Frame) -> Iterable[Frame]:
        """Take a frame; yield the one whose window it completes.

        Raises:
            FrameError: If the frame has no mask.
        """
        if frame.mask is None:
            msg = f"a frame for {self.entry.name} must have a mask, got none"
            raise FrameError(msg, frame=frame.index)
        self._held.append(frame)
        self._num_arrived += 1
        if self._num_arrived - self._num_painted > LOOK_AHEAD:
            yield self._paint()

    def flush(self) -> Iterable[Frame]:
        """Yield the frames whose windows the end of the shot reflects."""
        return self._rest()

    def _rest(self) -> Iterator[Frame]:
        try:
            while self._num_painted < self._num_arrived:
                yield self._paint()
        finally:
            self._forget()

    def close(self) -> None:
        """Drop the network and what is held."""
        self._network = None
        self._forget()

    @torch.no_grad()
    def _paint(self) -> Frame:
        """Paint the next frame; the last one that arrived is taken for the end of the shot."""
        target = self._num_painted
        window = [self._frame_at(target + offset) for offset in WINDOW_OFFSETS]
        frame = window[vinet.TARGET]
        images = self._extended(torch.stack([member.image for member in window]))
        holes = self._extended(
            torch.stack([cast("Tensor", member.mask) for member in window]).to(images.dtype)
        )
        step = self._loaded()(images[None], holes[None], self._last_output(holes[vinet.TARGET]))
        height, width = frame.image.shape[-2:]
        painted = step.image[0, :, :height, :width].clamp(0.0, 1.0)
        image = torch.where(cast("Tensor", frame.mask), painted, frame.image)
        self._previous = image
        self._num_painted += 1
        return with_changes(frame, image=image)

    def _frame_at(self, position: int) -> Frame:
        """A held frame by its position in the shot, reflected at both ends."""
        num_dropped = self._num_arrived - len(self._held)
        return self._held[reflected(position, self._num_arrived - 1) - num_dropped]

    def _last_output(self, hole: Tensor) -> vinet.Previous | None:
        if self._previous is None:
            return None
        mistrust = PREVIOUS_MISTRUST if self.entry.name == MISTRUSTFUL else 0.0
        return vinet.Previous(self._extended(self._previous[None]), mistrust * hole[None])

    def _extended(self, images: Tensor) -> Tensor:
        return _extended(images, self.entry.multiple)


def reflected(position: int, last: int) -> int:
    """A position inside ``0 .. last``, mirrored at both ends as often as it takes.

    Args:
        position: Any, also negative.
        last: The last position, at least 0.
    """
    if last == 0:
        return 0
    position = abs(position) % (2 * last)
    return min(position, 2 * last - position)


def _require_guide(frame: Frame) -> None:
    guide = frame.guide
    if guide is None:
        msg = "a frame that is made consistent must have a guide, the untranslated picture"
        raise FrameError(msg, frame=frame.index)
    if not frame.is_picture or frame.image.shape != guide.shape:
        kind = "picture" if frame.is_picture else "tensor that is no picture,"
        msg = (
            f"a frame that is made consistent must be a picture of the size of its guide "
            f"{tuple(guide.shape)}, got a {kind} {tuple(frame.image.shape)}"
        )
        raise FrameError(msg, frame=frame.index)


def _extended(images: Tensor, multiple: int, *, least: int = 0) -> Tensor:
    """Repeat the right and the bottom border up to a multiple, and up to ``least`` pixels."""
    height, width = (max(side + -side % multiple, least) for side in images.shape[-2:])
    padding = (0, width - images.shape[-1], 0, height - images.shape[-2])
    return F.pad(images, padding, mode="replicate")
