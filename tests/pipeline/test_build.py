"""From a configuration to stages and cuts: which there are, and what is refused."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import NoneType
from typing import Any

import pytest
from streams import LongSource

from operators.accelerate import Acceleration
from operators.models.entry import Kind
from operators.models.registry import entry
from operators.recurrent import VINetInpaint
from operators.translate import Translate
from operators.translators.registered import RegistryTranslator
from operators.weighted import Weighted
from pipeline.build import build_cuts, build_stages, require_here, run_key
from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.io.cut_detector import DetectedCuts
from pipeline.io.hardware import device_refusal
from pipeline.io.video_sink import VideoSink
from pipeline.stage import Stage


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


@pytest.mark.parametrize("method", ["hypercon", "framewise", "blind-consistency", "vinet"])
def test_every_network_is_made_faster_as_the_run_is_told(method: str) -> None:
    config = Config.model_validate(
        {
            "method": method,
            "mask": {"path": "masks" if method == "vinet" else None},
            "interpolate": {"flow": "gmflow", "interpolator": "rife-4.6"},
            "translate": {"model": "vinet-512" if method == "vinet" else "mosaic"},
            "run": {"precision": "float16", "compile": True, "device": "cuda", "engine": "ray"},
        }
    )

    found = list(weighted_parts(build_stages(config)))

    names = {"vinet": {"vinet-512"}, "hypercon": {"gmflow", "rife-4.6", "mosaic"}}
    names |= {"framewise": {"mosaic"}, "blind-consistency": {"mosaic", "lai"}}
    assert {part.entry.name for part in found} == names[method]
    wanted = Acceleration("float16", compile=True, cuda_graphs=True)
    assert {part.acceleration for part in found} == {wanted}


def test_half_precision_without_cuda_is_a_mistake_of_the_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    message = "--precision must be float32 where there is no CUDA, got float16"
    for run in ({"device": "cpu", "engine": "ray"}, {"engine": "local"}):
        with pytest.raises(UsageError, match=message):
            stages_of(run={"precision": "float16", **run})
    # The workers of a cluster may have what this machine has not.
    assert stages_of(run={"precision": "float16", "engine": "ray"})


def weighted_parts(stages: Iterable[Stage]) -> Iterator[Weighted]:
    for stage in stages:
        operator = stage.operator
        for part in (operator, *vars(operator).values()):
            if isinstance(part, Weighted):
                yield part


def test_vinet_without_masks_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(UsageError, match="--mask must be given for --method vinet"):
        stages_of(method="vinet")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({}, DetectedCuts),
        ({"method": "blind-consistency"}, DetectedCuts),
        ({"method": "vinet", "mask": {"path": "masks"}}, DetectedCuts),
        ({"interpolate": {"insert": 0}}, DetectedCuts),
        # No frame of these depends on another.
        ({"method": "framewise"}, NoneType),
        ({"aggregate": {"radius": 0}}, NoneType),
        ({"aggregate": {"strength": 0}}, NoneType),
        ({"shots": {"detect": False}}, NoneType),
    ],
)
def test_cuts_are_looked_for_where_frames_depend_on_each_other(
    values: dict[str, Any], kind: type
) -> None:
    assert type(build_cuts(Config.model_validate(values))) is kind


@pytest.mark.parametrize("values", [{}, {"method": "framewise"}, {"shots": {"detect": False}}])
def test_a_list_of_cuts_wins(values: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "cuts.txt"
    path.write_text("40\n60\n")
    part = {"source": {"start": 50}}

    cuts = build_cuts(Config.model_validate(with_file(values, path)))
    cuts_of_part = build_cuts(Config.model_validate(with_file(values, path) | part))

    assert cuts is not None
    assert cuts.find(LongSource(100, 2, 2)) == [40, 60]
    assert cuts_of_part is not None
    assert cuts_of_part.find(LongSource(50, 2, 2)) == [10]


def with_file(values: dict[str, Any], path: Path) -> dict[str, Any]:
    return values | {"shots": values.get("shots", {}) | {"file": str(path)}}


def test_other_cuts_are_another_run(tmp_path: Path) -> None:
    source, path = tmp_path / "in.mp4", tmp_path / "cuts.txt"
    source.write_bytes(b"a video")
    keys = []
    for text in (None, "40\n", "41\n", "40\n60\n"):
        if text is not None:
            path.write_text(text)
        shots = {} if text is None else {"file": str(path)}
        keys.append(run_key(Config.model_validate({"shots": shots}), source))
    keys.append(run_key(Config.model_validate({"shots": {"detect": False}}), source))

    assert len(set(keys)) == 5
    assert run_key(Config(), source) == keys[0]


@pytest.mark.parametrize("spec", ["{0}/net_of_mine.py:Net", "net_of_mine:Net", "{0}/net.onnx"])
def test_a_model_that_was_changed_is_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    source = tmp_path / "in.mp4"
    source.write_bytes(b"a video")
    config = Config.model_validate({"translate": {"model": spec.format(tmp_path)}})
    keys = []
    for text in ("Net = 1\n", "Net = 22\n", "Net = 22\n"):
        for name in ("net_of_mine.py", "net.onnx"):
            if not (tmp_path / name).exists() or (tmp_path / name).read_text() != text:
                (tmp_path / name).write_text(text)
        keys.append(run_key(config, source))

    assert keys[0] != keys[1] == keys[2]


@pytest.mark.parametrize(
    ("values", "kind", "name"),
    [
        ({"translate": {"model": "mosaic"}}, "translator", "mosaic"),
        ({"interpolate": {"flow": "gmflow"}}, "flow", "gmflow"),
        ({"interpolate": {"interpolator": "super-slomo"}}, "interpolator", "super-slomo"),
        ({"method": "blind-consistency"}, "recurrent", "lai"),
    ],
)
def test_other_weights_of_the_same_name_are_another_run(
    tmp_path: Path, values: dict[str, Any], kind: Kind, name: str
) -> None:
    source, weights = tmp_path / "in.mp4", tmp_path / "weights"
    source.write_bytes(b"a video")
    config = Config.model_validate(values | {"run": {"weights": str(weights)}})
    place = weights / entry(kind, name).files[0]
    place.parent.mkdir(parents=True)
    keys = [run_key(config, source)]
    for text in ("one", "another", "another"):
        if not place.exists() or place.read_text() != text:
            place.write_text(text)
        keys.append(run_key(config, source))

    assert len(set(keys)) == 3
    assert keys[2] == keys[3]


def test_a_device_that_is_not_there_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "out.mp4")
    require_here("auto", 0, sink)
    require_here("cpu", 0, sink)
    require_here("cuda", 1, sink)
    require_here("cuda:1", 2, sink)

    message = "--device must be a device of this machine, which has 1 CUDA, got cuda:1"
    with pytest.raises(UsageError, match=f"^{message}$"):
        require_here("cuda:1", 1, sink)
    with pytest.raises(UsageError, match=r"which has 0 CUDA, got cuda$"):
        require_here("cuda", 0, sink)


@pytest.mark.skipif(device_refusal() is None, reason="there may be a card that encodes")
def test_a_card_that_is_not_there_is_told_before_anything_is_done(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "out.mp4", codec="h264_nvenc")

    with pytest.raises(
        UsageError, match=r"cannot be written by h264_nvenc: .* needs a graphics card"
    ):
        require_here("cpu", 0, sink)
