"""Bad input and bad models through the whole command: one line, the documented exit code, and
nothing left."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import onnx
import pytest
from clips import read_back, write_clip
from command import COMMON, NO_DELAY, OUTPUTS, Refused, write_image
from onnx import TensorProto, helper

from pipeline import cli

pytestmark = pytest.mark.usefixtures("process_as_it_was")


# --- what is read


def test_an_input_that_is_missing(refused: Refused, tmp_path: Path) -> None:
    message = refused(4, tmp_path / "absent.mp4", tmp_path / "out.mp4")

    assert message == f"input must exist, got {tmp_path}/absent.mp4"


@pytest.mark.parametrize("data", [b"", b"a shopping list\n" * 40], ids=["empty", "text"])
def test_an_input_that_is_no_video(data: bytes, refused: Refused, tmp_path: Path) -> None:
    source = tmp_path / "in.mp4"
    source.write_bytes(data)

    assert refused(4, source, tmp_path / "out.mp4").startswith(f"{source} must be a readable video")


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(
    ("name", "options"),
    [("in.mp4", None), ("in.mp4", {"movflags": "faststart"}), ("in.mkv", None)],
    ids=["index-at-the-end", "index-at-the-start", "matroska"],
)
def test_an_input_that_was_cut_off(
    name: str, options: dict[str, str] | None, output: str, refused: Refused, tmp_path: Path
) -> None:
    source = write_clip(tmp_path / name, pts=range(60), container_options=options)
    whole = source.read_bytes()
    source.write_bytes(whole[: len(whole) * 6 // 10])

    words = ["--model", "identity", "--size", "16x24", *NO_DELAY[output]]
    message = refused(4, source, tmp_path / output, *words)

    assert message.startswith(f"{source} ")


def test_an_input_of_sound_alone(refused: Refused, tmp_path: Path) -> None:
    source = tmp_path / "in.mp4"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        block = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        block.sample_rate = 48000
        container.mux([*stream.encode(block), *stream.encode(None)])

    message = refused(4, source, tmp_path / "out.mp4")

    assert message == f"{source} must have a video stream that can be decoded, got none"


@pytest.mark.parametrize("output", ["out.mp4", "out"])
def test_a_start_past_the_end(output: str, refused: Refused, clip: Path, tmp_path: Path) -> None:
    message = refused(4, clip, tmp_path / output, "--start", "8")

    assert message == f"{clip} must have more than 8 frames, got 8"


def test_a_folder_without_images(refused: Refused, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "notes.txt").touch()

    message = refused(4, source, tmp_path / "out.mp4")

    assert message.startswith(f"{source} must hold at least one image")


def test_a_folder_with_images_of_two_sizes(refused: Refused, tmp_path: Path) -> None:
    for number in range(4):
        write_image(tmp_path / "in" / f"{number}.png", width=32 if number < 3 else 34)

    message = refused(4, tmp_path / "in", tmp_path / "out", "--model", "identity")

    assert message.startswith(f"{tmp_path}/in/3.png must have the size 32x24")


def test_a_folder_with_an_image_that_is_none(refused: Refused, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "0.png")
    (tmp_path / "in" / "1.png").write_bytes(b"not one")

    message = refused(4, tmp_path / "in", tmp_path / "out.mp4", "--model", "identity")

    assert message.startswith(f"{tmp_path}/in/1.png must be an image of 8 or 16 bits")


def test_masks_that_are_missing_or_too_few(refused: Refused, clip: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    output = tmp_path / "out"

    assert str(masks) in refused(4, clip, output, "--mask", str(masks))
    write_image(masks / "0.png")
    message = refused(4, clip, output, "--mask", str(masks))
    assert message == f"{masks} must hold a mask for each of 8 frames, got 1 masks"


@pytest.mark.parametrize("num_frames", [1, 2])
@pytest.mark.parametrize("alignment", ["shared", "exact"])
def test_one_frame_and_two_frames_are_legal(
    num_frames: int, alignment: str, tmp_path: Path
) -> None:
    source = write_clip(tmp_path / "in.mp4", pts=range(num_frames))
    words = ["--alignment", alignment, *COMMON]

    assert cli.main(["run", str(source), str(tmp_path / "out.mp4"), *words]) == 0
    assert cli.main(["run", str(tmp_path / "out.mp4"), str(tmp_path / "out"), *words]) == 0

    assert read_back(tmp_path / "out.mp4")[0] == read_back(source)[0]
    assert len(list((tmp_path / "out").glob("*.png"))) == num_frames


# --- models

BAD_MODELS = {
    "shape": ("return images[:, :, ::2]", "got (4, 3, 16, 48)"),
    "batch": ("return images[:0]", "got"),
    "nothing": ("return None", "NoneType"),
    "nan": ("return images * float('nan')", "finite"),
    "raise": ("raise KeyError('lost\\nkey')", "KeyError"),
}


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("kind", list(BAD_MODELS))
def test_a_model_that_breaks_its_promise_after_some_frames(
    kind: str, output: str, refused: Refused, clip: Path, tmp_path: Path
) -> None:
    statement, word = BAD_MODELS[kind]
    model = tmp_path / "net.py"
    model.write_text(
        "calls = []\n"
        "def translate(images):\n"
        "    calls.append(len(images))\n"
        "    if len(calls) < 4:\n"
        "        return images\n"
        f"    {statement}\n"
    )

    words = ["--model", f"{model}:translate", *NO_DELAY[output]]
    message = refused(5, clip, tmp_path / output, *words)

    assert message.startswith("stage 'translate' failed")
    assert "net.py" in message
    assert word in message


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("def translate(images", "SyntaxError"),
        ("raise OSError('no licence')", "OSError: no licence"),
        ("import nowhere_at_all", "ModuleNotFoundError"),
        ("def translte(images): return images", "did you mean 'translte'?"),
        ("translate = 3", "must be a function, a module or a class, got 3"),
        ("import sys\nsys.exit(3)", "SystemExit"),
    ],
)
def test_a_model_in_python_that_cannot_be_loaded(
    code: str, word: str, refused: Refused, clip: Path, tmp_path: Path
) -> None:
    model = tmp_path / "net.py"
    model.write_text(code)

    assert word in refused(5, clip, tmp_path / "out.mp4", "--model", f"{model}:translate")


def save_graph(path: Path, input_shape: list[Any], kind: str, output_shape: list[Any]) -> None:
    graph = helper.make_graph(
        [helper.make_node(kind, ["x"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output_shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))


@pytest.mark.parametrize(
    ("shape", "kind", "output_shape"),
    [
        (["b", 16000], "Neg", ["b", 16000]),
        (["b", 5, "h", "w"], "Neg", ["b", 5, "h", "w"]),
        (["b", 3, "h", "w"], "Flatten", ["b", "n"]),
    ],
    ids=["of-sound", "of-five-channels", "a-classifier"],
)
def test_an_onnx_model_of_another_kind(
    shape: list[Any],
    kind: str,
    output_shape: list[Any],
    refused: Refused,
    clip: Path,
    tmp_path: Path,
) -> None:
    model = tmp_path / "net.onnx"
    save_graph(model, shape, kind, output_shape)

    message = refused(5, clip, tmp_path / "out.mp4", "--model", str(model))

    assert message.startswith("stage 'translate' failed to set up: model 'net.onnx' must")


@pytest.mark.parametrize("name", ["net.onnx", "net.pt", "net.pt2"])
@pytest.mark.parametrize("data", [b"", b"<html>404</html>"], ids=["empty", "web-page"])
def test_a_model_file_that_holds_something_else(
    name: str, data: bytes, refused: Refused, clip: Path, tmp_path: Path
) -> None:
    model = tmp_path / name
    model.write_bytes(data)

    assert str(model) in refused(5, clip, tmp_path / "out.mp4", "--model", str(model))


def test_a_name_that_means_no_model_is_answered_with_the_nearest(
    refused: Refused, clip: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.mp4"

    assert "did you mean 'styles:19'" in refused(5, clip, output, "--model", "stiles:1")
    assert "did you mean 'dis'" in refused(5, clip, output, "--flow", "diss")
    assert "did you mean 'rife-4.6'" in refused(5, clip, output, "--interpolator", "rif-4.6")


def test_weights_that_are_not_there_are_named_with_the_folder(
    refused: Refused, clip: Path, tmp_path: Path
) -> None:
    message = refused(5, clip, tmp_path / "o.mp4", "--flow", "gmflow", "--weights", str(tmp_path))

    assert "gmflow-flownet.pkl" in message
    assert str(tmp_path) in message
