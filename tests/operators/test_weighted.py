"""Adapters of networks say what must happen first, in words that name the network."""

from collections.abc import Callable

import pytest
import torch

from operators.estimators import NetworkFlow
from operators.interpolators import RifeInterpolator
from operators.models.entry import Entry, Kind
from operators.translators.registered import RegistryTranslator

IMAGES = torch.zeros(1, 3, 8, 8)


def entry(kind: Kind) -> Entry:
    return Entry(kind, "tiny", summary="", adapter="")


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        ("flow", lambda one: NetworkFlow(one)(IMAGES, IMAGES)),
        ("interpolator", lambda one: RifeInterpolator(one)(IMAGES, IMAGES, None, (0.5,))),
        ("translator", lambda one: RegistryTranslator(one)(IMAGES)),
    ],
)
def test_a_network_that_was_not_set_up_is_named(
    kind: Kind, call: Callable[[Entry], object]
) -> None:
    with pytest.raises(RuntimeError, match=f"^{kind} 'tiny' must be set up before it is called$"):
        call(entry(kind))
