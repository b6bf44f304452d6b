import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim
from torch.testing import assert_close

from operators.base import Translator, TranslatorTraits
from operators.errors import ModelError
from operators.translators.contract import call_translator
from operators.translators.torch_model import CallableTranslator, TorchFileTranslator
from operators.translators.traits import TraitOverrides

SaveModel = Callable[..., Path]

CPU = torch.device("cpu")


class Negative(nn.Module):
    """White minus the image; trained statistics would differ outside evaluation mode."""

    def __init__(self, white: float = 1.0) -> None:
        super().__init__()
        self.white = nn.Parameter(torch.tensor(white))
        self.dropout = nn.Dropout(0.9)

    def forward(self, images: Tensor) -> Tensor:
        return self.white - self.dropout(images)


class Masked(nn.Module):
    def forward(self, images: Tensor, masks: Tensor) -> Tensor:
        return images * (1 - masks)


class Doubling(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return F.interpolate(images, scale_factor=2.0)


class Pooled(nn.Module):
    """Works on multiples of 4 only, and returns two channels."""

    def forward(self, images: Tensor) -> Tensor:
        return F.interpolate(F.avg_pool2d(images, 4), scale_factor=4.0)[:, :2] - 5.0


class NotFinite(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images / torch.zeros_like(images) * 0.0


def pictures(batch: int = 2, height: int = 5, width: int = 7) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(9))


def ready(path: Path, **options: Any) -> TorchFileTranslator:
    translator = TorchFileTranslator(path, **options)
    translator.setup(CPU)
    return translator


def called(model: object, images: Tensor | None = None, **options: Any) -> Tensor:
    translator = CallableTranslator(model, **options)
    translator.setup(CPU)
    return call_translator(translator, pictures() if images is None else images)


@pytest.fixture
def save_export(tmp_path: Path):
    def save(
        module: nn.Module,
        *,
        batch: int = 2,
        side: int = 16,
        is_open: bool = True,
        masks: bool = False,
    ):
        example = (torch.rand(batch, 3, side, side),)
        shapes = ({0: Dim("b"), 2: Dim("h"), 3: Dim("w")},) if is_open else None
        if masks:
            example = (*example, torch.rand(batch, 1, side, side))
            shapes = None if shapes is None else shapes * 2
        path = tmp_path / "net.pt2"
        torch.export.save(torch.export.export(module.eval(), example, dynamic_shapes=shapes), path)
        return path

    return save


@pytest.mark.parametrize("name", ["net.pt", "net.pth", "net.TS"])
def test_a_torchscript_file_computes_what_its_module_computes(
    save_script: SaveModel, name: str
) -> None:
    translator = ready(save_script(Negative(), name))

    assert isinstance(translator, Translator)
    assert translator.name == name
    assert translator.traits == TranslatorTraits()
    assert_close(call_translator(translator, pictures()), 1 - pictures())


def test_a_torchscript_upscaler_declares_its_scale(save_script: SaveModel) -> None:
    translator = ready(save_script(Doubling()))

    assert translator.traits == TranslatorTraits(scale=2)
    assert_close(call_translator(translator, pictures()), F.interpolate(pictures(), scale_factor=2))


def test_channels_and_multiple_of_a_torchscript_file_are_found(save_script: SaveModel) -> None:
    translator = ready(save_script(Pooled()))

    images = pictures(1, 8, 12)

    assert translator.traits == TranslatorTraits(channels=2, multiple=4, is_picture=False)
    assert_close(call_translator(translator, images), Pooled()(images))
    assert call_translator(translator, pictures()).shape == (2, 2, 5, 7)


def test_a_torchscript_file_takes_masks_when_told_so(save_script: SaveModel) -> None:
    translator = ready(save_script(Masked()), overrides=TraitOverrides(takes_mask=True))

    masks = pictures()[:, :1] > 0.5

    assert_close(call_translator(translator, pictures(), masks), pictures() * ~masks)


def test_a_half_precision_file_is_fed_half_precision(save_script: SaveModel) -> None:
    mix = nn.Conv2d(3, 3, 1).requires_grad_(requires_grad=False)
    expected = mix(pictures()).clamp(0, 1)

    translator = ready(save_script(mix.half()))

    assert_close(call_translator(translator, pictures()), expected, atol=2e-3, rtol=0)


def test_a_file_of_0_to_255_is_fed_and_read_in_that_range(save_script: SaveModel) -> None:
    translator = ready(save_script(Negative(255.0)), value_range=255.0)

    assert_close(call_translator(translator, pictures()), 1 - pictures())


def test_not_a_number_from_a_file_is_refused(save_script: SaveModel) -> None:
    with pytest.raises(ModelError, match=r"'net\.pt' must return finite values"):
        call_translator(ready(save_script(NotFinite())), pictures())


def test_an_exported_file_computes_what_its_module_computes(save_export: SaveModel) -> None:
    translator = ready(save_export(Negative()))

    assert translator.traits == TranslatorTraits()
    assert_close(call_translator(translator, pictures(3)), 1 - pictures(3))
    assert_close(call_translator(translator, pictures(1)), 1 - pictures(1))


def test_an_exported_file_keeps_to_its_batch_and_size(save_export: SaveModel) -> None:
    translator = ready(save_export(Negative(), is_open=False))

    images = pictures(3, 16, 16)

    assert translator.traits.batch == 2
    assert_close(call_translator(translator, images), 1 - images)
    with pytest.raises(ModelError, match="16 wide and 16 high, got 7 wide and 5 high"):
        call_translator(translator, pictures())
    with pytest.raises(ModelError, match=r"'net\.pt2' must run in batches of 2, got 3"):
        ready(translator._path, overrides=TraitOverrides(batch=3))


def test_an_exported_file_takes_masks_when_told_so(save_export: SaveModel) -> None:
    translator = ready(save_export(Masked(), masks=True), overrides=TraitOverrides(takes_mask=True))

    masks = pictures()[:, :1] > 0.5

    assert_close(call_translator(translator, pictures(), masks), pictures() * ~masks)


@pytest.mark.parametrize("suffix", [".pt", ".pt2"])
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda path: path.write_text("hello\n"), "a text file"),
        (lambda path: path.write_bytes(b""), "an empty file"),
        (lambda path: path.write_bytes(b"\x08\x07\x00\x01"), "a binary file of no known kind"),
        (
            lambda path: torch.save(Negative().state_dict(), path),
            r"a PyTorch checkpoint \(weights without the network\)",
        ),
        (
            lambda path: torch.save({}, path, _use_new_zipfile_serialization=False),
            r"a PyTorch checkpoint \(weights without the network\)",
        ),
        (lambda path: zipfile.ZipFile(path, "w").close(), "a zip archive"),
    ],
)
def test_a_file_of_another_kind_is_refused_by_what_it_is(
    tmp_path: Path, suffix: str, make: Callable[[Path], object], kind: str
) -> None:
    path = tmp_path / f"net{suffix}"
    make(path)

    with pytest.raises(ModelError, match=f"net{suffix}' must be a .* archive, got {kind}; save"):
        ready(path)


def test_the_two_kinds_of_archive_are_told_apart(
    save_script: SaveModel, save_export: SaveModel, tmp_path: Path
) -> None:
    script, export = save_script(Negative()), save_export(Negative())

    with pytest.raises(ModelError, match=r"a torch.export archive, got a TorchScript archive"):
        ready(script.rename(tmp_path / "wrong.pt2"))
    with pytest.raises(ModelError, match=r"a TorchScript archive, got a torch.export archive"):
        ready(export.rename(tmp_path / "wrong.pt"))


def test_a_checkpoint_is_refused_without_being_unpickled(tmp_path: Path) -> None:
    trap = tmp_path / "sprung"

    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (type(trap).touch, (trap,))

    torch.save({"weight": Trap()}, tmp_path / "net.pt")

    with pytest.raises(ModelError, match="weights without the network"):
        ready(tmp_path / "net.pt")
    assert not trap.exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.pt' must be a file, got no such file"):
        TorchFileTranslator(tmp_path / "gone.pt")


def test_a_file_travels_before_and_after_setup(save_script: SaveModel) -> None:
    path = save_script(Negative())

    for translator in (TorchFileTranslator(path), ready(path)):
        copy = pickle.loads(pickle.dumps(translator))  # noqa: S301 - our own bytes
        copy.setup(CPU)
        assert_close(call_translator(copy, pictures()), 1 - pictures())


def test_a_function_is_a_translator() -> None:
    def negative(images: Tensor) -> Tensor:
        return 1 - images

    assert_close(called(negative), 1 - pictures())
    assert_close(called(lambda images: 1 - images), 1 - pictures())


def test_a_function_declares_traits_in_an_attribute() -> None:
    def upscale(images: Tensor) -> Tensor:
        return images.repeat_interleave(2, 2).repeat_interleave(2, 3)

    upscale.hypercon = {"scale": 2}

    assert called(upscale).shape == (2, 3, 10, 14)


def test_a_function_of_images_and_masks_is_given_both() -> None:
    translator = CallableTranslator(
        lambda images, masks: images * (1 - masks), overrides=TraitOverrides(takes_mask=True)
    )
    translator.setup(CPU)
    masks = pictures()[:, :1] > 0.5

    assert_close(call_translator(translator, pictures(), masks), pictures() * ~masks)


def test_a_module_is_run_in_evaluation_mode() -> None:
    assert_close(called(Negative().train()), 1 - pictures())


def test_a_half_precision_module_is_fed_half_precision() -> None:
    mix = nn.Conv2d(3, 3, 1).requires_grad_(requires_grad=False)
    expected = mix(pictures()).clamp(0, 1)

    assert_close(called(mix.half()), expected, atol=2e-3, rtol=0)


def test_a_module_of_0_to_255_is_fed_and_read_in_that_range() -> None:
    assert_close(called(Negative(255.0), value_range=255.0), 1 - pictures())


def test_a_class_is_made_without_arguments_and_set_up_once_on_the_device() -> None:
    class Depth:
        devices: tuple[torch.device, ...] = ()

        def setup(self, device: torch.device) -> None:
            Depth.devices += (device,)
            self.far = 80.0

        def traits(self) -> TranslatorTraits:
            return TranslatorTraits(channels=1, is_picture=False, multiple=int(self.far) // 20)

        def __call__(self, images: Tensor) -> Tensor:
            assert images.shape[-1] % 4 == 0
            return self.far * images[:, :1]

    assert_close(called(Depth), 80 * pictures()[:, :1])
    assert Depth.devices == (CPU,)


def test_the_users_word_goes_over_the_objects_own() -> None:
    class Wrong:
        traits = TranslatorTraits(scale=4, is_deterministic=False)

        def __call__(self, images: Tensor) -> Tensor:
            return images

    translator = CallableTranslator(Wrong, overrides=TraitOverrides(scale=1))
    translator.setup(CPU)

    assert translator.traits == TranslatorTraits(scale=1, is_deterministic=False)


def test_names_are_those_of_the_objects() -> None:
    named = Negative()
    named.name = "van Gogh"

    assert CallableTranslator(named).name == "van Gogh"
    assert CallableTranslator(Negative()).name == "Negative"
    assert CallableTranslator(Negative).name == "Negative"
    assert CallableTranslator(torch.sigmoid).name == "sigmoid"
    assert CallableTranslator(torch.sigmoid, name="mine").name == "mine"


def test_a_class_that_needs_arguments_is_refused() -> None:
    class Needy:
        def __init__(self, weights: str) -> None: ...

        def __call__(self, images: Tensor) -> Tensor:
            return images

    with pytest.raises(ModelError, match=r"'Needy' must be made and set up .*TypeError: .*weights"):
        called(Needy)


def test_an_object_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(ModelError, match="'int' must be a function, a module or a class, got 3"):
        CallableTranslator(3)


def test_a_class_whose_objects_cannot_be_called_is_refused() -> None:
    class Inert:
        traits = TranslatorTraits()

    with pytest.raises(ModelError, match="'Inert' must be callable with images, got Inert"):
        called(Inert)


def test_a_model_that_returns_no_tensor_is_refused_by_the_contract() -> None:
    with pytest.raises(ModelError, match=r"must return a torch tensor .*, got ndarray"):
        called(lambda images: images.numpy())


def test_eight_bit_results_are_refused_rather_than_clamped_to_white() -> None:
    with pytest.raises(ModelError, match=r"must return floating point, got torch\.uint8"):
        called(lambda images: (images * 255).to(torch.uint8))


def test_a_module_travels_with_its_weights_before_and_after_setup() -> None:
    translator = CallableTranslator(nn.Conv2d(3, 3, 1))

    for _ in range(2):
        copy = pickle.loads(pickle.dumps(translator))  # noqa: S301 - our own bytes
        translator.setup(CPU)
        copy.setup(CPU)
        mine, other = (call_translator(each, pictures()) for each in (translator, copy))
        assert_close(mine, other, rtol=0, atol=0)


def test_a_translator_that_was_not_set_up_says_so(save_script: SaveModel) -> None:
    for translator in (
        CallableTranslator(Negative()),
        TorchFileTranslator(save_script(Negative())),
    ):
        with pytest.raises(ModelError, match="must be set up before it is called"):
            call_translator(translator, pictures())
