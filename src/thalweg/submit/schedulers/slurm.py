"""SLURM: one array of tasks per wave, by sbatch. Options (`--set partition=gpu`) are sbatch's own, by their long names.

Source: https://slurm.schedmd.com/sbatch.html (array, dependency, requeue, kill-on-invalid-dep).
"""

from collections.abc import Sequence
from pathlib import Path

from thalweg.submit.jobs import Job, Resources

NEEDS: tuple[str, ...] = ()
TEMPLATE = "slurm.sh.j2"


def check(planned: Sequence[Job], resources: Resources) -> None:
    """It can do all."""


def words(job: Job, resources: Resources) -> list[str]:
    """More of a job's command: of several nodes, srun starts the processes; of one, the first process does."""
    if resources.nodes > 1 and job.tasks:
        return ["--launch", "srun --kill-on-bad-exit=1"]
    return []


def command(path: Path, before: str | None, whatever: bool) -> list[str]:
    """The call that hands a spec over."""
    called = ["sbatch", "--parsable"]
    if before is not None:
        called += [f"--dependency={'afterany' if whatever else 'afterok'}:{before}", "--kill-on-invalid-dep=yes"]
    return [*called, str(path)]


def read_number(said: str) -> str:
    """The job's number: what --parsable prints, less the cluster's name."""
    return said.strip().partition(";")[0]
