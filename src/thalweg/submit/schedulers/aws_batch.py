"""AWS Batch: an array job per wave, by `aws batch submit-job`.

The job definition mounts the shared disk (EFS, FSx) where the project lies here. Batch starts what depends on a job
only if all of it succeeded, so that a task that failed ends with 0 there; its receipt is what counts. An array has 2 to
10 000 tasks, and none of several nodes.
Source: https://docs.aws.amazon.com/batch/latest/APIReference/API_SubmitJob.html, …/userguide/array_jobs.html.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from thalweg.errors import StageError
from thalweg.submit.jobs import Job, Resources

NEEDS = ("queue", "definition")
TEMPLATE = "aws_batch.json.j2"
MOST = 10_000


def check(planned: Sequence[Job], resources: Resources) -> None:
    """Refuses what Batch does not do.

    Raises:
        StageError: Tasks want several nodes, or there are too many.
    """
    if resources.nodes > 1:
        raise StageError("AWS Batch has no arrays of tasks on several nodes; set train.num_nodes to 1")
    if max(job.tasks for job in planned) > MOST:
        raise StageError(f"AWS Batch takes {MOST} tasks in an array; choose some by --only, or give fewer --splits")


def words(job: Job, resources: Resources) -> list[str]:  # noqa: ARG001 - what other schedulers need
    """More of a job's command."""
    return ["--forgive"] if job.tasks else []


def command(path: Path, before: str | None, whatever: bool) -> list[str]:  # noqa: ARG001 - see the module
    """The call that hands a spec over."""
    called = ["aws", "batch", "submit-job", "--cli-input-json", f"file://{path}", "--output", "json"]
    return called if before is None else [*called, "--depends-on", f"jobId={before}"]


def read_number(said: str) -> str:
    """The job's id."""
    return str(json.loads(said)["jobId"])
