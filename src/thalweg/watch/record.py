"""What a run was: `runs/<member>/<time>/` with params, code, packages, machine, command, console and how it ended.

`run.json` is there from the first second, with `status` running; a run that was killed leaves it so.
"""

import importlib.metadata
import os
import platform
import shlex
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel
from ruamel.yaml import YAML
from torch import nn

from thalweg.errors import ThalwegError
from thalweg.manifest import write_json
from thalweg.manifest.provenance import git_commit, git_dirty
from thalweg.manifest.runs import CONSOLE, RUN
from thalweg.watch.console import kept

PARAMS = "params.yaml"
PACKAGES = "packages.txt"
MODEL = "model.txt"
_TERMINATED = "it was ended from outside (SIGTERM); the next run goes on where it was"


class Record:
    """An open record."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts: dict[str, Any] = {}

    def add(self, **facts: Any) -> None:
        """Notes facts in run.json."""
        self.facts |= facts
        write_json(self.facts, self.folder / RUN)

    def add_model(self, network: nn.Module) -> None:
        """Writes `model.txt`: parameters per part, and the whole as torch prints it."""
        (self.folder / MODEL).write_text(summary(network), "utf-8")


@contextmanager
def recorded(runs: Path, member: str, sections: Mapping[str, BaseModel]) -> Iterator[Record]:
    """A record of what happens inside, console included.

    Args:
        runs: Folder of all runs.
        member: Whose run it is.
        sections: Params as they were resolved, by their place in params.yaml.
    """
    began = datetime.now().astimezone()
    folder = runs / member / f"{began:%Y-%m-%dT%H%M%S.%f}"
    folder.mkdir(parents=True)
    _write_params(sections, folder / PARAMS)
    (folder / PACKAGES).write_text("".join(f"{line}\n" for line in packages()), "utf-8")
    record = Record(folder)
    code = {"git_commit": git_commit(), "git_dirty": git_dirty()}
    start = {"started": began.isoformat(timespec="seconds"), "command": shlex.join(sys.orig_argv)}
    record.add(status="running", member=member, **start, **code, **machine())
    with _Ending(record), kept(folder / CONSOLE):
        yield record


@contextmanager
def unrecorded() -> Iterator[Record]:
    """A record that is thrown away: what a process notes that trains along with the first one."""
    with tempfile.TemporaryDirectory(prefix="thalweg.") as folder:
        yield Record(Path(folder))


class _Ending:
    """Notes how it ended, whatever it was."""

    def __init__(self, record: Record) -> None:
        self._record, self._began = record, time.monotonic()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: Any) -> None:
        seconds = round(time.monotonic() - self._began, 1)
        if kind is None:
            self._record.add(status="done", seconds=seconds)
            return
        status = "failed" if issubclass(kind, Exception) else "interrupted"
        said = _TERMINATED if str(error) == "143" else " ".join(str(error).split()) or kind.__name__
        with (self._record.folder / CONSOLE).open("a", encoding="utf-8") as console:
            if status == "failed" and not issubclass(kind, ThalwegError):
                console.writelines(traceback.format_exception(error))
            console.write(f"{status}: {said}\n")
        self._record.add(status=status, error=said, seconds=seconds)


def machine() -> dict[str, Any]:
    """Hardware and system."""
    return {
        "host": platform.node(), "system": platform.platform(), "python": platform.python_version(),
        "processor": _processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "devices": [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())],
    }  # fmt: skip


def packages() -> list[str]:
    """Every installed package with its version, as pip's constraints name them."""
    found = {str(dist.metadata["Name"]): dist.version for dist in importlib.metadata.distributions()}
    return [f"{name}=={version}" for name, version in sorted(found.items(), key=lambda entry: entry[0].lower())]


def summary(network: nn.Module) -> str:
    """Parameters in all, those that learn, and per part of the architecture; then its modules."""
    architecture = getattr(network, "architecture", network)
    counts = [_counted("in all", architecture), *(_counted(name, part) for name, part in architecture.named_children())]
    lines = [f"{name:<24}{every:>14,} parameters, {learning:>14,} of them learn" for name, every, learning in counts]
    return "\n".join([*lines, "", str(architecture), ""])


def _counted(name: str, module: nn.Module) -> tuple[str, int, int]:
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in module.parameters()]
    return name, sum(size for size, _ in sizes), sum(size for size, learns in sizes if learns)


def _write_params(sections: Mapping[str, BaseModel], path: Path) -> None:
    nested: dict[str, Any] = {}
    for dotted, section in sections.items():
        *outer, last = dotted.split(".")
        home = nested
        for name in outer:
            home = home.setdefault(name, {})
        home[last] = section.model_dump(mode="json")
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(nested, file)


def _processor() -> str:
    known = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in known.read_text("utf-8").splitlines()
             if line.startswith("model name")] if known.is_file() else []  # fmt: skip
    return names[0] if names else platform.processor()
