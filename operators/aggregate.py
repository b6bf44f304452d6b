"""One output frame for each original frame: paper equations (4) and (5) as a ring buffer."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from operators.align import Alignment
from operators.frame import Frame, Interval, frame_of, with_changes
from operators.functional import pool as pooling
from operators.functional.warp import backward_warp
from operators.timeline import Timeline

Pool = Callable[[Tensor, Tensor], Tensor]


class Votes(Protocol):
    """What the window of one reference has collected so far."""

    def add(self, images: Tensor, valid: Tensor | None) -> None:
        """Take ``(n, C, H, W)`` aligned images and ``(n, 1, H, W)`` bool, None for all valid."""
        ...

    def result(self) -> Tensor:
        """Pool to ``(C, H, W)``."""
        ...


class RunningMean:
    """The mean as a sum and a count: memory does not depend on the window."""

    def __init__(self) -> None:
        self._total: Tensor | None = None
        self._count: Tensor | int = 0

    def add(self, images: Tensor, valid: Tensor | None) -> None:
        """Add to the sum, image by image."""
        for row in range(images.shape[0]):
            vote = images[row] if valid is None else torch.where(valid[row], images[row], 0.0)
            self._total = vote.clone() if self._total is None else self._total.add_(vote)
            self._count = self._count + (1 if valid is None else valid[row].int())

    def result(self) -> Tensor:
        """The mean."""
        if self._total is None:
            msg = "a window must hold at least its reference, got nothing"
            raise ValueError(msg)
        return self._total / self._count


class Stack:
    """Keeps every aligned image, for pools that need them all at once.

    Args:
        pool: From ``(T, C, H, W)`` and ``(T, 1, H, W)`` bool to ``(C, H, W)``.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._images: list[Tensor] = []
        self._valid: list[Tensor] = []

    def add(self, images: Tensor, valid: Tensor | None) -> None:
        """Keep the images."""
        self._images.append(images)
        everywhere = torch.ones_like(images[:, :1], dtype=torch.bool)
        self._valid.append(everywhere if valid is None else valid)

    def result(self) -> Tensor:
        """Pool what was kept."""
        return self._pool(torch.cat(self._images), torch.cat(self._valid))


@dataclass(frozen=True, slots=True)
class PoolChoice:
    """A pool by name.

    Attributes:
        votes: Makes the collection of one window.
        reads_validity: True if samples that cannot be trusted are left out.
    """

    votes: Callable[[], Votes]
    reads_validity: bool


POOLS: dict[str, PoolChoice] = {
    "mean": PoolChoice(RunningMean, reads_validity=False),
    "median": PoolChoice(lambda: Stack(pooling.median), reads_validity=False),
    "valid-mean": PoolChoice(RunningMean, reads_validity=True),
    "valid-median": PoolChoice(lambda: Stack(pooling.median), reads_validity=True),
}


@dataclass(slots=True, eq=False)
class _OpenWindow:
    """A reference whose window is not complete yet."""

    reference: Interval
    votes: Votes


class Aggregate:
    """Aligns and pools translated images in a sliding window around each original frame.

    The ring buffer holds the newest interval and the ``halo`` intervals before it; each open
    reference holds what its window has collected, already warped. Both are bounded by the
    timeline, whatever the length of the video.

    Args:
        timeline: The windows.
        alignment: Where windows find the pixels of their reference. None only if no window has
            another member than its reference.
        pool: A name of ``POOLS`` or a function from ``(T, C, H, W)`` aligned images and
            ``(T, 1, H, W)`` bool (true where a sample may vote; the reference always may) to
            ``(C, H, W)``.
        strength: 1 for the pooled frame, 0 for the frame as it was translated, in between a
            blend of both.
        composite: In a masked video, put the known pixels of the original frame back.

    Raises:
        ValueError: For an unknown pool, a strength outside [0, 1], or a missing alignment.
    """

    takes = Interval
    is_stateful = True

    @property
    def reach(self) -> int:
        """The halo of the windows."""
        return self._timeline.halo

    @property
    def ahead(self) -> int:
        """Intervals after their own that windows read."""
        return self._timeline.ahead

    def __init__(
        self,
        timeline: Timeline,
        *,
        alignment: Alignment | None = None,
        pool: str | Pool = "mean",
        strength: float = 1.0,
        composite: bool = True,
    ) -> None:
        if isinstance(pool, str) and pool not in POOLS:
            msg = f"pool must be one of {', '.join(POOLS)}, got {pool!r}"
            raise ValueError(msg)
        if not 0.0 <= strength <= 1.0:
            msg = f"strength must be from 0 to 1, got {strength}"
            raise ValueError(msg)
        if alignment is None and timeline.radius > 0 and strength > 0:
            msg = f"alignment must be given for windows of radius {timeline.radius}, got None"
            raise ValueError(msg)
        # At strength 0 nothing but the reference counts, so nothing else is looked at.
        self._timeline = timeline if strength > 0 else replace(timeline, radius=0)
        self._alignment = alignment if self._timeline.radius > 0 else None
        self._pool = pool
        self._strength = strength
        self._composite = composite
        self._ring: deque[Interval] = deque(maxlen=self._timeline.ring_size)
        self._open: deque[_OpenWindow] = deque()

    def setup(self, device: torch.device) -> None:
        """Load the weights of the alignment's flow estimator."""
        if self._alignment is not None:
            self._alignment.setup(device)

    def process(self, interval: Interval) -> Iterable[Frame]:
        """Give the interval to every window that reads it; yield the frames that are complete."""
        if self._ring and interval.index != self._ring[-1].index + 1:
            msg = f"interval must be {self._ring[-1].index + 1}, the next one, got {interval.index}"
            raise ValueError(msg)
        self._ring.append(interval)
        if self._alignment is None and isinstance(self._pool, str):
            # A window of one frame is that frame; what nobody reads stays as it came.
            if not interval.is_halo:
                yield self._composed(frame_of(interval))
            return
        if self._alignment is not None:
            self._alignment.arrive(interval)
            self._alignment.forget(interval.index - self._timeline.halo)
        for window in self._open:
            self._vote(window, interval)
        if not interval.is_halo:
            self._open_window(interval)
        while self._open and self._is_complete(self._open[0], interval):
            yield self._emit(self._open.popleft())

    def flush(self) -> Iterable[Frame]:
        """Yield the windows that the end of the shot truncates."""
        while self._open:
            yield self._emit(self._open.popleft())
        self._ring.clear()
        if self._alignment is not None:
            self._alignment.reset()

    def close(self) -> None:
        """Drop what is held."""
        self._ring.clear()
        self._open.clear()

    def _open_window(self, interval: Interval) -> None:
        votes = POOLS[self._pool].votes() if isinstance(self._pool, str) else Stack(self._pool)
        window = _OpenWindow(interval, votes)
        for earlier in self._ring:
            if earlier is not interval:
                self._vote(window, earlier)
        votes.add(interval.images[:1], self._everywhere(interval))
        self._vote(window, interval)
        self._open.append(window)

    def _everywhere(self, interval: Interval) -> Tensor | None:
        if isinstance(self._pool, str) and not POOLS[self._pool].reads_validity:
            return None
        return torch.ones_like(interval.images[:1, :1], dtype=torch.bool)

    def _vote(self, window: _OpenWindow, interval: Interval) -> None:
        """Warp what the window reads of an interval onto its reference."""
        reference = window.reference.index
        residues = tuple(
            residue
            for residue in self._timeline.residues_read(interval.index - reference)
            if residue in interval.residues[: interval.num_present]
            and (interval.index, residue) != (reference, 0)
        )
        if not residues or self._alignment is None:
            return
        route = self._alignment.routes(reference, interval, residues)
        rows = [interval.residues.index(residue) for residue in residues]
        warped = backward_warp(interval.images[rows], route.flow)
        window.votes.add(warped, route.valid)

    def _is_complete(self, window: _OpenWindow, newest: Interval) -> bool:
        reach = self._timeline.dilation * self._timeline.radius
        steps = newest.index + 1 - window.reference.index
        return reach < steps * self._timeline.stride

    def _emit(self, window: _OpenWindow) -> Frame:
        frame = frame_of(window.reference)
        image = window.votes.result()
        if self._strength < 1.0:
            image = frame.image + self._strength * (image - frame.image)
        return self._composed(with_changes(frame, image=image))

    def _composed(self, frame: Frame) -> Frame:
        """Known pixels are those of the original, where that is wanted."""
        if not self._composite or frame.mask is None or frame.guide is None:
            return frame
        return with_changes(frame, image=_put_back(frame.image, frame.guide, frame.mask))


def _put_back(image: Tensor, original: Tensor, mask: Tensor) -> Tensor:
    """Known pixels of the original over what was made; ``mask`` is true where missing."""
    if image.shape != original.shape:
        return image
    return torch.where(mask, image, original)
