"""Run:AI: a Kubernetes Job per wave, by kubectl, in the project's namespace and for Run:AI's scheduler.

Kubernetes knows no order among jobs: each waits for the marks that the tasks before it leave on the shared disk, a
claim that is mounted where the project's folder lies. What has to be prepared is prepared before, since waiting tasks
hold their GPUs. In a pod's command $$ stands for $, since $(NAME) is a variable's value there.
Source: https://docs.nvidia.com/run-ai (setting the default scheduler: `schedulerName: runai-scheduler`);
https://kubernetes.io/docs/concepts/workloads/controllers/job/ (Indexed, backoffLimitPerIndex, podFailurePolicy),
…/reference/kubernetes-api/workload-resources/pod-v1/ (Container.command).
"""

from collections.abc import Sequence
from pathlib import Path

from thalweg.errors import StageError
from thalweg.submit.jobs import PREPARE, Job, Resources

NEEDS = ("project", "image", "claim")
TEMPLATE = "run_ai.yaml.j2"


def check(planned: Sequence[Job], resources: Resources) -> None:
    """Refuses what it does not do.

    Raises:
        StageError: Scenes or split are not up to date, or tasks want several nodes.
    """
    if any(job.name == PREPARE for job in planned):
        raise StageError(
            "Run:AI has no order among jobs, and tasks that wait for scenes would hold their GPUs; run `dvc repro "
            "split` first, and submit again"
        )
    if resources.nodes > 1:
        raise StageError("Run:AI's tasks have one node here; set train.num_nodes to 1, and train.devices to its GPUs")


def words(job: Job, resources: Resources) -> list[str]:
    """More of a job's command: what it waits for, and how long at most."""
    if job.wave is None:
        return []
    return ["--wait-for", str(job.wave), *([] if job.tasks else ["--hours", str(2 * resources.hours)])]


def command(path: Path, before: str | None, whatever: bool) -> list[str]:  # noqa: ARG001 - see the module
    """The call that hands a spec over."""
    return ["kubectl", "create", "--filename", str(path), "--output", "name"]


def read_number(said: str) -> str:
    """The job's name."""
    return said.strip()
