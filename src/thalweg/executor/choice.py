"""Which engine the settings name."""

import re
from pathlib import Path

from thalweg.errors import ExecutorError
from thalweg.executor.cluster import Scheduler
from thalweg.executor.enduring import Engine
from thalweg.executor.jobs import Jobs
from thalweg.executor.local import Local
from thalweg.machine import ENV_FILE, read_settings

SETTING = "THALWEG_EXECUTOR"
_FORMS = "local, local:<processes>, dask:tcp://<host>:<port>, dask:<scheduler file>.json or jobs:<cluster file>.yaml"


def read_engine(gpu: bool = False, file: Path = ENV_FILE) -> Engine | None:
    """The engine, not yet opened; None where everything runs in this process.

    Raises:
        ExecutorError: The setting is of no known form, or its file is missing or wrong.
    """
    said = read_settings(file, SETTING).get(SETTING, "").strip()
    kind, _, rest = said.partition(":")
    if said in ("", "local"):
        return None
    if kind == "local" and re.fullmatch(r"[1-9]\d{0,3}", rest):
        return Local(int(rest))
    if kind == "dask" and re.fullmatch(r"(?:tcp|tls|ucx|ws|wss)://\S+:\d+|\S+\.json", rest):
        return Scheduler(rest, gpu)
    if kind == "jobs" and re.fullmatch(r".+\.ya?ml", rest):
        return Jobs(Path(rest), gpu)
    raise ExecutorError(f"{SETTING} is '{said}', which names no engine; give one of {_FORMS}")
