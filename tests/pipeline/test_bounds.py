"""How a pool's size is written and what is refused."""

import pytest
from pydantic import ValidationError

from pipeline.bounds import Bounds
from pipeline.config import Config
from pipeline.stage import Resources


@pytest.mark.parametrize(
    ("written", "bounds", "text"),
    [(3, Bounds(3, 3), "3"), ("3", Bounds(3, 3), "3"), ("1:8", Bounds(1, 8), "1:8")],
)
def test_a_number_or_two_are_bounds(written: object, bounds: Bounds, text: str) -> None:
    config = Config.model_validate({"translate": {"replicas": written}})

    assert config.translate.replicas == bounds
    assert str(bounds) == text


@pytest.mark.parametrize("written", ["0", "0:2", "3:2", "a", "1:", ":2", "1:2:3", -1, True, 1.5])
def test_anything_else_is_refused_with_an_example(written: object) -> None:
    with pytest.raises(ValidationError, match=r"whole number of at least 1, or MIN:MAX, like 1:8"):
        Config.model_validate({"translate": {"replicas": written}})


def test_a_stage_may_be_given_either() -> None:
    assert Resources(replicas=3).bounds == Bounds(3, 3)
    assert Resources(replicas=Bounds(1, 8)).bounds == Bounds(1, 8)
    assert Resources().bounds is None
    with pytest.raises(ValueError, match="bounds must be at least 1 and in ascending order"):
        Bounds(3, 2)
