"""Shares of one map: predicted here, handed to a scheduler, and what the jobs of such a submission do."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thalweg.commands.bar import bar
from thalweg.commands.scheduled import hand_over, is_said, new_folder, words_of
from thalweg.commands.submit import submitted
from thalweg.errors import ImageError, ParamsError
from thalweg.submit import jobs, run, shares

if TYPE_CHECKING:
    from thalweg.predict.run import Order

_OF_JOBS = ("gpus", "cpus", "node_gib", "hours", "at_once", "options")
_NOT_OURS = ("submit", "dry_run", *_OF_JOBS)
"""Options that the jobs' own calls do not have."""


@dataclass(frozen=True)
class Wanted:
    """What of a map this call makes."""

    splits: int | None
    split: int | None
    merge: bool
    submit: str | None

    @property
    def all_here(self) -> bool:
        """Whether this call predicts the shares that are left, and makes the map of them."""
        return self.splits is not None and self.split is None and not self.merge


def check_wanted(context: typer.Context, wanted: Wanted) -> None:
    """Whether the options of shares and jobs go together.

    Raises:
        ImageError: There is no such share, or two options exclude each other.
        ParamsError: An option is for jobs, and there are none.
        StageError: There is no such scheduler.
    """
    _check_numbers(wanted)
    if wanted.submit is not None:
        jobs.load(wanted.submit)
        return
    for parameter in context.command.params:
        if parameter.name in _OF_JOBS and is_said(context, str(parameter.name)):
            raise ParamsError(
                f"{parameter.opts[0]} is for jobs, but no --submit says which scheduler takes them; add --submit "
                "slurm, aws_batch or run_ai, or leave it out"
            )


def _check_numbers(wanted: Wanted) -> None:
    one = f"--split {wanted.split}" if wanted.split is not None else "--merge" if wanted.merge else ""
    asked, remedy = one or f"--submit {wanted.submit}", "give --splits N and --split 1 to N"
    if wanted.splits is None and (one or wanted.submit):
        remedy = remedy if wanted.split is not None else "give --splits N"
        raise ImageError(f"{asked} is asked for, but no --splits says of how many; {remedy}")
    if (wanted.split or 0) > (wanted.splits or 0):
        raise ImageError(f"{asked} is asked for, but --splits {wanted.splits} says that there are fewer; {remedy}")
    if wanted.split is not None and wanted.merge:
        raise ImageError(f"{one} predicts a share, --merge makes the map of all of them; give one of the two")
    if wanted.submit is not None and one:
        raise ImageError(f"--submit hands over all shares, and the job that makes the map of them; leave {one} out")


def predict_shares(orders: "Mapping[Path, Order]", wanted: Wanted) -> None:
    """Into the folders that maps are made from, which several machines may share."""
    from thalweg.predict.several import predict_share, unfinished  # noqa: PLC0415 - torch takes seconds
    from thalweg.predict.shares import Share  # noqa: PLC0415

    of = wanted.splits or 1
    for out, order in orders.items():
        for _ in range(2):  # once more, where this device is of another kind than that of the others
            left = unfinished(order, work_of(out), of) if wanted.all_here else []
            for number in left if wanted.split is None else [wanted.split]:
                predict_share(order, out, work_of(out), Share(number, of), bar)


def submit_shares(context: typer.Context, orders: "Mapping[Path, Order]", wanted: Wanted,
                  resources: jobs.Resources) -> None:  # fmt: skip
    """Hands over the shares that are not finished, and the job that makes the map of all.

    Raises:
        ImageError: It is an ensemble's.
        StageError: The scheduler lacks an option, cannot do that, or takes a job not.
    """
    from thalweg.predict.run import check  # noqa: PLC0415 - torch takes seconds
    from thalweg.predict.several import check_splittable, unfinished  # noqa: PLC0415

    of, left = wanted.splits or 1, set[int]()
    for out, order in orders.items():
        check_splittable(order)
        check(order, device=False)
        if not out.exists():
            left |= set(unfinished(order, work_of(out), of))
    folder, numbers = new_folder(), sorted(left)
    told = {
        shares.SHARE: f"shares {shares.to_ranges(numbers)} of {of}",
        shares.MERGE: f"the map, {context.params['out']}",
    }
    planned = shares.plan(folder, numbers, words_of(context, _NOT_OURS))
    dry_run = bool(context.params["dry_run"])
    hand_over(str(wanted.submit), planned, resources, folder, dry_run, lambda job: told[job.name])


def work_of(out: Path) -> Path:
    """Folder for what is on the way to a map."""
    return out.absolute().with_name(f".{out.name}.unfinished")


_Folder = Annotated[Path, typer.Argument(help="The submission's folder.")]
_Numbers = Annotated[str, typer.Argument(help="Numbers of its shares: 1-3,7.")]
_Words = Annotated[list[str], typer.Argument(help="Of `thalweg predict`.")]


@submitted.command()
def share(
    folder: _Folder,
    numbers: _Numbers,
    words: _Words,
    forgive: Annotated[bool, typer.Option("--forgive", help="End with 0 whatever happens.")] = False,
) -> None:
    """Predicts one share of a map; the scheduler's environment says which."""
    number = shares.from_ranges(numbers)[run.index(os.environ)]
    code = shares.run_share(folder, number, words)
    if code:
        said = f"share {number} is not finished (exit code {code}); when what is said above is mended, submit again:"
        typer.secho(f"{said} finished shares stay", fg="red", err=True)
    raise typer.Exit(0 if forgive else code)


@submitted.command()
def merge(
    folder: _Folder,
    numbers: _Numbers,
    words: _Words,
    wait_for: Annotated[int | None, typer.Option(help="Given where no scheduler orders jobs.")] = None,
    hours: Annotated[float | None, typer.Option(help="Wait no longer.")] = None,
) -> None:
    """Makes the map of all shares; exits 1 and says which rows are missing if one is."""
    if wait_for is not None:
        run.wait(folder, [shares.name_of(number) for number in shares.from_ranges(numbers)], hours)
    raise typer.Exit(shares.run_predict("--merge", words))
