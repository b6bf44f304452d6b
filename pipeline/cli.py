"""The command ``hypercon``: what it is given, what it prints, and what it returns.

Exit codes: 0 all done; 1 an error inside HyperCon; 2 wrong options or configuration; 3 finished
with failed items; 4 the input cannot be read; 5 a model failed; 6 out of memory or disk; 7 the
cluster is unavailable; 130 and 143 interrupted.

Nothing heavy is imported before a command needs it, so that help and mistakes are answered at
once; that is why this file, alone, imports inside functions.
"""

# ruff: noqa: PLC0415 - heavy imports wait for the command that needs them

import json
import logging
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from difflib import get_close_matches
from functools import partial
from importlib.metadata import version as version_of
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from pipeline import log
from pipeline.config import Config, dump
from pipeline.errors import UsageError
from pipeline.failure import Failure, Interrupted, explain
from pipeline.options import Given, with_settings
from pipeline.patience import watched
from pipeline.plan import plan as plan_of
from pipeline.plan import warnings as warnings_of
from pipeline.progress import make_progress, report_text
from pipeline.ray_settings import RaySettings
from pipeline.run_config import LogFormat
from pipeline.submit import CONTEXT_SETTINGS, submit
from pipeline.summary import LastState, summary

if TYPE_CHECKING:
    from pipeline.io.endpoint import StreamInfo
    from pipeline.progress import Progress
    from pipeline.report import RunReport

# Not __name__, which is another when this file is run as a module.
logger = logging.getLogger("pipeline.cli")

# Click is inside typer, or beside it, by version: its usage errors are what BadParameter is.
_ClickUsageError: type[Any] = typer.BadParameter.__mro__[1]


class _Commands(TyperGroup):
    """Commands whose names are suggested in this project's words."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that is asked for."""
        if args[0] not in self.commands:
            raise UsageError(_unknown("command", args[0], list(self.commands)))
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_Commands,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Turn any image-to-image model into a temporally consistent video-to-video model.",
)

models_app = typer.Typer(cls=_Commands)
app.add_typer(models_app, name="models")

InputArgument = Annotated[
    Path | None,
    typer.Argument(metavar="INPUT", help="A video, or a folder of PNG or JPEG files."),
]
OutputArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="OUTPUT", help="A video; without an extension, a folder of numbered PNG files."
    ),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option("--weights", metavar="FOLDER", help="Look for weights here, not elsewhere."),
]
FromOption = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="FILE_OR_URL",
        help="Take it from this file or address, or out of this .whl or .zip.",
    ),
]
JsonOption = Annotated[
    LogFormat, typer.Option("--log-format", metavar="human|json", help="For people or as JSON.")
]


@app.callback(invoke_without_command=True)
def hypercon(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """What stands before a command."""
    if version:
        typer.echo(f"hypercon {version_of('hypercon')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
@with_settings
def run(
    input_path: InputArgument = None, output_path: OutputArgument = None, *, given: Given
) -> None:
    """Translate INPUT into OUTPUT."""
    config = _configure(given)
    if given.dump_config:
        typer.echo(dump(config), nl=False)
        return
    if input_path is None or output_path is None:
        msg = "INPUT and OUTPUT must be given, like: hypercon run in.mp4 out.mp4"
        raise UsageError(msg)
    for warning in warnings_of(config):
        logger.warning(warning)
    is_json = config.run.log_format == "json"
    progress = LastState(make_progress(is_wanted=config.run.progress, is_json=is_json))
    with summary(config.run.summary, progress) as written:
        try:
            report = execute(config, input_path, output_path, progress)
        finally:
            progress.finish()
        facts = report.to_dict()
        written.update(facts)
    logger.info(
        report_text(report), extra=log.facts(event="report", video=str(input_path), **facts)
    )


@app.command()
@with_settings
def plan(
    input_path: InputArgument = None, output_path: OutputArgument = None, *, given: Given
) -> None:
    """Say what a run would do and hold in memory, without doing it."""
    config = _configure(given)
    if given.dump_config:
        typer.echo(dump(config), nl=False)
        return
    if input_path is None:
        msg = "INPUT must be given, like: hypercon plan in.mp4"
        raise UsageError(msg)
    if output_path is not None and output_path.exists() and not config.output.overwrite:
        logger.warning("output exists, and would be kept: %s; --overwrite replaces it", output_path)
    info, reads_flow = look(config, input_path)
    planned = plan_of(config, info, interpolator_reads_flow=reads_flow)
    for warning in planned.warnings:
        logger.warning(warning)
    if config.run.log_format == "json":
        typer.echo(json.dumps(planned.to_dict(), ensure_ascii=False))
    else:
        typer.echo("\n".join(planned.lines()))


app.command(context_settings=CONTEXT_SETTINGS)(submit)


@models_app.callback(invoke_without_command=True)
def models(
    context: typer.Context, weights: WeightsOption = None, log_format: JsonOption = "human"
) -> None:
    """List the models that can be asked for by name, and whether their weights are here."""
    from pipeline.catalogue import catalogue

    if context.invoked_subcommand is not None:
        return
    log.configure(log_format)
    listed = catalogue(weights)
    if log_format == "json":
        typer.echo(json.dumps(asdict(listed), ensure_ascii=False, default=str))
    else:
        typer.echo("\n".join(listed.lines()))


@models_app.command()
def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model that needs weights.")],
    *,
    source: FromOption = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", metavar="FOLDER", help="Put it here, not in the user cache."),
    ] = None,
    log_format: JsonOption = "human",
) -> None:
    """Put the weight file of NAME where it is looked for, from where it is published."""
    from pipeline.fetch import fetch

    log.configure(log_format)
    fetched = fetch(name, source=source, folder=weights)
    if log_format == "json":
        typer.echo(json.dumps(asdict(fetched), ensure_ascii=False, default=str))
    else:
        typer.echo("\n".join(fetched.lines()))


@app.command()
def doctor(log_format: JsonOption = "human") -> None:
    """Say what works on this machine, what is missing, and why it matters."""
    from pipeline.doctor import can_run, examine, lines

    log.configure(log_format)
    checks = examine()
    if log_format == "json":
        typer.echo(json.dumps([asdict(check) for check in checks], ensure_ascii=False))
    else:
        typer.echo("\n".join(lines(checks)))
    if not can_run(checks):
        raise typer.Exit(code=1)


def execute(
    config: Config, input_path: Path, output_path: Path, progress: "Progress"
) -> "RunReport":
    """Build the pipeline and run it: where the heavy part of the program is imported."""
    from torch import cuda

    from pipeline.build import build_pipeline, require_here, run_key

    pipeline = build_pipeline(config, input_path, output_path)
    key = watched(partial(run_key, config, input_path), config.run.stall_s, str(input_path))
    if _takes_ray(config, cuda.device_count()):
        # Ray alone takes seconds to import.
        from pipeline.ray_runner import RayRunner

        _require_software(config.source.hwaccel)
        settings = RaySettings.of(config)
        return RayRunner(settings, key=key, progress=progress).run(pipeline)
    from pipeline.local_runner import LocalRunner

    require_here(config.run.device, cuda.device_count(), pipeline.sink)
    runner = LocalRunner(
        config.run.device, progress, key=key, segment_frames=config.run.segment_frames
    )
    return runner.run(pipeline)


def look(config: Config, input_path: Path) -> tuple["StreamInfo", bool]:
    """What is known of the input, and whether the interpolator reads flow."""
    from operators.models.registry import interpolator
    from pipeline.build import build_pictures

    maker = interpolator(config.interpolate.interpolator, config.run.weights)
    info = watched(
        lambda: build_pictures(config, input_path).info(), config.run.stall_s, str(input_path)
    )
    return info, maker.reads_flow


def _configure(given: Given) -> Config:
    config = given.resolve()
    log.configure(config.run.log_format)
    return config


def _takes_ray(config: Config, num_cuda: int) -> bool:
    if config.run.engine == "auto":
        has_cluster = config.run.address is not None or "RAY_ADDRESS" in os.environ
        return has_cluster or num_cuda > 1
    return config.run.engine == "ray"


def _require_software(hwaccel: str) -> None:
    if hwaccel.startswith("cuda"):
        msg = f"--hwaccel must be off or auto on Ray, where decoders hold no GPU, got {hwaccel}"
        raise UsageError(msg)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Args:
        arguments: What follows the command's name; by default what the process was given.
    """
    log.configure()
    with _signals_raise():
        try:
            result = app(
                None if arguments is None else list(arguments),
                prog_name="hypercon",
                standalone_mode=False,
            )
        except _ClickUsageError as error:
            return _tell(Failure(UsageError.exit_code, _usage_text(error)))
        except (Exception, Interrupted, KeyboardInterrupt) as error:  # noqa: BLE001 - nothing is above
            return _tell(explain(error))
    return result if isinstance(result, int) else 0


def _tell(failure: Failure) -> int:
    logger.error(failure.message, extra={log.FACTS: {"exit_code": failure.exit_code}})
    return failure.exit_code


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into an exception, so that what was begun is cleaned up.

    The second time, a signal has its usual effect again, in case the cleaning hangs.
    """

    def interrupt(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise Interrupted(number)

    if threading.current_thread() is not threading.main_thread():
        # Python lets only the main thread handle signals.
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _usage_text(error: Any) -> str:
    """What click has to say, in this project's form."""
    if hasattr(error, "possibilities"):
        return _unknown("option", error.option_name, error.possibilities or [])
    text = str(error.format_message()).rstrip(".")
    return text[:1].lower() + text[1:]


def _unknown(what: str, name: str, known: Sequence[str]) -> str:
    nearest = get_close_matches(name, known, n=1)
    hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
    return f"unknown {what} '{name}'{hint}"


if __name__ == "__main__":
    raise SystemExit(main())
