"""Where settings come from: files, ``--set`` and options, laid over each other and checked."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pipeline.config import Config, fields
from pipeline.errors import UsageError
from pipeline.values import Group


@dataclass(frozen=True, slots=True)
class Layer:
    """Some settings and where they were said.

    Attributes:
        origin: What messages begin with: a file name or ``--set``; empty for options, whose own
            names say enough.
        values: Nested by group, as in a file.
        names: How the user wrote a dotted key, where that is not the key itself.
    """

    origin: str
    values: Mapping[str, Any]
    names: Mapping[str, str] = field(default_factory=dict)

    def blame(self, key: str, rule: str) -> UsageError:
        """The error for a key of this layer."""
        prefix = f"{self.origin}: " if self.origin else ""
        return UsageError(f"{prefix}{self.names.get(key, key)} {rule}")


def read_layer(path: Path) -> Layer:
    """Read a configuration file, YAML or TOML by its extension.

    Raises:
        UsageError: If it cannot be read, is neither, or does not hold keys and values.
    """
    if path.suffix not in {".yaml", ".yml", ".toml"}:
        msg = f"configuration file must end in .yaml, .yml or .toml, got {path}"
        raise UsageError(msg)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        msg = f"configuration file must be readable, got {path}: {reason}"
        raise UsageError(msg) from error
    try:
        values = tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)
    except (tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        kind = "TOML" if path.suffix == ".toml" else "YAML"
        msg = f"{path.name}: must be valid {kind}, got {_where(error)}"
        raise UsageError(msg) from error
    if values is None:
        values = {}
    if not isinstance(values, dict):
        msg = f"{path.name}: must hold keys and values, got {values!r}"
        raise UsageError(msg)
    return Layer(path.name, values)


def _where(error: Exception) -> str:
    """Where a parser stopped, on one line."""
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        problem = getattr(error, "problem", None) or "an error"
        return f"{problem} at line {mark.line + 1}, column {mark.column + 1}"
    return " ".join(str(error).split())


def set_layer(assignments: Iterable[str]) -> Layer:
    """Read ``a.b=c`` assignments; ``c`` is a YAML value.

    Raises:
        UsageError: If one has no key, no ``=`` or no readable value.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator or not all(key.split(".")):
            msg = f"--set must be KEY=VALUE, like aggregate.radius=2, got {assignment!r}"
            raise UsageError(msg)
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            msg = f"--set: {key} must be a YAML value, got {text!r}"
            raise UsageError(msg) from error
        values = _overlay(values, nested(key, value))
    return Layer("--set", values)


def nested(key: str, value: object) -> dict[str, Any]:
    """``{"a": {"b": value}}`` for the key ``a.b``."""
    first, *rest = key.split(".")
    return {first: nested(".".join(rest), value) if rest else value}


def option_layer(given: Mapping[str, tuple[str, object]]) -> Layer:
    """Settings from options of the command line.

    Args:
        given: For each dotted key that was given, how the option is written and its value.
    """
    values: dict[str, Any] = {}
    for key, (_, value) in given.items():
        values = _overlay(values, nested(key, value))
    return Layer("", values, {key: name for key, (name, _) in given.items()})


def resolve(*layers: Layer) -> Config:
    """Lay settings over the defaults; later layers win.

    Raises:
        UsageError: For the first unknown key or wrong value, saying where it came from.
    """
    values: dict[str, Any] = {}
    for layer in layers:
        _require_known_keys(layer, layer.values, Config, "")
        values = _overlay(values, layer.values)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        # A context that holds an exception cannot be shown; its words are in the message.
        details = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in details["loc"])
        raise _layer_of(key, layers).blame(key, _rule(details)) from None


def _overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            merged[key] = _overlay(old, value)
        else:
            merged[key] = value
    return merged


def _require_known_keys(
    layer: Layer, values: Mapping[str, Any], group: type[Group], prefix: str
) -> None:
    for key, value in values.items():
        dotted = f"{prefix}{key}"
        known = group.model_fields.get(key) if isinstance(key, str) else None
        if known is None:
            nearest = _nearest_key(dotted)
            hint = f"; did you mean '{nearest}'?" if nearest else ""
            origin = f"{layer.origin}: " if layer.origin else ""
            msg = f"{origin}unknown key '{dotted}'{hint}"
            raise UsageError(msg)
        inner = known.annotation
        if isinstance(inner, type) and issubclass(inner, Group):
            if not isinstance(value, Mapping):
                raise layer.blame(dotted, f"must hold keys and values, got {value!r}")
            _require_known_keys(layer, value, inner, f"{dotted}.")


def _nearest_key(unknown: str) -> str | None:
    """The known key that is spelled most like it, with or without its group."""
    keys = [*Config.model_fields, *(key for key, _ in fields())]
    whole = get_close_matches(unknown, keys, n=1)
    if whole:
        return whole[0]
    leaves = {key.rpartition(".")[2]: key for key in keys}
    leaf = get_close_matches(unknown.rpartition(".")[2], leaves, n=1)
    return leaves[leaf[0]] if leaf else None


def _layer_of(key: str, layers: Iterable[Layer]) -> Layer:
    """The last layer that says something about a key, which is the one that won."""
    blamed = Layer("", {})
    for layer in layers:
        if any(key == said or key.startswith(f"{said}.") for said in _leaves(layer.values, "")):
            blamed = layer
    return blamed


def _leaves(values: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


# What must hold, by pydantic's name of the error; `{name}` is from the error's own context.
_RULES = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "keys and values",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "path_type": "a path",
    "string_too_short": "text",
    "string_type": "text",
}


def _rule(details: ErrorDetails) -> str:
    """An error of pydantic in this project's form."""
    context = details.get("ctx", {})
    got = _got(details)
    if details["type"] == "value_error":
        return f"{context['error']}, got {got}"
    rule = _RULES.get(details["type"])
    wanted = details["msg"].lower() if rule is None else "must be " + rule.format(**context)
    return f"{wanted}, got {got}"


def _got(details: ErrorDetails) -> str:
    """The value as the user wrote it: a number that came as text is shown as a number."""
    value = details["input"]
    is_bound = details["type"] in {"greater_than", "greater_than_equal", "less_than_equal"}
    return str(value) if is_bound else repr(value)
