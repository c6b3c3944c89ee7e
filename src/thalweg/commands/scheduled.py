"""What commands that hand jobs to a scheduler share: options, their words again for the jobs, and the handing over."""

import json
import shlex
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from thalweg.errors import ParamsError
from thalweg.submit import jobs

FOLDER = Path("runs", "submit")
PANEL = "Jobs"

Gpus = Annotated[
    int | None, typer.Option(min=0, help="Per node; default: what train or --device asks for.", rich_help_panel=PANEL)
]
Cpus = Annotated[int, typer.Option(min=1, help="Cores per node.", rich_help_panel=PANEL)]
Hours = Annotated[
    int, typer.Option(min=1, help="Longest time of a task; sent again, it goes on.", rich_help_panel=PANEL)
]
AtOnce = Annotated[
    int | None, typer.Option(min=1, help="Tasks that run side by side; default: all.", rich_help_panel=PANEL)
]
Options = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="The scheduler's own: partition=gpu.", rich_help_panel=PANEL),
]


def to_options(said: Sequence[str] | None) -> dict[str, str]:
    """NAME=VALUE, some times.

    Raises:
        ParamsError: One has no value.
    """
    wrong = [option for option in said or () if "=" not in option]
    if wrong:
        raise ParamsError(f"--set {wrong[0]} names no value; give --set NAME=VALUE, e.g. --set partition=gpu")
    return dict(option.split("=", 1) for option in said or ())


def is_said(context: typer.Context, name: str) -> bool:
    """Whether an option or argument stands on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def words_of(context: typer.Context, without: Collection[str]) -> list[str]:
    """The command's own words again, options first, but for some parameters: as the shell handed them over."""
    options, arguments = list[str](), list[str]()
    for parameter in context.command.params:
        name = str(parameter.name)
        if name in without or not is_said(context, name):
            continue
        value = context.params[name]
        each = [str(one) for one in (value if isinstance(value, list | tuple) else [value])]
        if parameter.param_type_name == "argument":
            arguments += each
        elif value is True:
            options.append(parameter.opts[0])
        else:
            options += [f"{parameter.opts[0]}={one}" for one in each]
    return [*options, "--", *arguments]


def new_folder() -> Path:
    """Where specs, logs and marks of a submission will lie."""
    return FOLDER / f"{datetime.now().astimezone():%Y-%m-%dT%H%M%S.%f}"


def hand_over(to: str, planned: Sequence[jobs.Job], resources: jobs.Resources, folder: Path, dry_run: bool,
              tell: Callable[[jobs.Job], str], keep: Callable[[Path], None] | None = None) -> None:  # fmt: skip
    """Writes specs and submits them, or prints them with the calls.

    Args:
        to: The scheduler.
        planned: Jobs in order.
        resources: Of a task.
        folder: The submission's, to be made.
        dry_run: Prints, and does nothing else.
        tell: What a job does, in words.
        keep: Writes what else the jobs read there.

    Raises:
        StageError: The scheduler lacks an option, cannot do that, or takes a job not.
    """
    jobs.check(to, planned, resources)
    root = Path.cwd()
    specs = {job.name: jobs.render(to, job, resources, root, folder) for job in planned}
    paths = {name: folder / f"{name}{Path(jobs.load(to).TEMPLATE).with_suffix('').suffix}" for name in specs}
    if dry_run:
        _show(to, planned, specs, paths)
        return
    folder.mkdir(parents=True)
    if keep:
        keep(folder)
    for name, spec in specs.items():
        paths[name].write_text(spec, "utf-8")
    sent = jobs.send(to, planned, paths, root)
    (folder / "sent.json").write_text(json.dumps({one.job.name: one.number for one in sent}, indent=1), "utf-8")
    for one in sent:
        typer.echo(f"{one.number:>12}  {one.job.name:<8}  {tell(one.job)}")
    typer.echo(f"specs and logs: {folder}")


def _show(to: str, planned: Sequence[jobs.Job], specs: dict[str, str], paths: dict[str, Path]) -> None:
    scheduler = jobs.load(to)
    for job in planned:
        before = None if job.after is None else f"<{job.after}>"
        typer.echo(f"$ {shlex.join(scheduler.command(paths[job.name], before, job.whatever))}")
        typer.echo(specs[job.name])
