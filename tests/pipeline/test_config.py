"""One schema: defaults, what it refuses, what goes out comes in again, what the hash sees."""

from fractions import Fraction
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from operators.timeline import Timeline
from pipeline.config import Config, config_hash, dump, fields, json_schema

# Another valid value for every key but the version, which has only one.
OTHER_VALUES = {
    "method": "framewise",
    "source.start": 5,
    "source.frames": 7,
    "source.size": "48x64",
    "source.rate": "30000/1001",
    "source.on_error": "keep",
    "source.hdr": "keep",
    "shots.detect": False,
    "shots.file": "cuts.txt",
    "mask.path": "masks",
    "mask.invert": True,
    "mask.threshold": 0.25,
    "mask.dilate": 3,
    "interpolate.insert": 1,
    "interpolate.interpolator": "rife-4.6",
    "interpolate.flow": "gmflow",
    "interpolate.flow_format": "float32",
    "interpolate.replicas": 2,
    "translate.replicas": "1:3",
    "translate.gpus": 0.5,
    "translate.cpus": 2.0,
    "interpolate.cpus": 0.5,
    "interpolate.gpus": 0.25,
    "aggregate.gpus": 1.0,
    "ray.chunk_frames": 6,
    "ray.start_s": 30.0,
    "ray.grow_after_s": 1.5,
    "ray.idle_s": 20.0,
    "ray.worker_gib": 12.5,
    "run.address": "10.0.0.1:6379",
    "run.segment_frames": 12,
    "run.lanes": 4,
    "run.attempts": 5,
    "run.stall_s": 60.0,
    "translate.model": "net.onnx",
    "translate.batch": 4,
    "translate.value_range": 255.0,
    "translate.channels": 1,
    "translate.scale": 2,
    "translate.multiple": 8,
    "aggregate.radius": 1,
    "aggregate.dilation": 3,
    "aggregate.pool": "median",
    "aggregate.alignment": "exact",
    "aggregate.flow_on": "source",
    "aggregate.consistency": True,
    "aggregate.strength": 0.5,
    "output.overwrite": True,
    "source.hwaccel": "auto",
    "output.codec": "ffv1",
    "output.crf": 30,
    "output.preset": "slow",
    "output.pix_fmt": "yuv444p",
    "output.options": {"tune": "film"},
    "run.engine": "local",
    "run.device": "cuda:1",
    "run.precision": "float16",
    "run.compile": True,
    "run.weights": "weights",
    "run.progress": False,
    "run.log_format": "json",
    "run.summary": "summary.json",
}
SAME_PICTURES = {
    "interpolate.replicas",
    "translate.replicas",
    "translate.gpus",
    "translate.cpus",
    "interpolate.cpus",
    "interpolate.gpus",
    "aggregate.gpus",
    "ray.chunk_frames",
    "ray.start_s",
    "ray.grow_after_s",
    "ray.idle_s",
    "ray.worker_gib",
    "run.address",
    "run.lanes",
    "run.attempts",
    "run.stall_s",
    "output.overwrite",
    "run.engine",
    "run.progress",
    "run.log_format",
    "run.summary",
}


def with_value(key: str, value: object) -> Config:
    group, _, name = key.rpartition(".")
    return Config.model_validate({group: {name: value}} if group else {name: value})


def test_the_defaults_are_the_ones_that_are_promised() -> None:
    config = Config()

    assert config.timeline == Timeline(insert=3, radius=2, dilation=1)
    assert (config.aggregate.pool, config.aggregate.alignment) == ("mean", "shared")
    assert (config.interpolate.flow, config.interpolate.interpolator) == ("dis", "linear")
    assert (config.translate.model, config.aggregate.strength) == ("styles:19", 1.0)


def test_masks_choose_inpainting_and_the_median() -> None:
    config = Config.model_validate({"mask": {"path": "masks.mp4"}})

    assert (config.translate.model, config.aggregate.pool) == ("inpaint:telea", "median")


def test_masks_overrule_nothing_that_was_said() -> None:
    said = {"mask": {"path": "m"}, "translate": {"model": "styles:19"}, "aggregate": {"radius": 1}}

    config = Config.model_validate(said | {"aggregate": {"pool": "mean", "radius": 1}})

    assert (config.translate.model, config.aggregate.pool) == ("styles:19", "mean")
    assert Config.model_validate(said).aggregate.pool == "median"
    assert Config.model_validate(said).aggregate.radius == 1


def test_vinet_is_the_model_of_its_own_method() -> None:
    masked = {"method": "vinet", "mask": {"path": "masks"}}

    assert Config(method="vinet").translate.model == "vinet-512"
    assert Config.model_validate(masked).translate.model == "vinet-512"
    said = Config.model_validate(masked | {"translate": {"model": "vinet-256"}})
    assert said.translate.model == "vinet-256"
    assert Config(method="blind-consistency").translate.model == "styles:19"


@pytest.mark.parametrize("method", ["framewise", "blind-consistency", "vinet"])
def test_other_methods_read_no_neighbour_whatever_the_windows_say(method: str) -> None:
    config = Config.model_validate({"method": method, "aggregate": {"radius": 4}})

    assert config.timeline.offsets == (0,)
    assert config.timeline.stride == 1


def test_the_list_of_other_values_covers_every_key() -> None:
    assert {key for key, _ in fields()} == {*OTHER_VALUES, "version"}


@pytest.mark.parametrize(("key", "value"), OTHER_VALUES.items())
def test_every_key_survives_a_dump(key: str, value: object) -> None:
    config = with_value(key, value)

    assert config != Config()
    assert Config.model_validate(yaml.safe_load(dump(config))) == config


@pytest.mark.parametrize(("key", "value"), OTHER_VALUES.items())
def test_the_hash_sees_exactly_what_can_change_pictures(key: str, value: object) -> None:
    changed = config_hash(with_value(key, value)) != config_hash(Config())

    assert changed == (key not in SAME_PICTURES)


def test_the_hash_does_not_depend_on_the_way_a_value_is_written() -> None:
    first = Config.model_validate({"source": {"rate": 25, "size": [48, 64]}})
    second = Config.model_validate({"source": {"rate": "25/1", "size": "48x64"}})

    assert config_hash(first) == config_hash(second)
    assert len(config_hash(first)) == 64


@given(
    numerator=st.integers(1, 10**6),
    denominator=st.integers(1, 10**6),
    height=st.integers(1, 10**4),
    width=st.integers(1, 10**4),
    strength=st.floats(0, 1),
    tune=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])),
)
def test_exact_values_survive_a_dump(
    numerator: int, denominator: int, height: int, width: int, strength: float, tune: str
) -> None:
    rate = Fraction(numerator, denominator)
    config = Config.model_validate(
        {
            "source": {"rate": rate, "size": (height, width)},
            "aggregate": {"strength": strength},
            "output": {"options": {"tune": tune}},
        }
    )

    again = Config.model_validate(yaml.safe_load(dump(config)))

    assert again == config
    assert again.source.rate == rate
    assert again.source.size == (height, width)
    assert again.output.options == {"tune": tune}


def test_a_decimal_rate_is_what_is_written_not_its_binary_neighbour() -> None:
    config = Config.model_validate(yaml.safe_load("source: {rate: 23.976}"))

    assert config.source.rate == Fraction(23976, 1000)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("source.rate", "0"),
        ("source.rate", "1/0"),
        ("source.rate", True),
        ("source.rate", "nan"),
        ("source.size", "0x64"),
        ("source.size", "48"),
        ("source.size", "-1x64"),
        ("source.frames", 0),
        ("aggregate.radius", True),
        ("aggregate.dilation", 0),
        ("aggregate.strength", 1.01),
        ("aggregate.strength", float("nan")),
        ("mask.threshold", -0.1),
        ("translate.value_range", 0),
        ("translate.value_range", float("inf")),
        ("translate.model", ""),
        ("run.device", "gpu"),
        ("run.device", "cpu\n"),
        ("version", 2),
    ],
)
def test_impossible_values_are_refused(key: str, value: object) -> None:
    with pytest.raises(ValidationError):
        with_value(key, value)


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Config().aggregate.radius = 3  # type: ignore[misc]  # this is what is refused


def test_the_schema_describes_every_key_and_refuses_others() -> None:
    schema = json_schema()

    groups = schema["$defs"]
    assert schema["additionalProperties"] is False
    for key, _ in fields():
        group, _, name = key.rpartition(".")
        title = f"{group.capitalize()}Config"
        described = (groups[title] if group else schema)["properties"][name]
        assert described["description"].endswith(".")
        assert not group or groups[title]["additionalProperties"] is False


def test_paths_are_paths() -> None:
    assert with_value("run.weights", "a/b").run.weights == Path("a/b")
