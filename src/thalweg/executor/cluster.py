"""A Dask cluster: a scheduler that somebody started, and the workers that it knows."""

import json
import logging
import signal
import socket
import time
from concurrent.futures import Executor
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import typer

from thalweg.errors import ExecutorError

_ANSWER_S = 10
PATIENCE_S = 900
"""How long a scheduler that is gone may take to come back."""
_UNREAD = "deserialization of the task graph"
"""What Dask's scheduler says of units whose code it does not have."""
GPU = "GPU"
"""Resource that workers with an accelerator announce: `dask worker … --resources GPU=1`."""


def extra(module: str) -> Any:
    """A module of the extra `distributed`, without its handler of Ctrl-C.

    dask_jobqueue 0.9.0 sets one as it is imported (runner.py), by which an interrupted stage would exit 0, and DVC
    take it as done.

    Raises:
        ExecutorError: It is not installed.
    """
    interrupted = signal.getsignal(signal.SIGINT)
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ExecutorError(
            f"THALWEG_EXECUTOR asks for Dask, but the package {error.name} is missing; install the extra: "
            "`pip install -c requirements.lock -e '.[distributed]'`"
        ) from error
    finally:
        if signal.getsignal(signal.SIGINT) is not interrupted:
            signal.signal(signal.SIGINT, interrupted)


class Cluster:
    """Units on workers that a scheduler knows; what both kinds of clusters share."""

    losses: tuple[type[BaseException], ...]

    def __init__(self, gpu: bool) -> None:
        distributed = extra("distributed")
        self._gpu = gpu
        self._client: Any = None
        self._killed: type[BaseException] = distributed.KilledWorker
        self.losses = (distributed.CancelledError, distributed.client.ClosedClientError)
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is said by our own errors

    def alive(self) -> bool:
        """Whether the scheduler is still connected."""
        return self._client is not None and self._client.status == "running"

    def close(self) -> None:
        """Lets go of the scheduler; units that run end on their workers."""
        if self._client is not None:
            self._client.close(timeout=2)

    def words(self, error: BaseException) -> BaseException:
        """A unit that lost worker after worker is given up by Dask; one that the scheduler cannot read never starts."""
        if isinstance(error, self._killed):
            return ExecutorError(
                "a unit lost all the workers that it was given to, one after another, and Dask gave it up; most likely "
                "it takes more memory than --memory-limit, or the workers lack the stage's environment: see their logs"
            )
        if isinstance(error, RuntimeError) and _UNREAD in str(error):
            return ExecutorError(
                "the Dask scheduler could not read a unit; start it in the environment of the stage, as the workers "
                "are, and see its log"
            )
        return error

    def handed(self, client: Any) -> Executor:
        """The client's executor; its units go to workers with an accelerator, if wanted and any announces one."""
        self._client = client
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        if not workers:
            typer.secho("the Dask scheduler has no worker yet; units wait for one", fg="yellow", err=True)
        announced = self._gpu and any(GPU in worker["resources"] for worker in workers)
        executor: Executor = client.get_executor(pure=False, **({"resources": {GPU: 1}} if announced else {}))
        return executor


class Scheduler(Cluster):
    """A scheduler at an address, or in the file that it was told to write."""

    def __init__(self, address: str, gpu: bool) -> None:
        super().__init__(gpu)
        self._address = address
        self._known = False

    def open(self) -> Executor:
        """Connects; to a scheduler that was there once, as soon as it is there again.

        Raises:
            ExecutorError: Nobody answers.
        """
        if self._known:
            typer.secho(f"the Dask scheduler {self._address} is gone; waiting up to {PATIENCE_S // 60} minutes for it "
                        "to come back", fg="yellow", err=True)  # fmt: skip
        until = time.monotonic() + (PATIENCE_S if self._known else 0)
        while True:
            try:
                executor = self.handed(self._connected())
            except (OSError, ValueError) as error:
                if time.monotonic() > until:
                    raise ExecutorError(
                        f"no Dask scheduler answers at {self._address}; start one (`dask scheduler`), or correct "
                        "THALWEG_EXECUTOR"
                    ) from error
                time.sleep(1)
            else:
                self._known = True
                return executor

    def count(self) -> int:
        """Workers that it has now.

        Raises:
            ExecutorError: Nobody answers.
        """
        self.open()
        try:
            return len(self._client.scheduler_info(n_workers=-1)["workers"])
        finally:
            self.close()

    def _connected(self) -> Any:
        address = _read_address(Path(self._address)) if self._address.endswith(".json") else self._address
        place = urlsplit(address)
        socket.create_connection((place.hostname, place.port or 0), _ANSWER_S).close()
        # a client that never connects is not had, hence cannot be closed: it would take 20 s and print its traceback
        return extra("distributed").Client(address, timeout=_ANSWER_S, set_as_default=False)


def _read_address(file: Path) -> str:
    """Where the scheduler is that wrote a file.

    Raises:
        OSError, ValueError: It did not, or not yet to the end.
    """
    said = json.loads(file.read_text("utf-8"))
    if not isinstance(said, dict) or not isinstance(said.get("address"), str):
        raise ValueError(file)
    return str(said["address"])
