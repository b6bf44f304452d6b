"""Networks of the table as translators, by the names that users type."""

from pathlib import Path

import pytest
import torch
from seeded import save_seeded
from torch import nn

from operators.errors import ModelError
from operators.models import registry
from operators.translators.contract import call_translator
from operators.translators.load import TraitOverrides, load_translator
from operators.translators.registered import RegistryTranslator

CPU = torch.device("cpu")


@pytest.mark.parametrize(("name", "size"), [("mosaic", (13, 22)), ("deepfill", (16, 31))])
def test_a_name_is_its_network_with_the_weights_of_its_file(
    name: str, size: tuple[int, int], tmp_path: Path
) -> None:
    network = save_seeded(registry.entry("translator", name), tmp_path)
    translator = load_translator(name, weights=tmp_path)
    images, masks = torch.rand(2, 3, *size), (torch.rand(2, 1, *size) < 0.3).float()

    assert isinstance(translator, RegistryTranslator)
    translator.setup(CPU)
    translated = call_translator(translator, images, masks)

    if name == "deepfill":
        width = nn.functional.pad(images, (0, 1, 0, 0), "reflect")
        expected = network(width, nn.functional.pad(masks, (0, 1, 0, 0), "reflect"))[..., :31]
        known = masks.expand_as(images) == 0
        assert torch.equal(translated[known], images[known])
    else:
        expected = network(images)
    torch.testing.assert_close(translated, expected.clamp(0.0, 1.0), atol=1e-6, rtol=0.0)


def test_missing_weights_are_told_when_it_is_set_up(tmp_path: Path) -> None:
    translator = load_translator("rain-princess", weights=tmp_path)

    with pytest.raises(RuntimeError, match="'rain-princess' must be set up"):
        translator(torch.rand(1, 3, 8, 8))
    with pytest.raises(ModelError, match=r"rain_princess\.pth.*models get rain-princess"):
        translator.setup(CPU)


def test_a_misspelled_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ModelError, match="did you mean 'rain-princess'"):
        load_translator("rain_princes")


@pytest.mark.parametrize(
    "options", [{"value_range": 255.0}, {"overrides": TraitOverrides(scale=2)}]
)
def test_what_the_table_knows_cannot_be_overruled(options: dict[str, object]) -> None:
    with pytest.raises(ModelError, match=f"{next(iter(options))} must not be given for 'mosaic'"):
        load_translator("mosaic", **options)
