"""The command ``hypercon submit``: any other command, on a Ray cluster."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline import log
from pipeline.errors import UsageError
from pipeline.run_config import LogFormat

# Options end where the command to submit begins, whose options are not this command's.
CONTEXT_SETTINGS = {"allow_interspersed_args": False}
DEFAULT_ADDRESS = "http://127.0.0.1:8265"
# Parameters that name a place on the cluster, as messages call them.
PLACES = {
    "input_path": "INPUT",
    "output_path": "OUTPUT",
    "mask_path": "--mask",
    "shots_file": "--cuts",
    "run_weights": "--weights",
    "run_summary": "--summary",
}


def submit(
    context: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(metavar="-- COMMAND", help="What to run there, such as: run INPUT OUTPUT."),
    ],
    *,
    address: Annotated[
        str,
        typer.Option(
            envvar=["RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"],
            metavar="URL",
            help="The cluster's dashboard.",
        ),
    ] = DEFAULT_ADDRESS,
    working_dir: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER",
            help="Uploaded, for the command to run in; .gitignore and .rayignore name what is not.",
        ),
    ] = Path(),
    follow: Annotated[
        bool,
        typer.Option("--follow/--no-wait", help="Show its log and return its exit code, or leave."),
    ] = True,
    stop_on_interrupt: Annotated[
        bool, typer.Option("--stop-on-interrupt", help="Ctrl-C ends the job too.")
    ] = False,
    log_format: Annotated[
        LogFormat, typer.Option(metavar="human|json", help="For people or as JSON.")
    ] = "human",
) -> None:
    """Run a command of hypercon on a Ray cluster.

    The job's name goes to standard output, its log to standard error. Inputs and outputs are
    absolute paths that every node of the cluster sees.
    """
    log.configure(log_format)
    check(context.parent, words)
    # Ray takes seconds to import; mistakes are answered before that.
    from pipeline.cluster_job import connect, start, watch  # noqa: PLC0415

    client = connect(address)
    job_id = start(client, words, working_dir)
    typer.echo(job_id)
    if follow:
        exit_code = watch(client, job_id, sys.stderr.write, stop=stop_on_interrupt)
        raise typer.Exit(code=exit_code)


def check(parent: Any, words: list[str]) -> None:
    """Refuse what would fail only on the cluster, after the upload.

    Args:
        parent: The context of ``hypercon`` itself.
        words: What follows ``submit``.

    Raises:
        UsageError: If there is no such command, or it names a place that the job's processes,
            which run in folders of their own, do not share.
    """
    name, command, rest = parent.command.resolve_command(parent, list(words))
    if command is None or command.name == "submit":
        msg = f"submit must be given another command, like: submit -- run IN OUT, got {name}"
        raise UsageError(msg)
    given = command.make_context(name, list(rest), parent=parent).params
    for parameter, shown in PLACES.items():
        place = given.get(parameter)
        if place is not None and not Path(place).is_absolute():
            msg = f"{shown} must be an absolute path that every node sees, got {place}"
            raise UsageError(msg)
