"""Where units of data stages would run, and whether anybody is there."""

from collections.abc import Iterator
from pathlib import Path

from thalweg.doctor.finding import Finding
from thalweg.errors import ExecutorError
from thalweg.executor.choice import SETTING, read_engine
from thalweg.executor.cluster import Scheduler
from thalweg.executor.jobs import Jobs
from thalweg.machine import ENV_FILE, read_settings


def engine(root: Path) -> Iterator[Finding]:
    """The setting; a scheduler is asked for its workers, jobs are written, not submitted."""
    said = read_settings(root / ENV_FILE, SETTING).get(SETTING, "")
    try:
        found = read_engine(file=root / ENV_FILE)
        if isinstance(found, Jobs):
            found.script()
        workers = found.count() if isinstance(found, Scheduler) else None
    except ExecutorError as error:
        yield Finding("fail", str(error))
        return
    if workers is None:
        yield Finding("ok", f"units of data stages run by {said}" if found else "units of data stages run in the stage")
    elif workers:
        yield Finding("ok", f"units of data stages run by {said}, which has {workers} worker(s) now")
    else:
        yield Finding(
            "warn", f"{said} has no worker, so stages would wait; start `dask worker` there (docs/cluster.md)"
        )
