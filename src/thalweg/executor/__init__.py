"""Where the units of a data stage run: here, in processes of this machine, or on the workers of a Dask cluster.

Data stages are written against `concurrent.futures.Executor`; which one they get is said by the environment variable
`THALWEG_EXECUTOR`, or by `.env`, and never by params.yaml: DVC hashes params, and where a number is computed must not
decide whether it is computed again (docs/adr/0013).
"""

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path

from thalweg.executor.choice import read_engine
from thalweg.executor.enduring import Enduring
from thalweg.machine import ENV_FILE

__all__ = ["open_executor"]


@contextmanager
def open_executor(gpu: bool = False, file: Path = ENV_FILE) -> Iterator[Executor | None]:
    """The executor that this machine's settings name; None: units run one by one in this process.

    Args:
        gpu: Whether units gain by an accelerator; they then go to workers that announce one, where there are such.
        file: `.env`.

    Raises:
        ExecutorError: The setting is none that is known, an extra is missing, or nobody answers.
    """
    engine = read_engine(gpu, file)
    if engine is None:
        yield None
        return
    executor = Enduring(engine)
    try:
        yield executor
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
