"""The options of ``run`` and ``plan``, made from the schema: one table, one set of help texts."""

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.config import Config, fields
from pipeline.errors import UsageError
from pipeline.settings import Layer, option_layer, read_layer, resolve, set_layer


@dataclass(frozen=True, slots=True)
class SettingOption:
    """An option that sets one key.

    Attributes:
        flag: As the user writes it.
        key: The dotted key that it sets.
        metavar: What the help calls its value; empty for a flag without one.
        value: What a flag without a value sets.
    """

    flag: str
    key: str
    metavar: str = ""
    value: bool = True

    @property
    def parameter(self) -> str:
        """The name of the parameter of the command."""
        return self.key.replace(".", "_")


OPTIONS = (
    SettingOption("--method", "method", "hypercon|framewise|blind-consistency|vinet"),
    SettingOption("--model", "translate.model", "MODEL"),
    SettingOption("--insert", "interpolate.insert", "INT"),
    SettingOption("--radius", "aggregate.radius", "INT"),
    SettingOption("--dilation", "aggregate.dilation", "INT"),
    SettingOption("--pool", "aggregate.pool", "mean|median|valid-mean|valid-median"),
    SettingOption("--alignment", "aggregate.alignment", "shared|exact"),
    SettingOption("--flow-on", "aggregate.flow_on", "translated|source"),
    SettingOption("--flow", "interpolate.flow", "NAME"),
    SettingOption("--interpolator", "interpolate.interpolator", "NAME"),
    SettingOption("--strength", "aggregate.strength", "0..1"),
    SettingOption("--mask", "mask.path", "PATH"),
    SettingOption("--mask-invert", "mask.invert"),
    SettingOption("--mask-threshold", "mask.threshold", "0..1"),
    SettingOption("--mask-dilate", "mask.dilate", "PIXELS"),
    SettingOption("--start", "source.start", "FRAME"),
    SettingOption("--frames", "source.frames", "INT"),
    SettingOption("--size", "source.size", "HxW"),
    SettingOption("--rate", "source.rate", "FPS"),
    SettingOption("--cuts", "shots.file", "FILE"),
    SettingOption("--no-cuts", "shots.detect", value=False),
    SettingOption("--on-error", "source.on_error", "stop|keep"),
    SettingOption("--hdr", "source.hdr", "error|keep"),
    SettingOption("--hwaccel", "source.hwaccel", "off|auto|cuda|cuda:N"),
    SettingOption("--codec", "output.codec", "NAME"),
    SettingOption("--crf", "output.crf", "INT"),
    SettingOption("--preset", "output.preset", "NAME"),
    SettingOption("--pix-fmt", "output.pix_fmt", "NAME"),
    SettingOption("--overwrite", "output.overwrite"),
    SettingOption("--engine", "run.engine", "auto|local|ray"),
    SettingOption("--address", "run.address", "ADDRESS"),
    SettingOption("--translate-replicas", "translate.replicas", "N|MIN:MAX"),
    SettingOption("--translate-gpus", "translate.gpus", "GPUS"),
    SettingOption("--translate-cpus", "translate.cpus", "CPUS"),
    SettingOption("--interpolate-replicas", "interpolate.replicas", "N|MIN:MAX"),
    SettingOption("--interpolate-gpus", "interpolate.gpus", "GPUS"),
    SettingOption("--interpolate-cpus", "interpolate.cpus", "CPUS"),
    SettingOption("--segment-frames", "run.segment_frames", "INT"),
    SettingOption("--device", "run.device", "DEVICE"),
    SettingOption("--precision", "run.precision", "float32|float16"),
    SettingOption("--compile", "run.compile"),
    SettingOption("--weights", "run.weights", "FOLDER"),
    SettingOption("--no-progress", "run.progress", value=False),
    SettingOption("--log-format", "run.log_format", "human|json"),
    SettingOption("--summary", "run.summary", "FILE"),
)

ENCODER_OPTIONS_KEY = "output.options"


@dataclass(frozen=True, slots=True)
class Given:
    """What the user gave beside input and output.

    Attributes:
        config_file: ``--config``.
        assignments: Each ``--set``.
        options: For each key that an option set, how the option is written and its value.
        dump_config: ``--dump-config``.
    """

    config_file: Path | None
    assignments: tuple[str, ...]
    options: dict[str, tuple[str, object]]
    dump_config: bool

    def resolve(self) -> Config:
        """The configuration: defaults, under the file, under ``--set``, under options.

        Raises:
            UsageError: For the first thing that cannot be used.
        """
        layers: list[Layer] = [] if self.config_file is None else [read_layer(self.config_file)]
        return resolve(*layers, set_layer(self.assignments), option_layer(self.options))


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of the table; it receives them as its last argument, ``given``.

    Typer reads a command's options from its signature, so the signature is what is made here.
    """
    own = [p for p in inspect.signature(command).parameters.values() if p.name != "given"]
    shared = [_parameter(option) for option in OPTIONS] + _other_parameters()

    @functools.wraps(command)
    def wrapped(**arguments: Any) -> None:
        inputs = {parameter.name: arguments.pop(parameter.name) for parameter in own}
        command(**inputs, given=_given(arguments))

    parameters = [*own, *shared]
    signature = inspect.Signature(parameters, return_annotation=None)
    wrapped.__signature__ = signature  # type: ignore[attr-defined]  # what inspect looks for
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapped


def _parameter(option: SettingOption) -> inspect.Parameter:
    descriptions = {key: field.description or "" for key, field in fields()}
    defaults = {key: field.get_default() for key, field in fields()}
    help_text = descriptions[option.key]
    if not option.metavar:
        if not option.value:
            help_text = f"Do not {help_text[:1].lower()}{help_text[1:]}"
        # The colon-free form of a typer flag: given or not, without a negative.
        info = typer.Option(option.flag, help=help_text, show_default=False)
        return _keyword(option.parameter, Annotated[bool, info], default=False)
    default = defaults[option.key]
    shown = False if default is None else str(default)
    info = typer.Option(option.flag, help=help_text, metavar=option.metavar, show_default=shown)
    # Values stay as they were typed: the schema reads them, with the same messages as a file's.
    return _keyword(option.parameter, Annotated[str | None, info], default=None)


def _other_parameters() -> list[inspect.Parameter]:
    encoder_help = next(f.description for key, f in fields() if key == ENCODER_OPTIONS_KEY)
    encoder = typer.Option("-e", help=encoder_help, metavar="KEY=VALUE", show_default=False)
    config = typer.Option(
        "--config", help="Settings from a YAML or TOML file.", metavar="FILE", show_default=False
    )
    assignments = typer.Option(
        "--set",
        help="Any setting by its key, over the file; may be repeated.",
        metavar="KEY=VALUE",
        show_default=False,
    )
    dump = typer.Option(
        "--dump-config", help="Print the settings that result, and stop.", show_default=False
    )
    return [
        _keyword("encoder_options", Annotated[list[str] | None, encoder], default=None),
        _keyword("config_file", Annotated[Path | None, config], default=None),
        _keyword("assignments", Annotated[list[str] | None, assignments], default=None),
        _keyword("dump_config", Annotated[bool, dump], default=False),
    ]


def _keyword(name: str, annotation: object, *, default: object) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _given(arguments: dict[str, Any]) -> Given:
    options: dict[str, tuple[str, object]] = {}
    for option in OPTIONS:
        value = arguments[option.parameter]
        if option.metavar and value is not None:
            options[option.key] = (option.flag, value)
        elif not option.metavar and value:
            options[option.key] = (option.flag, option.value)
    if arguments["encoder_options"]:
        pairs = _pairs(arguments["encoder_options"])
        options[ENCODER_OPTIONS_KEY] = ("-e", pairs)
    return Given(
        config_file=arguments["config_file"],
        assignments=tuple(arguments["assignments"] or ()),
        options=options,
        dump_config=arguments["dump_config"],
    )


def _pairs(texts: Iterable[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not (key and separator):
            msg = f"-e must be KEY=VALUE, like tune=film, got {text!r}"
            raise UsageError(msg)
        pairs[key] = value
    return pairs
