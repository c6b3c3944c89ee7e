"""After a failed run: the maps that the finished members can still make, into `salvage/`, which is no stage's out.

`dvc repro --keep-going` skips everything below a failed member and leaves old maps lying. What DVC lists as changed
afterwards did not finish, nor did what lies below it, though DVC lists only what its own files show: where `fetch`
fails, the scenes of an earlier run lie unchanged. The rest is up to date.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thalweg import params
from thalweg.errors import StageError, ThalwegError
from thalweg.manifest.card import CARD
from thalweg.params.classes import Classes
from thalweg.params.ensembles import Ensemble
from thalweg.summary import BEFORE

FOLDER = "salvage"


@dataclass(frozen=True)
class SalvageResult:
    """What could be saved, and what could not."""

    maps: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Ensemble → members that its map in salvage/ is made of."""
    finished: tuple[str, ...] = ()
    """Members whose training is up to date."""
    yardsticks: tuple[str, ...] = ()
    """Yardsticks that are up to date."""
    failed: tuple[str, ...] = ()
    """Members whose training is not."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Ensemble → why it has no map in salvage/."""
    stale: tuple[str, ...] = ()
    """Folders `maps/<name>` that hold the map of an earlier run."""
    unfinished: tuple[str, ...] = ()
    """Stages that did not finish."""


def build(root: Path, only: Collection[str] | None = None, unfinished: Collection[str] | None = None) -> SalvageResult:
    """Builds every ensemble of a project from its finished members.

    Args:
        root: The project's folder.
        only: Stages whose members are of interest, as if there were no others; None for all.
        unfinished: What `read_changed_stages` has just said; None asks it.

    Raises:
        StageError: DVC cannot say which stages are up to date.
        ParamsError: params.yaml cannot be read.
    """
    file = root / params.PARAMS_FILE
    classes = params.load(Classes, path=file)
    recipe = params.read_yaml(file)
    changed = read_changed_stages(root) if unfinished is None else set(unfinished)
    shutil.rmtree(root / FOLDER, ignore_errors=True)  # what an earlier failure left tells nothing of this one
    members = params.pick(recipe, "models", None, file)
    yardsticks = params.pick(recipe, "yardsticks", None, file)
    ensembles = {name: params.load(Ensemble, name, file) for name in params.pick(recipe, "ensembles", None, file)}
    if any(name.partition("@")[0] in BEFORE for name in changed):
        changed |= {f"train@{member}" for member in members} | {f"ensemble@{name}" for name in ensembles}
        changed |= {f"yardstick@{name}" for name in yardsticks}
    wanted = {f"train@{name}" for name in members} | {f"yardstick@{name}" for name in yardsticks}
    wanted &= wanted if only is None else set(only)
    trained = {name: _is_trained(root, f"train@{name}", changed) for name in members if f"train@{name}" in wanted}
    grown = tuple(
        name for name in yardsticks if f"yardstick@{name}" in wanted and _is_trained(root, f"yardstick@{name}", changed)
    )
    result = SalvageResult(
        finished=tuple(member for member, done in trained.items() if done),
        yardsticks=grown,
        failed=tuple(member for member, done in trained.items() if not done),
        stale=tuple(
            f"maps/{name}" for name in ensembles if f"ensemble@{name}" in changed and (root / "maps" / name).exists()
        ),
        unfinished=tuple(sorted(changed)),
    )
    for name, ensemble in ensembles.items():
        current = f"ensemble@{name}" not in changed and set(ensemble.members) <= {*result.finished, *grown}
        _build_one(root, name, ensemble, classes, current, result)
    return result


def read_changed_stages(root: Path) -> set[str]:
    """Names of the stages that DVC would run again.

    Raises:
        StageError: `dvc status` fails.
    """
    command = [sys.executable, "-m", "dvc", "status", "--json"]
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    try:
        status: dict[str, Any] = json.loads(answer.stdout)
    except ValueError as error:
        reason = " ".join(answer.stderr.split())
        raise StageError(f"`dvc status` in {root} fails ({reason}); mend that, then run `thalweg salvage`") from error
    return set(status)


def _is_trained(root: Path, stage: str, changed: set[str]) -> bool:
    return stage not in changed and (root / "models" / stage.partition("@")[2] / CARD).is_file()


def _build_one(
    root: Path, name: str, ensemble: Ensemble, classes: Classes, current: bool, result: SalvageResult
) -> None:
    members = tuple(member for member in ensemble.members if member in {*result.finished, *result.yardsticks})
    outs = [Path("maps", name), Path("ensembles", name), Path("metrics", "ensemble", f"{name}.json")]
    saved = [root / FOLDER / out for out in outs]
    for path in saved:
        path.parent.mkdir(parents=True, exist_ok=True)
    if current:
        shutil.copytree(root / outs[0], saved[0])
        shutil.copytree(root / outs[1], saved[1])
        shutil.copy2(root / outs[2], saved[2])
    elif not members:
        result.skipped[name] = "none of its members finished"
        return
    else:
        from thalweg.ensemble import build_map  # noqa: PLC0415 - torch takes seconds, and most callers map nothing

        try:
            build_map(name, ensemble, classes, models=root / "models", scenes_root=root / "build" / "scenes",
                      split=root / "build" / "split", map_dir=saved[0], card_dir=saved[1], metrics_path=saved[2],
                      members=members)  # fmt: skip
        except ThalwegError as error:  # one ensemble never costs another its map
            shutil.rmtree(saved[0], ignore_errors=True)
            result.skipped[name] = str(error)
            return
    result.maps[name] = members
