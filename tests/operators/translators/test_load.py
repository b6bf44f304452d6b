import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from operators.base import TranslatorTraits
from operators.errors import ModelError
from operators.translators.contract import call_translator
from operators.translators.identity import IdentityTranslator
from operators.translators.inpaint import ClassicalInpainting
from operators.translators.load import TraitOverrides, load_translator
from operators.translators.onnx_model import OnnxTranslator
from operators.translators.torch_model import TorchFileTranslator

SaveModel = Callable[..., Path]

CPU = torch.device("cpu")
SOURCE = """
import torch
from neighbour_of_{name} import WHITE

class Negative:
    traits = {{"multiple": 4}}

    def __call__(self, images):
        return WHITE - images

class box:
    negative = staticmethod(lambda images: WHITE - images)
"""


def pictures() -> Tensor:
    return torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(4))


def translated(spec: object, **options: Any) -> Tensor:
    translator = load_translator(spec, **options)
    translator.setup(CPU)
    return call_translator(translator, pictures())


@pytest.fixture
def user_file(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A Python file of the user's, with a neighbour that it imports; its name is its test's."""
    name = request.node.name.partition("[")[0]
    (tmp_path / f"neighbour_of_{name}.py").write_text("WHITE = 1.0\n")
    path = tmp_path / f"{name}.py"
    path.write_text(SOURCE.format(name=name))
    return path


def test_identity_changes_nothing() -> None:
    assert torch.equal(translated("identity"), pictures())


def test_inpainting_is_named_with_its_method_and_radius() -> None:
    plain, wide = load_translator("inpaint:ns"), load_translator("inpaint:telea,radius=5.5")

    assert isinstance(plain, ClassicalInpainting)
    assert isinstance(wide, ClassicalInpainting)
    assert (plain._method, plain._radius) == ("ns", 3.0)
    assert (wide._method, wide._radius) == ("telea", 5.5)


@pytest.mark.parametrize("attribute", ["Negative", "box.negative"])
def test_a_file_and_an_attribute_lead_to_the_users_object(user_file: Path, attribute: str) -> None:
    assert_close(translated(f"{user_file}:{attribute}"), 1 - pictures())


def test_a_module_and_an_attribute_lead_to_the_users_object(
    user_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(user_file.parent)

    assert_close(translated(f"{user_file.stem}:Negative"), 1 - pictures())
    assert_close(translated("torch:sigmoid"), torch.sigmoid(pictures()))


def test_what_a_file_defines_travels_as_its_words(user_file: Path) -> None:
    data = pickle.dumps(load_translator(f"{user_file}:Negative"))
    for name in [name for name in sys.modules if name.startswith("hypercon_user_")]:
        del sys.modules[name]

    copy = pickle.loads(data)  # noqa: S301 - our own bytes
    copy.setup(CPU)

    assert copy.name == f"{user_file}:Negative"
    assert copy.traits.multiple == 4
    assert_close(call_translator(copy, pictures()), 1 - pictures())


def test_an_entry_point_is_found_by_its_name(
    user_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = user_file.parent / "paint_by_others-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: paint-by-others\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        f"[hypercon.translators]\nnegative-film = {user_file.stem}:Negative\n"
    )
    monkeypatch.syspath_prepend(str(user_file.parent))

    assert load_translator("negative-film").name == "negative-film"
    assert_close(translated("negative-film"), 1 - pictures())
    with pytest.raises(ModelError, match=r"got 'negativ-film'; did you mean 'negative-film'\?"):
        load_translator("negativ-film")


def test_files_are_told_apart_by_their_suffix(negative: SaveModel, save_script: SaveModel) -> None:
    onnx_file, script = negative(name="a.ONNX"), save_script(nn.ReLU())

    assert isinstance(load_translator(str(onnx_file)), OnnxTranslator)
    assert isinstance(load_translator(str(script)), TorchFileTranslator)
    assert_close(translated(str(onnx_file)), 1 - pictures())
    assert_close(translated(str(script)), pictures())


def test_options_reach_the_model(negative: SaveModel) -> None:
    path = str(negative(white=255.0))

    result = translated(path, overrides=TraitOverrides(multiple=8), value_range=255, threads=1)

    assert_close(result, 1 - pictures())
    assert_close(translated(lambda images: 255 - images, value_range=255.0), 1 - pictures())


def test_a_constant_reaches_the_model(save_onnx: SaveModel) -> None:
    path = save_onnx(
        [("Mul", ["image", "gain"], ["out"], {})], {"image": ["b", 3, "h", "w"], "gain": [1]}
    )

    result = translated(str(path), constants={"gain": np.array([0.5], np.float32)})

    assert_close(result, pictures() / 2)


def test_an_object_is_taken_as_it_is() -> None:
    ours = IdentityTranslator()

    assert load_translator(ours) is ours
    assert_close(translated(nn.Sigmoid()), torch.sigmoid(pictures()))
    assert_close(translated(IdentityTranslator), pictures())


def test_the_users_word_goes_over_the_traits_of_a_finished_translator() -> None:
    translator = load_translator(IdentityTranslator(), TraitOverrides(multiple=32))
    translator.setup(CPU)

    assert translator.traits == TranslatorTraits(multiple=32)
    assert_close(call_translator(translator, pictures()), pictures())


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("style:19", "model must be styles:N, .*got 'style:19'; did you mean 'styles:19'?"),
        ("identiy", "got 'identiy'; did you mean 'identity'?"),
        (
            "inpant:telea",
            r"got 'inpant:telea' \(no module 'inpant'\); did you mean 'inpaint:telea'",
        ),
        ("inpaint:magic", "must be inpaint:telea or inpaint:ns, .*got 'inpaint:magic'"),
        ("inpaint", "got 'inpaint'"),
        ("inpaint:ns,size=3", "got 'inpaint:ns,size=3'"),
        ("inpaint:ns,radius=big", "radius must be a number, got 'big'"),
        ("inpaint:ns,radius=-1", "radius must be positive, got -1"),
        ("styles", "styles must be numbers 0 to 25"),
        ("", "got ''"),
        ("net.safetensors", "a file .onnx .pt .pth .ts .pt2, got 'net.safetensors'"),
        ("no_such_module_at_all:net", "no module 'no_such_module_at_all'"),
        ("torch.nowhere:net", "module 'torch.nowhere' must be importable, got ModuleNotFoundError"),
        ("torch:sigmiod", "got no 'sigmiod' in 'torch'; did you mean 'sigmoid'?"),
        ("torch:nn.RelU", "got no 'RelU' in 'torch'; did you mean 'ReLU'?"),
        ("torch:pi", "'torch:pi' must be a function, a module or a class, got 3.14"),
        ("gone.onnx", "'gone.onnx' must be a file, got no such file"),
        ("gone.pt2", "'gone.pt2' must be a file, got no such file"),
        ("gone.py:net", "'gone.py' must be a Python file, got no such file"),
    ],
)
def test_what_leads_nowhere_is_refused_in_one_line(spec: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        load_translator(spec)

    assert "\n" not in str(caught.value)


def test_a_file_that_does_not_run_is_refused_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("import no_such_thing\n")

    for _ in range(2):
        with pytest.raises(
            ModelError, match=r"broken\.py' must run, got ModuleNotFoundError: .*no_su"
        ):
            load_translator(f"{path}:net")


def test_a_folder_is_no_model_file(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").mkdir()

    with pytest.raises(ModelError, match="must be a file, got a folder"):
        load_translator(str(tmp_path / "net.onnx"))


@pytest.mark.parametrize(
    ("spec", "options"),
    [
        ("identity", {"value_range": 255.0}),
        ("identity", {"overrides": TraitOverrides(multiple=2)}),
        ("styles:3", {"value_range": 255.0}),
        ("inpaint:ns", {"constants": {"gain": np.ones(1)}}),
        ("torch:sigmoid", {"constants": {"gain": np.ones(1)}}),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(spec: str, options: dict[str, object]) -> None:
    with pytest.raises(ModelError, match=f"{next(iter(options))} must not be given for '{spec}'"):
        load_translator(spec, **options)


@pytest.mark.parametrize("value_range", [0.0, -1.0, float("nan"), float("inf")])
def test_a_value_range_must_be_positive(value_range: float) -> None:
    with pytest.raises(ModelError, match="value_range must be positive, got"):
        load_translator("torch:sigmoid", value_range=value_range)
