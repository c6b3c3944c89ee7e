"""Workers that a batch system starts as its jobs, by dask-jobqueue: as many as asked for, gone with the stage."""

import shutil
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from thalweg.errors import ExecutorError, ParamsError
from thalweg.executor.cluster import Cluster, extra
from thalweg.params import read_yaml

_CLUSTERS = {"slurm": "SLURMCluster", "pbs": "PBSCluster"}


class ClusterFile(BaseModel):
    """What the file says; it belongs to a site, not to the project, and git ignores it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    system: Literal["slurm", "pbs"]
    jobs: int = Field(ge=1)
    """At most; they start with the stage and end with it."""
    options: dict[str, Any]
    """Of dask_jobqueue's SLURMCluster or PBSCluster: queue, cores, memory, walltime, …"""


class Jobs(Cluster):
    """A scheduler in this process, and workers in jobs."""

    def __init__(self, file: Path, gpu: bool) -> None:
        """Reads the file.

        Raises:
            ExecutorError: It is missing or wrong, or the extra is not installed.
        """
        self._asked = _read(file)
        super().__init__(gpu)
        self._file = file
        self._cluster: Any = None

    def open(self) -> Executor:
        """Starts the scheduler and submits the jobs.

        Raises:
            ExecutorError: The options are none that dask-jobqueue knows, or the batch system takes no job.
        """
        self._cluster = _made(self._asked, self._file)
        try:
            self._cluster.sync(self._submitted)
            return self.handed(extra("distributed").Client(self._cluster, set_as_default=False))
        except (OSError, RuntimeError, ValueError) as error:
            for job in self._cluster.workers.values():
                job.status = extra("distributed").Status.closed if job.job_id is None else job.status
            self.close()
            raise ExecutorError(
                f"{self._file}: {self._asked.system} took no job ({_last(error)}); correct the options, or run the "
                "stage where jobs can be submitted"
            ) from error

    async def _submitted(self) -> None:
        """As the cluster's `scale`, which hands jobs over behind our back: what the batch system says is lost there."""
        wanted = self._cluster.worker_spec
        while len(wanted) < self._asked.jobs:
            wanted.update(self._cluster.new_worker_spec())
        await self._cluster._correct_state()

    def script(self) -> str:
        """What would be handed to the batch system, once per job.

        Raises:
            ExecutorError: The options are none that dask-jobqueue knows, or the batch system's command is not here.
        """
        with _made(self._asked, self._file) as cluster:
            command = cluster.job_cls.submit_command
            if not shutil.which(command):
                raise ExecutorError(
                    f"{self._file}: jobs of {self._asked.system} are submitted by `{command}`, which is not on this "
                    "machine; run where it is"
                )
            return str(cluster.job_script())

    def handed(self, client: Any) -> Executor:
        """Jobs come later than the question which of them have an accelerator: the options say it."""
        if self._gpu and "GPU=" in " ".join(self._asked.options.get("worker_extra_args", ())):
            self._client = client
            executor: Executor = client.get_executor(pure=False, resources={"GPU": 1})
            return executor
        return super().handed(client)

    def close(self) -> None:
        """Ends the jobs, too."""
        super().close()
        if self._cluster is not None:
            self._cluster.close()


def _last(error: BaseException) -> str:
    """Of what a command said, the end, which tells most."""
    return " ".join(str(error).split())[-300:]


def _made(asked: ClusterFile, file: Path) -> Any:
    kind = getattr(extra("dask_jobqueue"), _CLUSTERS[asked.system])
    try:
        return kind(**{"scheduler_options": {"dashboard_address": ":0"}, **asked.options})
    except (TypeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise ExecutorError(f"{file}: {said}; see the options of dask_jobqueue.{kind.__name__}") from error


def _read(file: Path) -> ClusterFile:
    if not file.is_file():
        raise ExecutorError(f"{file}, the cluster that THALWEG_EXECUTOR names, is missing; see docs/cluster.md")
    try:
        return ClusterFile.model_validate(read_yaml(file))
    except ParamsError as error:
        raise ExecutorError(f"{error}; see docs/cluster.md") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ExecutorError(f"{file}: {where}: {first['msg']}; see docs/cluster.md") from error
