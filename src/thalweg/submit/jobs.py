"""An order as jobs of a scheduler: their specs from templates, and the calls that hand them over.

A scheduler is one file of `schedulers/`; its name is its name on the command line, and its template's.
"""

import importlib
import pkgutil
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import jinja2

from thalweg.errors import StageError
from thalweg.submit import schedulers
from thalweg.submit.order import Order

PREPARE, WAVE, FINISH = "prepare", "wave", "finish"


@dataclass(frozen=True)
class Resources:
    """What a task gets."""

    nodes: int
    """`train.num_nodes`."""
    processes: int
    """`train.devices`, of each node."""
    gpus: int
    """Of each node."""
    cpus: int
    """Of each node."""
    memory_gib: int
    """Of each node."""
    hours: int
    """After which the scheduler ends a task; sent again, it goes on where it was."""
    at_once: int | None
    """Tasks that run side by side; None for as many as the scheduler lets."""
    options: Mapping[str, str]
    """The scheduler's own."""


@dataclass(frozen=True)
class Job:
    """One spec."""

    name: str
    words: tuple[str, ...]
    """Command, run in the project's folder."""
    tasks: int = 0
    """Of an array; 0 for a job that is none."""
    after: str | None = None
    """Job that it waits for."""
    whatever: bool = False
    """Whether it starts however that one ended."""
    wave: int | None = None
    """Number of the wave before it."""
    rest: tuple[str, ...] = ()
    """Words that come behind those of the scheduler."""


class Sent(NamedTuple):
    """A job as the scheduler knows it."""

    job: Job
    path: Path
    """Its spec."""
    command: tuple[str, ...]
    number: str
    """The scheduler's."""


def plan(order: Order, folder: Path) -> list[Job]:
    """What is prepared, the waves, and what follows; each after the one before it.

    A failed task costs no other: the next wave and the last job start however the wave before ended.
    """
    python = (sys.executable, "-m")
    jobs = [Job(PREPARE, (*python, "dvc", "repro", *order.before))] if order.before else []
    for number, wave in enumerate(order.waves):
        words = (*python, "thalweg.cli", "submitted", "task", str(folder), str(number))
        before = number - 1 if number else None
        jobs.append(Job(f"{WAVE}-{number}", words, len(wave), jobs[-1].name if jobs else None, number > 0, before))
    last = (*python, "thalweg.cli", "submitted", "finish", str(folder))
    return [*jobs, Job(FINISH, last, 0, jobs[-1].name, True, len(order.waves) - 1)]


def load(name: str) -> ModuleType:
    """A scheduler's module.

    Raises:
        StageError: There is none of this name.
    """
    known = sorted(module.name for module in pkgutil.iter_modules(schedulers.__path__))
    if name not in known:
        raise StageError(f"there is no scheduler '{name}'; give one of {', '.join(known)}")
    return importlib.import_module(f"thalweg.submit.schedulers.{name}")


def check(name: str, planned: Sequence[Job], resources: Resources) -> None:
    """What this scheduler needs and cannot do.

    Raises:
        StageError: An option is missing, or the jobs are not for it.
    """
    scheduler = load(name)
    missing = [option for option in scheduler.NEEDS if option not in resources.options]
    if missing:
        raise StageError(f"{name} needs {', '.join(missing)}; give {' '.join(f'--set {one}=…' for one in missing)}")
    scheduler.check(planned, resources)


def render(name: str, job: Job, resources: Resources, root: Path, folder: Path) -> str:
    """The spec of a job."""
    loader = jinja2.PackageLoader("thalweg", "templates/submit")
    room = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
                              autoescape=False, keep_trailing_newline=True)  # fmt: skip
    scheduler = load(name)
    return room.get_template(scheduler.TEMPLATE).render(
        job=job, words=[*job.words, *scheduler.words(job, resources), *job.rest], line=shlex.join, resources=resources,
        root=str(root), folder=str(folder), bin=str(Path(sys.executable).parent))  # fmt: skip


def send(name: str, jobs: Sequence[Job], paths: Mapping[str, Path], root: Path) -> list[Sent]:
    """Hands jobs over, in order.

    Raises:
        StageError: The scheduler's command is missing or refuses one; the message says which it took before.
    """
    scheduler = load(name)
    sent: dict[str, Sent] = {}
    for job in jobs:
        before = sent[job.after].number if job.after in sent else None
        command = scheduler.command(paths[job.name], before, job.whatever)
        sent[job.name] = Sent(job, paths[job.name], tuple(command), _call(command, root, sent, scheduler))
    return list(sent.values())


def _call(command: Sequence[str], root: Path, sent: Mapping[str, Sent], scheduler: ModuleType) -> str:
    so_far = ", ".join(f"{one.job.name} as {one.number}" for one in sent.values())
    taken = f"; taken so far: {so_far}, which are to be cancelled" if sent else ""
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise StageError(f"{command[0]} is not on PATH here; submit where the scheduler's commands are") from error
    if done.returncode:
        said = " ".join(done.stderr.split())
        raise StageError(f"`{shlex.join(command)}` failed ({said}){taken}; correct it, and submit again")
    return str(scheduler.read_number(done.stdout))
