"""From frame pairs to intervals of the dense timeline: paper equations (1) and (2)."""

from collections.abc import Iterable

import torch
from torch import Tensor

from operators.base import FlowEstimator, Grids, Interpolator
from operators.frame import Frame, FramePair, Interval, PairFlow, interval_of, unread, with_changes
from operators.interpolators import blend, blend_masks
from operators.timeline import Timeline

# Missing pixels are mid-grey before anything reads them: zero in the [-1, 1] scale of the
# inpainting networks, and the value measured in the paper's figure.
MISSING_LEVEL = 0.5


def fill_missing(image: Tensor, mask: Tensor | None) -> Tensor:
    """Set missing pixels to mid-grey.

    Args:
        image: ``(C, H, W)`` in ``[0, 1]``.
        mask: ``(1, H, W)`` bool, true where missing; or None.

    Returns:
        ``(C, H, W)``.
    """
    return image if mask is None else image.masked_fill(mask, MISSING_LEVEL)


class Interpolate:
    """Makes an interval from a pair of frames: the first frame and what is inserted after it.

    Only inserted frames that some window reads are made (see ``Timeline.residues``). Between two
    equal frames nothing moves: what is inserted is the frame again, and neither flow nor
    interpolation is asked.

    Args:
        timeline: Which instants are inserted and read.
        interpolator: Finds the sampling grids; may be None when nothing is inserted.
        flow: Estimates the flow of the pair, once, for whoever reads it; None where nobody does.
        keep_flow: Whether the interval carries the flow on, for shared alignment.
        everything: Make every inserted frame, read or not. The output is the same; tests use it.

    Raises:
        ValueError: If frames are to be inserted without an interpolator, or if somebody reads
            the flow and there is no estimator.
    """

    takes = FramePair
    is_stateful = False
    reach = 0

    def __init__(
        self,
        timeline: Timeline,
        *,
        interpolator: Interpolator | None = None,
        flow: FlowEstimator | None = None,
        keep_flow: bool = False,
        everything: bool = False,
    ) -> None:
        self._residues = timeline.all_residues if everything else timeline.residues
        self._stride = timeline.stride
        self._times = tuple(residue / timeline.stride for residue in self._residues[1:])
        if self._times and interpolator is None:
            msg = f"interpolator must be given to insert {timeline.insert} frames, got None"
            raise ValueError(msg)
        self._interpolator = interpolator if self._times else None
        inserting_reads = self._interpolator is not None and self._interpolator.reads_flow
        if (keep_flow or inserting_reads) and flow is None:
            msg = "flow must be an estimator where the interpolation or the alignment reads it"
            raise ValueError(msg)
        self._flow = flow if keep_flow or inserting_reads else None
        self._keep_flow = keep_flow
        self._device = torch.device("cpu")

    @property
    def images_per_frame(self) -> int:
        """Images that an interval has: what a message of intervals must have room for."""
        return len(self._residues)

    @property
    def carries_flow(self) -> bool:
        """Whether an interval has the flow of its pair."""
        return self._keep_flow

    @property
    def _makes_nothing(self) -> bool:
        return self._interpolator is None and self._flow is None

    def setup(self, device: torch.device) -> None:
        """Load the weights of the interpolator and of the flow estimator."""
        self._device = device
        if self._interpolator is not None:
            self._interpolator.setup(device)
        if self._flow is not None:
            self._flow.setup(device)

    def process(self, pair: FramePair) -> Iterable[Interval]:
        """Make the interval that begins with ``pair.first``."""
        first = pair.first
        if self._makes_nothing and unread(first, "mask") is None:
            yield with_changes(interval_of(first), stride=self._stride, sources=None)
            return
        image = fill_missing(first.image, first.mask)
        interval = Interval(
            index=first.index,
            stride=self._stride,
            residues=self._residues,
            # The last interval of a shot keeps the shape of the others by repetition.
            images=image.expand(len(self._residues), *image.shape),
            num_present=1,
            pts=first.pts,
            time_base=first.time_base,
            masks=None
            if first.mask is None
            else first.mask.expand(len(self._residues), -1, -1, -1),
            is_halo=first.is_halo,
        )
        if pair.second is None or self._makes_nothing:
            yield interval
        else:
            yield self._complete(interval, first, pair.second)

    def _complete(self, interval: Interval, first: Frame, second: Frame) -> Interval:
        image0 = interval.images[:1]
        image1 = fill_missing(second.image, second.mask)[None]
        if torch.equal(image0, image1) and _are_equal(first.mask, second.mask):
            return self._static(interval)
        flow = None if self._flow is None else self._flow.pair(image0, image1)
        if flow is not None and self._keep_flow:
            interval = with_changes(
                interval, flow=PairFlow(forward=flow[0][0], backward=flow[1][0])
            )
        if self._interpolator is None:
            return interval
        grids = self._interpolator(image0, image1, flow, self._times)
        return with_changes(
            interval,
            images=torch.cat((image0, *(blend(image0, image1, grid) for grid in grids))),
            num_present=len(self._residues),
            masks=_blend_masks(first.mask, second.mask, grids),
        )

    def _static(self, interval: Interval) -> Interval:
        """The interval of a pair of equal frames: its images repeat the first one already."""
        flow = None
        if self._keep_flow:
            still = interval.images.new_zeros(2, *interval.images.shape[-2:])
            flow = PairFlow(forward=still, backward=still)
        return with_changes(interval, num_present=len(self._residues), flow=flow)

    def flush(self) -> Iterable[Interval]:
        """Nothing is held."""
        return ()

    def close(self) -> None:
        """Nothing to release."""


def _are_equal(mask0: Tensor | None, mask1: Tensor | None) -> bool:
    if mask0 is None or mask1 is None:
        return mask0 is mask1
    return torch.equal(mask0, mask1)


def _blend_masks(mask0: Tensor | None, mask1: Tensor | None, grids: list[Grids]) -> Tensor | None:
    if mask0 is None or mask1 is None:
        return None
    return torch.cat((mask0[None], *(blend_masks(mask0[None], mask1[None], g) for g in grids)))
