"""Where the windows of the aggregation find the pixels of their reference: paper equation (4).

An alignment answers one question: for a reference frame and some images of an interval, which
flow leads from the reference to each of them? The aggregator warps with it.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from operators.base import FlowEstimator
from operators.frame import Interval, PairFlow
from operators.functional.flow import compose, occlusion_mask, resize_flow
from operators.functional.warp import backward_warp, inside

# Bilinear weights of four trusted pixels may sum to a little less than one.
FULLY_COVERED = 1.0 - 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """Flow from a reference to something, and where it can be trusted.

    Attributes:
        flow: ``(n, 2, H, W)`` on the grid of the reference, in pixels of the output.
        valid: ``(n, 1, H, W)`` bool; None where validity is not asked for.
    """

    flow: Tensor
    valid: Tensor | None


class Alignment(Protocol):
    """Finds routes from references to the images of their windows.

    References are named by the index of their frame. The aggregator announces every interval in
    order, asks only about intervals that its ring buffer still holds, and says what has left it.
    """

    def setup(self, device: torch.device) -> None:
        """Load the weights of a flow estimator, if there is one."""
        ...

    def arrive(self, interval: Interval) -> None:
        """Take note of the newest interval of the shot."""
        ...

    def routes(self, reference: int, interval: Interval, residues: tuple[int, ...]) -> Route:
        """Routes from the reference to the images of ``interval`` at ``residues``."""
        ...

    def forget(self, before: int) -> None:
        """Drop what concerns intervals and references before this index."""
        ...

    def reset(self) -> None:
        """Forget the shot."""
        ...


class ExactAlignment:
    """Estimates the flow from the reference to every image of its window, as the paper does.

    Args:
        estimator: The flow estimator.
        on_sources: Estimate on the untranslated images instead of the translated ones.
        with_validity: Also find where the routes can be trusted.
        check_consistency: Distrust samples that fail the forward-backward check; costs a second
            flow for each image.
    """

    def __init__(
        self,
        estimator: FlowEstimator,
        *,
        on_sources: bool,
        with_validity: bool = False,
        check_consistency: bool = False,
    ) -> None:
        self._estimator = estimator
        self._on_sources = on_sources
        self._with_validity = with_validity or check_consistency
        self._check_consistency = check_consistency
        self._references: dict[int, Tensor] = {}

    def setup(self, device: torch.device) -> None:
        """Load the weights of the estimator."""
        self._estimator.setup(device)

    def arrive(self, interval: Interval) -> None:
        """Keep the original frame: it may become a reference."""
        self._references[interval.index] = self._images(interval)[:1]

    def routes(self, reference: int, interval: Interval, residues: tuple[int, ...]) -> Route:
        """One flow from the reference to each image."""
        rows = [interval.residues.index(residue) for residue in residues]
        neighbours = self._images(interval)[rows]
        origin = self._references[reference].expand_as(neighbours)
        valid: Tensor | None = None
        if self._check_consistency:
            flow, back = self._estimator.pair(origin, neighbours)
            valid = inside(flow) & ~occlusion_mask(flow, back)
        else:
            flow = self._estimator(origin, neighbours)
            if self._with_validity:
                valid = inside(flow)
        height, width = interval.images.shape[-2:]
        if valid is not None and valid.shape[-2:] != (height, width):
            valid = F.interpolate(valid.to(flow.dtype), size=(height, width)) > 0.5
        return Route(resize_flow(flow, height, width), valid)

    def _images(self, interval: Interval) -> Tensor:
        if not self._on_sources:
            return interval.images
        if interval.sources is None or interval.sources.shape[0] != len(interval.residues):
            msg = "interval must carry all its sources to be aligned on them, got none"
            raise ValueError(msg)
        return interval.sources

    def forget(self, before: int) -> None:
        """Drop references that have left."""
        _drop(self._references, before)

    def reset(self) -> None:
        """Forget the shot."""
        self._references.clear()


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """One direction of a pair's flow in pixels of the output, and where it is consistent."""

    flow: Tensor
    consistent: Tensor | None


class SharedAlignment:
    """Scales and chains the flow that the interpolation used; estimates nothing of its own.

    Between two original frames motion is taken as linear, so the flow from a frame to the dense
    position at fraction ``t`` towards its neighbour is ``t`` times the flow of the pair. Beyond
    the neighbour, whole pair flows are composed on the way.

    Args:
        with_validity: Also find where the routes can be trusted: every step must land inside
            the picture.
        check_consistency: Every step must also pass the forward-backward check of its pair.
    """

    def __init__(self, *, with_validity: bool = False, check_consistency: bool = False) -> None:
        self._with_validity = with_validity or check_consistency
        self._check_consistency = check_consistency
        self._forward: dict[int, _Step] = {}
        self._backward: dict[int, _Step] = {}
        self._newest: int | None = None
        # Route from each reference to the newest original frame after it.
        self._ahead: dict[int, Route] = {}

    def setup(self, device: torch.device) -> None:
        """Nothing to load."""

    def arrive(self, interval: Interval) -> None:
        """Extend the routes of the references by one whole step."""
        previous, self._newest = self._newest, interval.index
        if previous is not None:
            if previous not in self._forward:
                msg = f"interval {previous} must carry the flow to the next one, got None"
                raise ValueError(msg)
            step = self._part(self._forward[previous], 1.0)
            self._ahead = {
                reference: self._chain(route, step) for reference, route in self._ahead.items()
            }
            self._ahead[previous] = step
        if interval.flow is not None:
            self._keep(interval.index, interval.flow, *interval.images.shape[-2:])

    def routes(self, reference: int, interval: Interval, residues: tuple[int, ...]) -> Route:
        """Routes by scaling the flow of a pair and, beyond it, by composition."""
        way = self._route_back if interval.index < reference else self._route_ahead
        parts = [way(reference, interval, residue) for residue in residues]
        valid = [part.valid for part in parts if part.valid is not None]
        return Route(torch.cat([part.flow for part in parts]), torch.cat(valid) if valid else None)

    def _route_ahead(self, reference: int, interval: Interval, residue: int) -> Route:
        if residue == 0:
            return self._ahead[reference]
        part = self._part(self._forward[interval.index], residue / interval.stride)
        if interval.index == reference:
            return part
        return self._chain(self._ahead[reference], part)

    def _route_back(self, reference: int, interval: Interval, residue: int) -> Route:
        fraction = (interval.stride - residue) / interval.stride
        route = self._part(self._backward[interval.index], fraction)
        for index in range(interval.index + 1, reference):
            route = self._chain(self._part(self._backward[index], 1.0), route)
        return route

    def _part(self, step: _Step, fraction: float) -> Route:
        flow = step.flow * fraction
        if not self._with_validity:
            return Route(flow, None)
        valid = inside(flow)
        return Route(flow, valid if step.consistent is None else valid & step.consistent)

    def _chain(self, first: Route, second: Route) -> Route:
        valid = None
        if first.valid is not None and second.valid is not None:
            # A landing point is trusted if all the pixels that it is sampled from are.
            landing = backward_warp(second.valid.to(first.flow.dtype), first.flow, "zeros")
            valid = first.valid & (landing > FULLY_COVERED)
        return Route(compose(first.flow, second.flow), valid)

    def _keep(self, index: int, pair: PairFlow, height: int, width: int) -> None:
        forward = resize_flow(pair.forward[None], height, width)
        backward = resize_flow(pair.backward[None], height, width)
        check = self._check_consistency
        self._forward[index] = _Step(forward, ~occlusion_mask(forward, backward) if check else None)
        self._backward[index] = _Step(
            backward, ~occlusion_mask(backward, forward) if check else None
        )

    def forget(self, before: int) -> None:
        """Drop pairs and references that have left."""
        for held in (self._forward, self._backward, self._ahead):
            _drop(held, before)

    def reset(self) -> None:
        """Forget the shot."""
        self._forward.clear()
        self._backward.clear()
        self._ahead.clear()
        self._newest = None


def _drop(held: dict[int, Any], before: int) -> None:
    for index in [index for index in held if index < before]:
        del held[index]
