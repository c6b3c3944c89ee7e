"""Of the project: git, the params, the products, DVC."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from thalweg import params, recipes
from thalweg.doctor.finding import Finding
from thalweg.errors import StageError, ThalwegError
from thalweg.params.fetch import Fetch
from thalweg.params.recipe import Recipe
from thalweg.salvage import read_changed_stages

_SHOWN = 4


def git(root: Path) -> Iterator[Finding]:
    """Whether results can be traced to a commit, and experiments queued."""
    if shutil.which("git") is None:
        yield Finding("fail", "git is not installed, and DVC needs it; install git")
        return
    asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    if "dubious ownership" in asked.stderr:
        yield Finding("warn", f"git does not trust the owner of {root}; `git config --global --add safe.directory "
                              f"{root}`")  # fmt: skip
    elif asked.returncode:
        yield Finding("warn", f"{root} is no git repository with a commit, so no map can name the code that made it; "
                              "run `git init && git add -A && git commit -m start`")  # fmt: skip
    else:
        words = ["git", "status", "--porcelain", "--untracked-files=no"]
        changed = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False).stdout.splitlines()
        beside = f"; files changed since: {len(changed)}" if changed else ", nothing changed since"
        yield Finding("ok", f"commit {asked.stdout[:10]}{beside}")


def recipe(root: Path) -> Iterator[Finding]:
    """Whether params.yaml holds together, and whose it is."""
    file = root / params.PARAMS_FILE
    try:
        found = Recipe(file)
    except ThalwegError as error:
        yield Finding("fail", str(error))
        return
    same = [name for name, path in recipes.recipe_paths(root).items() if path.read_bytes() == file.read_bytes()]
    whose = f"recipe {same[0]}" if same else "no recipe of recipes/, but your own"
    yield Finding("ok", f"params.yaml is {whose}; members: {len(found.models)}, maps: {len(found.ensembles)}")


def products(root: Path) -> Iterator[Finding]:
    """Whether there is what `fetch` reads."""
    try:
        fetch = params.load(Fetch, path=root / params.PARAMS_FILE)
    except ThalwegError:
        return  # told above
    given = root / fetch.input
    if not given.exists():
        todo = "run `thalweg lock`" if fetch.source in ("copernicus", "stac") else "put the products there"
        yield Finding("fail", f"fetch.input, {fetch.input}, does not exist; {todo}")
    elif given.is_dir() and not any(given.iterdir()):
        yield Finding("fail", f"fetch.input, {fetch.input}, is empty; put the products there")
    else:
        yield Finding("ok", f"source {fetch.source} reads {fetch.input}")


def pipeline(root: Path) -> Iterator[Finding]:
    """What a run would do, and whether one is on its way."""
    lock = FileLock(root / ".cache" / "queue.lock")
    try:
        with lock.acquire(timeout=0):
            pass
    except Timeout:
        yield Finding("warn", "a `make train` is running here; its outs are not looked at")
        return
    try:
        changed = sorted(read_changed_stages(root))
    except StageError as error:
        yield Finding("fail", str(error))
        return
    if not changed:
        yield Finding("ok", "everything is up to date: a run would do nothing")
        return
    shown = ", ".join(changed[:_SHOWN]) + (f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else "")
    yield Finding("ok", f"a run would make {shown}")
