"""`thalweg submit`: the pipeline as jobs of a cluster's scheduler, on a disk that all its machines share."""

import json
import os
import shlex
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from thalweg import params
from thalweg.errors import ParamsError
from thalweg.params.train import Train
from thalweg.salvage import read_changed_stages
from thalweg.submit import jobs, run
from thalweg.submit import order as orders

FOLDER = Path("runs", "submit")

submitted = typer.Typer(hidden=True, no_args_is_help=True, help="What the jobs of a submission run.")


def submit(
    to: Annotated[str, typer.Option(help="slurm, aws_batch or run_ai.")] = "slurm",
    only: Annotated[str | None, typer.Option(help="Patterns of members, e.g. '*resnet18*'; the others rest.")] = None,
    gpus: Annotated[int | None, typer.Option(min=0, help="Per node; default: train.devices, 0 on the CPU.")] = None,
    cpus: Annotated[int, typer.Option(min=1, help="Cores per node.")] = 8,
    memory_gib: Annotated[int, typer.Option(min=1, help="Memory per node.")] = 32,
    hours: Annotated[int, typer.Option(min=1, help="Longest time of a task; sent again, it goes on.")] = 24,
    at_once: Annotated[int | None, typer.Option(min=1, help="Tasks that run side by side; default: all.")] = None,
    options: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="The scheduler's own: partition=gpu.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the specs and calls, and submit nothing.")] = False,
) -> None:
    """Submits the pipeline: what members stand on, every member as a task of an array, then maps and the report.

    Only members that are not up to date are trained; one that fails costs no other. A task that is ended goes on where
    it was when `thalweg submit` is called again. All machines must see this folder under the same path.
    """
    root, train = Path.cwd(), params.load(Train)
    usual = 0 if train.accelerator == "cpu" else train.devices
    resources = jobs.Resources(
        nodes=train.num_nodes, processes=train.devices, gpus=usual if gpus is None else gpus,
        cpus=cpus, memory_gib=memory_gib, hours=hours, at_once=at_once, options=_pairs(options or ()))  # fmt: skip
    order = orders.build(root, read_changed_stages(root), only)
    jobs.check(to, order, resources)
    folder = FOLDER / f"{datetime.now().astimezone():%Y-%m-%dT%H%M%S}"
    planned = jobs.plan(order, folder)
    specs = {job.name: jobs.render(to, job, resources, root, folder) for job in planned}
    paths = {name: folder / f"{name}{Path(jobs.load(to).TEMPLATE).with_suffix('').suffix}" for name in specs}
    if dry_run:
        _show(to, planned, specs, paths)
        return
    folder.mkdir(parents=True)
    orders.write(order, folder)
    for name, spec in specs.items():
        paths[name].write_text(spec, "utf-8")
    sent = jobs.send(to, planned, paths, root)
    (folder / "sent.json").write_text(json.dumps({one.job.name: one.number for one in sent}, indent=1), "utf-8")
    for one in sent:
        typer.echo(f"{one.number:>12}  {one.job.name:<8}  {_tasks(one.job, order)}")
    typer.echo(f"specs and logs: {folder}")


@submitted.command()
def task(
    folder: Annotated[Path, typer.Argument(help="The submission's folder.")],
    wave: Annotated[int, typer.Argument(help="Number of the wave.")],
    launch: Annotated[str, typer.Option(help="What starts the processes of a training.")] = "",
    wait_for: Annotated[int | None, typer.Option(help="Wave that has to end first.")] = None,
    forgive: Annotated[bool, typer.Option("--forgive", help="End with 0 whatever happens.")] = False,
) -> None:
    """One task of a wave; the scheduler's environment says which."""
    order = orders.read(folder)
    if wait_for is not None:
        run.wait(folder, order.waves[wait_for], None)
    code = run.run_task(Path.cwd(), folder, order.waves[wave][run.index(os.environ)], shlex.split(launch))
    raise typer.Exit(0 if forgive else code)


@submitted.command()
def finish(
    folder: Annotated[Path, typer.Argument(help="The submission's folder.")],
    wait_for: Annotated[int | None, typer.Option(help="Wave that has to end first.")] = None,
    hours: Annotated[float | None, typer.Option(help="Wait no longer.")] = None,
) -> None:
    """Records what finished, then makes maps and the report; exits 1 if a task is left."""
    order, root = orders.read(folder), Path.cwd()
    if wait_for is not None:
        run.wait(folder, order.waves[wait_for], hours)
    left = run.record(root, folder, order)
    for stage in left:
        said = f"{stage} has no receipt that holds: it failed, or what it stands on changed meanwhile; see its log in"
        typer.secho(f"{said} {folder}, and submit again", fg="red", err=True)
    code = run.follow(root, order.only, left)
    raise typer.Exit(1 if left else code)


def _pairs(options: list[str] | tuple[str, ...]) -> dict[str, str]:
    wrong = [option for option in options if "=" not in option]
    if wrong:
        raise ParamsError(f"--set {wrong[0]} names no value; give --set NAME=VALUE, e.g. --set partition=gpu")
    return dict(option.split("=", 1) for option in options)


def _tasks(job: jobs.Job, order: orders.Order) -> str:
    if job.tasks:
        return ", ".join(order.waves[int(job.name.rpartition("-")[2])])
    return ", ".join(order.before) if job.name == jobs.PREPARE else "what is recorded, maps and the report"


def _show(to: str, planned: list[jobs.Job], specs: dict[str, str], paths: dict[str, Path]) -> None:
    scheduler = jobs.load(to)
    for job in planned:
        before = None if job.after is None else f"<{job.after}>"
        typer.echo(f"$ {shlex.join(scheduler.command(paths[job.name], before, job.whatever))}")
        typer.echo(specs[job.name])
