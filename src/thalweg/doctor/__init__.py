"""What stands in the way of a run, asked before the night: the machine, the project, the account."""

from collections.abc import Callable, Iterator
from pathlib import Path

from thalweg.doctor import account, engine, machine, project
from thalweg.doctor.finding import Finding

Check = Callable[[Path], Iterator[Finding]]
CHECKS: dict[str, Check] = {
    "python": machine.python,
    "memory and disk": machine.room,
    "gpu": machine.accelerators,
    "gdal": machine.drivers,
    "git": project.git,
    "params": project.recipe,
    "products": project.products,
    "dvc": project.pipeline,
    "engine": engine.engine,
    "account": account.credentials,
}
"""By the heading that a person sees, in order."""
