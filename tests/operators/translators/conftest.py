"""Small models as files, made in code."""

import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

SaveModel = Callable[..., Path]


@pytest.fixture(autouse=True)
def path_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading a user's file appends to the path; the next test must not see it."""
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def save_onnx(tmp_path: Path) -> SaveModel:
    """Write an ONNX file from nodes given as ``(operator, inputs, outputs, attributes)``."""

    def save(
        nodes: Sequence[tuple[str, list[str], list[str], dict[str, Any]]],
        inputs: dict[str, Sequence[int | str]],
        *,
        constants: dict[str, np.ndarray] | None = None,
        dtype: int = TensorProto.FLOAT,
        output_dtype: int | None = None,
        output_shape: Sequence[int | str | None] = (None, None, None, None),
        metadata: str | None = None,
        name: str = "net.onnx",
    ) -> Path:
        graph = helper.make_graph(
            [helper.make_node(kind, i, o, **attributes) for kind, i, o, attributes in nodes],
            "graph",
            [helper.make_tensor_value_info(key, dtype, shape) for key, shape in inputs.items()],
            [helper.make_tensor_value_info("out", output_dtype or dtype, output_shape)],
            [numpy_helper.from_array(value, key) for key, value in (constants or {}).items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        if metadata is not None:
            helper.set_model_props(model, {"hypercon": metadata})
        onnx.checker.check_model(model)
        path = tmp_path / name
        onnx.save(model, str(path))
        return path

    return save


@pytest.fixture
def negative(save_onnx: SaveModel) -> SaveModel:
    """An ONNX file that computes ``white - image``."""

    def make(
        shape: Sequence[int | str] = ("b", 3, "h", "w"), white: float = 1.0, **options: Any
    ) -> Path:
        dtype = np.float16 if options.get("dtype") == TensorProto.FLOAT16 else np.float32
        return save_onnx(
            [("Sub", ["white", "image"], ["out"], {})],
            {"image": shape},
            constants={"white": np.array([white], dtype)},
            **options,
        )

    return make


@pytest.fixture
def save_script(tmp_path: Path) -> SaveModel:
    """Write a module as a TorchScript archive."""

    def save(module: nn.Module, name: str = "net.pt") -> Path:
        path = tmp_path / name
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.jit.script(module).save(str(path))
        return path

    return save
