"""From a configuration to stages: which operators, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from operators.recurrent import VINetInpaint
from operators.translate import Translate
from operators.translators.registered import RegistryTranslator
from pipeline.build import build_stages
from pipeline.config import Config
from pipeline.errors import UsageError


def stages_of(**values: Any) -> list[str]:
    return [stage.name for stage in build_stages(Config.model_validate(values))]


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({}, ["interpolate", "translate", "aggregate"]),
        ({"method": "framewise"}, ["interpolate", "translate", "aggregate"]),
        (
            {"method": "blind-consistency"},
            ["interpolate", "translate", "aggregate", "consistency"],
        ),
        ({"method": "vinet", "mask": {"path": "masks"}}, ["inpaint"]),
    ],
)
def test_a_method_is_its_recipe(values: dict[str, Any], names: list[str]) -> None:
    assert stages_of(**values) == names


@pytest.mark.parametrize("method", ["hypercon", "framewise", "blind-consistency"])
def test_every_method_looks_for_weights_where_it_is_told(method: str, tmp_path: Path) -> None:
    config = Config.model_validate(
        {"method": method, "translate": {"model": "mosaic"}, "run": {"weights": tmp_path}}
    )

    operator = build_stages(config)[1].operator

    assert isinstance(operator, Translate)
    assert isinstance(operator.translator, RegistryTranslator)
    assert operator.translator.weights == tmp_path


def test_the_model_of_vinet_is_the_one_that_is_named(tmp_path: Path) -> None:
    config = Config.model_validate(
        {
            "method": "vinet",
            "mask": {"path": "masks"},
            "translate": {"model": "vinet-256"},
            "run": {"weights": tmp_path},
        }
    )

    operator = build_stages(config)[0].operator

    assert isinstance(operator, VINetInpaint)
    assert (operator.entry.name, operator.weights) == ("vinet-256", tmp_path)


def test_vinet_without_masks_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(UsageError, match="--mask must be given for --method vinet"):
        stages_of(method="vinet")
