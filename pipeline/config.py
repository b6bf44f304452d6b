"""What a run can be told: one schema for configuration files, the command line and Python.

The description of a field is also the help text of its option. Reading files and merging them
with options is ``pipeline.settings``.
"""

import hashlib
import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, model_validator
from pydantic.fields import FieldInfo

from operators.timeline import Timeline
from pipeline.run_config import RayConfig, RunConfig
from pipeline.values import (
    Count,
    Cpus,
    Gpus,
    Group,
    Hwaccel,
    Level,
    Name,
    Natural,
    Rate,
    Replicas,
    Share,
    Size,
)

DEFAULT_MODEL = "styles:19"
DEFAULT_MASKED_MODEL = "inpaint:telea"
DEFAULT_VINET = "vinet-512"

# How a run is watched and where it happens to be computed changes no picture.
KEYS_WITHOUT_EFFECT_ON_PICTURES = (
    "aggregate.gpus",
    "interpolate.cpus",
    "interpolate.gpus",
    "interpolate.replicas",
    "translate.cpus",
    "translate.gpus",
    "translate.replicas",
    "ray.chunk_frames",
    "ray.grow_after_s",
    "ray.idle_s",
    "ray.start_s",
    "ray.worker_gib",
    "run.address",
    "run.attempts",
    "run.lanes",
    "run.stall_s",
    "output.overwrite",
    "run.engine",
    "run.log_format",
    "run.progress",
    "run.summary",
)

# What these make of a frame depends on all frames of the shot before it.
RECURRENT_METHODS = ("blind-consistency", "vinet")

Method = Literal["hypercon", "framewise", "blind-consistency", "vinet"]
Pool = Literal["mean", "median", "valid-mean", "valid-median"]
Alignment = Literal["shared", "exact"]
FlowOn = Literal["translated", "source"]
FlowFormat = Literal["float16", "float32"]
OnError = Literal["stop", "keep"]
Hdr = Literal["error", "keep"]


class SourceConfig(Group):
    """Which frames of the input are read."""

    start: Count = Field(default=0, description="First frame of the input that is read.")
    frames: Natural | None = Field(
        default=None, description="How many frames are read; all by default."
    )
    size: Size | None = Field(
        default=None, description="Resize frames to this height and width before anything else."
    )
    rate: Rate = Field(
        default=Fraction(24),
        description="Frames per second of an input that is a folder of images.",
    )
    on_error: OnError = Field(
        default="stop",
        description="stop at what cannot be read; keep what could be, and say what is missing.",
    )
    hdr: Hdr = Field(
        default="error",
        description="What to do with a high dynamic range: refuse it, or keep its numbers and tags "
        "and let the model see them as they are.",
    )
    hwaccel: Hwaccel = Field(
        default="off",
        description="Graphics card (NVDEC) that decodes what was looked at for cuts: off, cuda, "
        "cuda:N, or auto for one where there is one. Frames are the same.",
    )


class ShotsConfig(Group):
    """Where the scene is cut. Nothing is interpolated or pooled across a cut."""

    detect: bool = Field(default=True, description="Look for cuts.")
    file: Path | None = Field(
        default=None,
        description="Cuts from this file instead: the number of the first frame of each new shot, "
        "one on a line, counted from 0 at the beginning of the input.",
    )


class MaskConfig(Group):
    """What is missing from the pictures and is to be filled."""

    path: Path | None = Field(
        default=None,
        description="Masks, white where the picture is missing: an image for all frames, a folder "
        "of images, or a video.",
    )
    invert: bool = Field(default=False, description="Masks are black where the picture is missing.")
    threshold: Share = Field(
        default=0.5, description="A mask brighter than this share of white counts as white."
    )
    dilate: Count = Field(default=0, description="Grow what is missing by this many pixels.")


class InterpolateConfig(Group):
    """What is inserted between the frames."""

    insert: Count = Field(default=3, description="Frames inserted between each two frames (i).")
    interpolator: str = Field(
        default="linear", min_length=1, description="Frame interpolation model."
    )
    flow: str = Field(default="dis", min_length=1, description="Optical flow model.")
    flow_format: FlowFormat = Field(
        default="float16", description="Number format of flow on its way between stages."
    )
    replicas: Replicas | None = Field(
        default=None,
        description="Processes that interpolate on Ray, or MIN:MAX to grow and shrink as the work "
        "asks; by what the cluster has.",
    )
    gpus: Gpus | None = Field(
        default=None,
        description="GPUs of each; by default one, where there are any, if a network estimates.",
    )
    cpus: Cpus | None = Field(
        default=None,
        description="Processors of each, and so many threads; by what the cluster has.",
    )


class TranslateConfig(Group):
    """The image-to-image model."""

    model: str = Field(
        default=DEFAULT_MODEL,
        min_length=1,
        description="The image-to-image model: styles:N, PATH.onnx, PATH.pt, PATH.pt2, "
        "module:attr, file.py:attr, inpaint:telea, identity, an entry point or a name of "
        f"`hypercon models`; {DEFAULT_MASKED_MODEL} by default where there are masks, "
        f"{DEFAULT_VINET} for the method vinet.",
    )
    batch: Natural | None = Field(
        default=None, description="Images in one call of the model; by default what it asks for."
    )
    value_range: Level | None = Field(
        default=None, description="The value of white that the model reads, if not 1, such as 255."
    )
    replicas: Replicas | None = Field(
        default=None,
        description="Processes that translate on Ray, or MIN:MAX to grow and shrink as the work "
        "asks; by what the cluster has.",
    )
    gpus: Gpus | None = Field(
        default=None,
        description="GPUs of each; a fraction shares one. By default one, where there are any.",
    )
    cpus: Cpus | None = Field(
        default=None,
        description="Processors of each, and so many threads; by what the cluster has.",
    )
    channels: Natural | None = Field(
        default=None, description="Channels of the model's output, if it does not say."
    )
    scale: Natural | None = Field(
        default=None, description="Size of the model's output over its input, if it does not say."
    )
    multiple: Natural | None = Field(
        default=None,
        description="What height and width must be multiples of, if the model does not say.",
    )


class AggregateConfig(Group):
    """How translated frames become one frame."""

    radius: Count = Field(default=2, description="Neighbours on each side of a frame's window (γ).")
    dilation: Natural = Field(
        default=1, description="Dense steps between neighbours of a window (d)."
    )
    pool: Pool = Field(
        default="mean",
        description="How a window becomes one frame; valid-* leaves out samples from outside the "
        "picture. median by default where there are masks.",
    )
    alignment: Alignment = Field(
        default="shared",
        description="shared aligns by the flow that interpolation computed; exact computes flow "
        "for each neighbour as the paper does.",
    )
    flow_on: FlowOn = Field(
        default="translated", description="The frames whose flow exact alignment computes."
    )
    consistency: bool = Field(
        default=False,
        description="valid-* pools also leave out samples that fail the forward-backward check.",
    )
    strength: Share = Field(
        default=1.0, description="Share of the pooled frame in the output; 0 is frame by frame."
    )
    gpus: Gpus | None = Field(
        default=None,
        description="GPUs of each process that aggregates on Ray; by default a part of one, where "
        "there are any, if a network estimates flow for it.",
    )


class OutputConfig(Group):
    """How the output is written."""

    overwrite: bool = Field(default=False, description="Replace an output that exists.")
    codec: Name | None = Field(
        default=None,
        description="Video encoder, by FFmpeg's name; for a folder, png, jpeg or exr. "
        "The container decides by default.",
    )
    crf: Count | None = Field(
        default=None,
        description="Constant quality on the encoder's own scale: less is better and larger.",
    )
    preset: Name | None = Field(
        default=None, description="Speed preset on the encoder's own scale."
    )
    pix_fmt: Name | None = Field(
        default=None, description="Pixel format; that of the input by default."
    )
    options: dict[str, str] = Field(
        default_factory=dict, description="Further option of the encoder; may be repeated."
    )


class Config(Group):
    """Everything a run can be told beside its input and its output.

    Where masks are given, and the model or the pool is not, these are OpenCV's inpainting and
    the median, as in the paper's masked experiments.
    """

    version: Literal[1] = Field(default=1, description="Version of this schema.")
    method: Method = Field(
        default="hypercon",
        description="hypercon; framewise: every frame translated on its own; blind-consistency: "
        "that, made steadier by the network of Lai et al.; vinet: masked videos filled by VINet.",
    )
    source: SourceConfig = Field(default_factory=SourceConfig)
    shots: ShotsConfig = Field(default_factory=ShotsConfig)
    mask: MaskConfig = Field(default_factory=MaskConfig)
    interpolate: InterpolateConfig = Field(default_factory=InterpolateConfig)
    translate: TranslateConfig = Field(default_factory=TranslateConfig)
    aggregate: AggregateConfig = Field(default_factory=AggregateConfig)
    output: OutputConfig = Field(default_factory=OutputConfig)
    run: RunConfig = Field(default_factory=RunConfig)
    ray: RayConfig = Field(default_factory=RayConfig)

    @model_validator(mode="after")
    def _choose_for_masks(self) -> Self:
        if self.method == "vinet" or self.mask.path is not None:
            model = DEFAULT_VINET if self.method == "vinet" else DEFAULT_MASKED_MODEL
            chosen = {
                "translate": _with_default(self.translate, "model", model),
                "aggregate": _with_default(self.aggregate, "pool", "median"),
            }
            # The object is not in anyone's hands yet: this completes its construction.
            self.__dict__.update(chosen)
        return self

    @property
    def timeline(self) -> Timeline:
        """The arithmetic of the method; all others insert nothing and pool no neighbour.

        At strength 0 nothing but the reference counts, which is frame by frame too.
        """
        if self.method != "hypercon" or self.aggregate.strength == 0:
            return Timeline(insert=0, radius=0)
        return Timeline(
            insert=self.interpolate.insert,
            radius=self.aggregate.radius,
            dilation=self.aggregate.dilation,
        )

    @property
    def reads_neighbours(self) -> bool:
        """Whether an output frame depends on other frames; if not, no cut matters."""
        return self.method in RECURRENT_METHODS or self.timeline.radius > 0


def _with_default(group: Group, key: str, value: str) -> Group:
    if key in group.model_fields_set:
        return group
    return group.model_copy(update={key: value})


def fields() -> Iterator[tuple[str, FieldInfo]]:
    """Every key, dotted, with its field."""
    for name, info in Config.model_fields.items():
        group = info.annotation
        if isinstance(group, type) and issubclass(group, Group):
            for key, field in group.model_fields.items():
                yield f"{name}.{key}", field
        else:
            yield name, info


def to_dict(config: Config) -> dict[str, Any]:
    """Every key and its value in types that YAML and JSON have."""
    return config.model_dump(mode="json")


def dump(config: Config) -> str:
    """The configuration as YAML; reading it gives an equal configuration."""
    return yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True)


def config_hash(config: Config) -> str:
    """SHA-256 over what can change the pictures, as 64 hexadecimal digits.

    It covers what the configuration says, not the content of the files that it names. The
    device counts, because another device may round otherwise; the engine does not.
    """
    values = to_dict(config)
    for dotted in KEYS_WITHOUT_EFFECT_ON_PICTURES:
        group, key = dotted.split(".")
        del values[group][key]
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def json_schema() -> dict[str, Any]:
    """The JSON schema of configuration files."""
    return Config.model_json_schema()
