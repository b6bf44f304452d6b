import json
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto
from torch import Tensor
from torch.testing import assert_close

from operators.base import Translator, TranslatorTraits
from operators.errors import ModelError
from operators.translators.contract import call_translator
from operators.translators.onnx_model import OnnxTranslator
from operators.translators.traits import TraitOverrides

SaveModel = Callable[..., Path]

CPU = torch.device("cpu")
MASKED = [
    ("Sub", ["one", "hole"], ["known"], {}),
    ("Mul", ["image", "known"], ["out"], {}),
]
ONE = {"one": np.ones(1, np.float32)}


def pictures(batch: int = 2, height: int = 5, width: int = 7) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(5))


def ready(path: Path, **options: Any) -> OnnxTranslator:
    translator = OnnxTranslator(path, threads=1, **options)
    translator.setup(CPU)
    return translator


def test_a_file_with_open_sizes_takes_any(negative: SaveModel) -> None:
    translator = ready(negative())

    images = pictures()

    assert isinstance(translator, Translator)
    assert translator.name == "net.onnx"
    assert translator.traits == TranslatorTraits()
    assert_close(call_translator(translator, images), 1 - images)


def test_a_fixed_batch_in_the_file_is_declared(negative: SaveModel) -> None:
    translator = ready(negative((2, 3, "h", "w")))

    images = pictures(5)

    assert translator.traits.batch == 2
    assert_close(call_translator(translator, images), 1 - images)


def test_a_fixed_size_is_kept_to_and_another_is_refused_with_the_remedy(
    negative: SaveModel,
) -> None:
    translator = ready(negative((1, 3, 16, 24)))

    images = pictures(1, 16, 24)

    assert_close(call_translator(translator, images), 1 - images)
    with pytest.raises(ModelError, match=r"24 wide and 16 high, got 7 .*--size 16x24"):
        call_translator(translator, pictures(1))


def test_channels_last_is_seen_in_the_shape(negative: SaveModel) -> None:
    translator = ready(negative((1, "h", "w", 3)))

    images = pictures(2, 6, 3)

    assert_close(call_translator(translator, images), 1 - images)


def test_a_width_of_three_is_not_taken_for_channels(negative: SaveModel) -> None:
    translator = ready(negative((1, 3, 8, 3)))

    images = pictures(1, 8, 3)

    assert_close(call_translator(translator, images), 1 - images)


def test_half_precision_is_fed_as_the_file_declares(negative: SaveModel) -> None:
    translator = ready(negative(dtype=TensorProto.FLOAT16))

    images = pictures()

    assert_close(call_translator(translator, images), 1 - images, atol=1e-3, rtol=0)


def test_a_model_of_0_to_255_is_fed_and_read_in_that_range(negative: SaveModel) -> None:
    translator = ready(negative(white=255.0), value_range=255.0)

    images = pictures()

    assert_close(call_translator(translator, images), 1 - images)


def test_an_upscaler_declares_its_scale(save_onnx: SaveModel) -> None:
    path = save_onnx(
        [("Resize", ["image", "", "scales"], ["out"], {"mode": "nearest"})],
        {"image": ["b", 3, "h", "w"]},
        constants={"scales": np.array([1, 1, 2, 2], np.float32)},
    )
    translator = ready(path)

    images = pictures()

    assert translator.traits == TranslatorTraits(scale=2)
    assert_close(call_translator(translator, images), F.interpolate(images, scale_factor=2))


@pytest.mark.parametrize("keepdims", [0, 1])
def test_a_depth_map_has_one_channel_with_or_without_a_dimension_for_it(
    save_onnx: SaveModel, keepdims: int
) -> None:
    path = save_onnx(
        [
            ("ReduceMean", ["image"], ["mean"], {"axes": [1], "keepdims": keepdims}),
            ("Mul", ["mean", "far"], ["out"], {}),
        ],
        {"image": ["b", 3, "h", "w"]},
        constants={"far": np.array([80], np.float32)},
        output_shape=[None] * (3 + keepdims),
    )
    translator = ready(path)

    images = pictures()

    assert translator.traits == TranslatorTraits(channels=1, is_picture=False)
    assert_close(call_translator(translator, images), 80 * images.mean(1, keepdim=True))


def test_the_multiple_that_a_model_needs_is_found_and_padded_to(save_onnx: SaveModel) -> None:
    path = save_onnx(
        [
            ("AveragePool", ["image"], ["small"], {"kernel_shape": [4, 4], "strides": [4, 4]}),
            ("Resize", ["small", "", "scales"], ["out"], {"mode": "nearest"}),
        ],
        {"image": ["b", 3, "h", "w"]},
        constants={"scales": np.array([1, 1, 4, 4], np.float32)},
    )
    translator = ready(path)

    images = pictures(1, 6, 9)

    assert translator.traits.multiple == 4
    padded = F.pad(images, (0, 3, 0, 2), mode="reflect")
    expected = F.interpolate(F.avg_pool2d(padded, 4), scale_factor=4)[..., :6, :9]
    assert_close(call_translator(translator, images), expected)


@pytest.mark.parametrize("hole_first", [True, False])
def test_a_second_input_of_one_channel_is_the_mask(save_onnx: SaveModel, hole_first: bool) -> None:
    inputs = {"image": ["b", 3, "h", "w"], "hole": ["b", 1, "h", "w"]}
    if hole_first:
        inputs = dict(reversed(inputs.items()))
    translator = ready(save_onnx(MASKED, inputs, constants=ONE))

    images = pictures()
    masks = images[:, :1] > 0.5

    assert translator.traits.takes_mask
    assert_close(call_translator(translator, images, masks), images * ~masks)


def test_a_further_input_is_a_constant_that_the_user_gives(save_onnx: SaveModel) -> None:
    path = save_onnx(
        [("Mul", ["image", "gain"], ["out"], {})], {"image": ["b", 3, "h", "w"], "gain": [1]}
    )

    translator = ready(path, constants={"gain": np.array([0.25], np.float32)})

    assert_close(call_translator(translator, pictures()), pictures() / 4)
    with pytest.raises(ModelError, match=r"nothing for 'gain'; it has: image .*, gain tensor"):
        ready(path)
    with pytest.raises(ModelError, match="constants must name inputs, got 'gian'; it has: image"):
        ready(path, constants={"gian": np.ones(1, np.float32)})


@pytest.mark.parametrize("shape", [["b", 4, "h", "w"], ["b", 3, "n"], ["b", "h", "w", 1]])
def test_a_file_without_an_image_input_is_refused_with_its_inputs(
    negative: SaveModel, shape: list[int | str]
) -> None:
    with pytest.raises(ModelError, match=r"must have a float input .*got: image tensor"):
        ready(negative(shape, output_shape=[None] * len(shape)))


def test_the_file_may_declare_its_own_traits_and_the_user_may_correct_them(
    negative: SaveModel,
) -> None:
    path = negative(metadata=json.dumps({"multiple": 16, "is_deterministic": False, "batch": 3}))

    own = ready(path).traits
    corrected = ready(path, overrides=TraitOverrides(multiple=2)).traits

    assert own == TranslatorTraits(multiple=16, is_deterministic=False, batch=3)
    assert corrected == TranslatorTraits(multiple=2, is_deterministic=False, batch=3)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [("{", "must be JSON, got '{'"), ('{"sclae": 2}', "got 'sclae'"), ("[]", "got list")],
)
def test_traits_in_the_file_that_cannot_be_read_are_refused(
    negative: SaveModel, metadata: str, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        ready(negative(metadata=metadata))


def test_a_wrong_declaration_is_caught_at_the_first_call(negative: SaveModel) -> None:
    translator = ready(negative(), overrides=TraitOverrides(scale=2, channels=3, multiple=1))

    with pytest.raises(ModelError, match=r"'net.onnx' must return \(2, 3, 10, 14\)"):
        call_translator(translator, pictures())


def test_not_a_number_is_refused(save_onnx: SaveModel) -> None:
    path = save_onnx(
        [("Sub", ["image", "image"], ["zero"], {}), ("Div", ["zero", "zero"], ["out"], {})],
        {"image": ["b", 3, "h", "w"]},
    )

    with pytest.raises(ModelError, match=r"'net\.onnx' must return finite values"):
        call_translator(ready(path), pictures())


def test_eight_bit_results_are_refused_rather_than_clamped_to_white(save_onnx: SaveModel) -> None:
    path = save_onnx(
        [("Cast", ["image"], ["out"], {"to": TensorProto.UINT8})],
        {"image": ["b", 3, "h", "w"]},
        output_dtype=TensorProto.UINT8,
    )

    with pytest.raises(ModelError, match=r"must return floating point, got torch\.uint8"):
        call_translator(ready(path), pictures())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.onnx' must be a file, got no such file"):
        OnnxTranslator(tmp_path / "gone.onnx")


def test_a_file_that_vanished_since_is_named_at_setup(negative: SaveModel) -> None:
    path = negative()
    translator = OnnxTranslator(path)
    path.unlink()

    with pytest.raises(ModelError, match=r"net\.onnx' must be a file, got no such file"):
        translator.setup(CPU)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"pip install\n", "a text file"),
        (b"", "an empty file"),
        (b"\x08\xff\xff\x00", "of no known kind: No graph"),
    ],
)
def test_a_file_of_another_kind_is_refused_by_what_it_is(
    tmp_path: Path, content: bytes, kind: str
) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)

    with pytest.raises(ModelError, match=f"net.onnx' must be an ONNX file, got .*{kind}"):
        ready(path)


def test_a_torchscript_archive_named_onnx_is_refused_by_what_it_is(save_script: SaveModel) -> None:
    path = save_script(torch.nn.ReLU(), "net.onnx")

    with pytest.raises(ModelError, match="must be an ONNX file, got a TorchScript archive"):
        ready(path)


def test_a_demanded_provider_that_is_missing_ends_setup(negative: SaveModel) -> None:
    with pytest.raises(ModelError, match=r"must run on NoSuchProvider, but .*CPUExecutionProvider"):
        ready(negative(), providers=("NoSuchProvider",))


def test_without_cuda_in_onnxruntime_a_cuda_device_means_the_cpu_and_a_warning(
    negative: SaveModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    translator = OnnxTranslator(negative())

    with caplog.at_level(logging.WARNING):
        translator.setup(torch.device("cuda", 0))

    assert "install onnxruntime-gpu" in caplog.text
    assert_close(call_translator(translator, pictures()), 1 - pictures())


def test_cuda_is_the_first_choice_on_a_cuda_device_and_gets_its_number(
    negative: SaveModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Session(onnxruntime.InferenceSession):
        def __init__(self, path: str, options: object, providers: list[object]) -> None:
            asked.extend(providers)
            super().__init__(path, options, providers=["CPUExecutionProvider"])

        def get_providers(self) -> list[str]:
            return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    has = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: has)
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)

    OnnxTranslator(negative()).setup(torch.device("cuda", 3))

    assert asked == [("CUDAExecutionProvider", {"device_id": 3}), "CPUExecutionProvider"]


def test_a_demanded_provider_that_does_not_start_ends_setup(
    negative: SaveModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Session(onnxruntime.InferenceSession):
        def __init__(self, path: str, options: object, providers: list[object]) -> None:
            super().__init__(path, options, providers=["CPUExecutionProvider"])

    has = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: has)
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)

    with pytest.raises(ModelError, match=r"must run on CUDA.*, but onnxruntime started CPU"):
        ready(negative(), providers=("CUDAExecutionProvider",))


def test_the_threads_of_a_call_are_what_was_asked_for(negative: SaveModel) -> None:
    translator = ready(negative())

    assert translator._session is not None
    assert translator._session.get_session_options().intra_op_num_threads == 1


def test_out_of_memory_inside_onnxruntime_is_told_as_such(negative: SaveModel) -> None:
    class Full:
        def get_outputs(self) -> list[onnxruntime.NodeArg]:
            return session.get_outputs()

        def run(self, *_args: object) -> None:
            msg = "BFCArena: Failed to allocate memory for requested buffer of size 9"
            raise RuntimeError(msg)

    translator = ready(negative())
    session = translator._session
    translator._session = Full()  # type: ignore[assignment] # a stand-in for a full device

    with pytest.raises(torch.OutOfMemoryError, match="requested buffer of size 9"):
        call_translator(translator, pictures())


def test_a_translator_travels_before_and_after_setup(negative: SaveModel) -> None:
    before = OnnxTranslator(negative(), threads=1)
    after = ready(negative())

    for translator in (before, after):
        copy = pickle.loads(pickle.dumps(translator))  # noqa: S301 - our own bytes
        copy.setup(CPU)
        assert_close(call_translator(copy, pictures()), 1 - pictures())


def test_a_translator_that_was_not_set_up_says_so(negative: SaveModel) -> None:
    with pytest.raises(ModelError, match=r"'net\.onnx' must be set up before it is called"):
        call_translator(OnnxTranslator(negative()), pictures())
