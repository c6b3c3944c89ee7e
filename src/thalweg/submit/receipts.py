"""What a task leaves: a receipt of the params, code and data that it ran on, and a mark that it has ended.

dvc.lock takes down params and files as they are when it is written, which may be hours after a member was trained. Only
a member whose receipt still fits is recorded; another is trained again by the next run.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from thalweg import params
from thalweg.errors import StageError

RECEIPTS, ENDED = "receipts", "ended"


def fingerprint(root: Path, stage: str) -> tuple[str, list[str]]:
    """A hash of what a stage stands on, and its command.

    Params and code count by what they say, outs of other stages by what dvc.lock says of them, where it does.

    Raises:
        StageError: dvc.yaml has no such stage, or a file that it stands on is missing.
    """
    from dvc.dependency.param import ParamsDependency  # noqa: PLC0415 - takes a second
    from dvc.repo import Repo  # noqa: PLC0415

    with Repo(str(root)) as repo:
        found = next((one for one in repo.index.stages if getattr(one, "name", None) == stage), None)
        if found is None:
            raise StageError(f"{root / 'dvc.yaml'} has no stage {stage} under these params; run `thalweg submit` again")
        parts = [found.cmd]
        for dep in found.deps:
            if isinstance(dep, ParamsDependency):
                parts += [_section(root / params.PARAMS_FILE, name) for name in sorted(dep.params)]
            else:
                parts.append(f"{dep.def_path} {_file(root, dep.def_path)}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest(), str(found.cmd).split()


def write_receipt(folder: Path, stage: str, said: str) -> None:
    """Says that a stage ran to its end on this."""
    _write(folder / RECEIPTS / stage, said)


def read_receipt(folder: Path, stage: str) -> str | None:
    """What a stage ran on, or None if it did not come to its end."""
    path = folder / RECEIPTS / stage
    return path.read_text("utf-8") if path.is_file() else None


def mark_ended(folder: Path, stage: str, code: int) -> None:
    """Says that a task will not be heard of any more."""
    _write(folder / ENDED / stage, str(code))


def ended(folder: Path, stage: str) -> bool:
    """Whether a task has ended, however it did."""
    return (folder / ENDED / stage).is_file()


def forget(folder: Path, stage: str) -> None:
    """Takes both away, for a task that starts again."""
    for kind in (RECEIPTS, ENDED):
        (folder / kind / stage).unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(text, "utf-8")
    partial.replace(path)


def _section(file: Path, dotted: str) -> str:
    said: Any = params.read_yaml(file)
    for key in dotted.split("."):
        said = said[key]
    return json.dumps(said, sort_keys=True, default=str)


def _file(root: Path, name: str) -> str:
    locked = [f"{out} {md5}" for out, md5 in _locked(root).items() if _overlap(name, out)]
    if locked:
        return " ".join(sorted(locked))
    path = root / name
    if not path.exists():
        raise StageError(f"{path} is missing, which the stage reads; run `dvc repro split`, and submit again")
    files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if _counts(one))
    digest = hashlib.sha256()
    for one in files:
        digest.update(f"{one.relative_to(root)}\n".encode() + hashlib.sha256(one.read_bytes()).digest())
    return digest.hexdigest()


def _overlap(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def _counts(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


def _locked(root: Path) -> dict[str, str]:
    """Outs below build/ as dvc.lock knows them: large, and never another task's."""
    path = root / "dvc.lock"
    stages = (params.read_yaml(path) if path.is_file() else {}).get("stages", {})
    outs = [out for stage in stages.values() for out in stage.get("outs", ())]
    return {out["path"]: out["md5"] for out in outs if out["path"].startswith("build/") and "md5" in out}
