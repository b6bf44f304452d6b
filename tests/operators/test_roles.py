"""What finds motion interpolates, and what interpolates finds motion."""

import pytest
import torch
from sample_networks import pictures, seeded_network

from operators.base import Grids
from operators.interpolators import LinearInterpolator
from operators.models import registry
from operators.weighted import Weighted

PICTURES = pictures(2, 64, 96).split(1)


def filled(model: object) -> None:
    """Give an adapter its network without a file."""
    if isinstance(model, Weighted):
        model._network = seeded_network(model.entry)


def require_sound(grids: Grids) -> None:
    for part, channels in ((grids.flow_t0, 2), (grids.flow_t1, 2), (grids.weight_of_1, 1)):
        assert part.shape == (1, channels, 64, 96)
        assert part.dtype == torch.float32
        assert part.isfinite().all()
    assert 0.0 <= grids.weight_of_1.min() <= grids.weight_of_1.max() <= 1.0


@pytest.mark.parametrize(
    "name",
    ["dis", "gmflow", "pwcnet", "raft-small", "super-slomo", "rife-3.9", "rife-4.6", "rife-4.25"],
)
def test_any_flow_estimator_drives_the_linear_interpolator(name: str) -> None:
    estimator = registry.flow_estimator(name)
    filled(estimator)

    flow = estimator.pair(*PICTURES)

    for grids in LinearInterpolator()(*PICTURES, flow, (0.25, 0.5)):
        require_sound(grids)


@pytest.mark.parametrize("name", ["super-slomo", "rife-3.9", "rife-4.6", "rife-4.25"])
def test_a_network_that_interpolates_finds_flow_in_either_role(name: str) -> None:
    maker, estimator = registry.interpolator(name), registry.flow_estimator(name)
    filled(maker)
    filled(estimator)

    (grids,) = maker(*PICTURES, None, (0.5,))
    forward, backward = estimator.pair(*PICTURES)

    require_sound(grids)
    for flow in (forward, backward):
        assert flow.shape == (1, 2, 64, 96)
        assert flow.isfinite().all()
    assert not torch.equal(forward, backward)
    # Both ways are one batch, whose sums may round otherwise.
    torch.testing.assert_close(estimator(*PICTURES), forward, rtol=0, atol=1e-3)
