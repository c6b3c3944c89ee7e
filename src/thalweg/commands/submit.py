"""`thalweg submit`: the pipeline as jobs of a cluster's scheduler, on a disk that all its machines share."""

import os
import shlex
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from thalweg import params
from thalweg.commands.scheduled import PANEL, AtOnce, Cpus, Gpus, Hours, Options, hand_over, new_folder, to_options
from thalweg.params.train import Train
from thalweg.salvage import read_changed_stages
from thalweg.submit import jobs, run
from thalweg.submit import order as orders

submitted = typer.Typer(hidden=True, no_args_is_help=True, help="What the jobs of a submission run.")


def submit(
    to: Annotated[str, typer.Option(help="slurm, aws_batch or run_ai.")] = "slurm",
    only: Annotated[str | None, typer.Option(help="Patterns of members, e.g. '*resnet18*'; the others rest.")] = None,
    gpus: Gpus = None,
    cpus: Cpus = 8,
    memory_gib: Annotated[int, typer.Option(min=1, help="Memory per node.", rich_help_panel=PANEL)] = 32,
    hours: Hours = 24,
    at_once: AtOnce = None,
    options: Options = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the specs and calls, and submit nothing.")] = False,
) -> None:
    """Submits the pipeline: what members stand on, every member as a task of an array, then maps and the report.

    Only members that are not up to date are trained; one that fails costs no other. A task that is ended goes on where
    it was when `thalweg submit` is called again. All machines must see this folder under the same path.
    """
    jobs.load(to)
    root, train = Path.cwd(), params.load(Train)
    usual = 0 if train.accelerator == "cpu" else train.devices
    resources = jobs.Resources(
        nodes=train.num_nodes, processes=train.devices, gpus=usual if gpus is None else gpus,
        cpus=cpus, memory_gib=memory_gib, hours=hours, at_once=at_once, options=to_options(options))  # fmt: skip
    order = orders.build(root, read_changed_stages(root), only)
    folder = new_folder()
    hand_over(
        to, jobs.plan(order, folder), resources, folder, dry_run, partial(_tell, order), partial(orders.write, order)
    )


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


def _tell(order: orders.Order, job: jobs.Job) -> str:
    if job.tasks:
        return ", ".join(order.waves[int(job.name.rpartition("-")[2])])
    return ", ".join(order.before) if job.name == jobs.PREPARE else "what is recorded, maps and the report"
