"""What a run left behind: maps, report, headline, and the mark that says that old maps lie where new ones failed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from thalweg import params
from thalweg.errors import StageError
from thalweg.params.classes import Classes
from thalweg.params.crossval import Crossval
from thalweg.params.ensembles import Ensemble
from thalweg.params.models import Member
from thalweg.params.yardsticks import Yardstick
from thalweg.standings import headline, read_standings

STALE = Path("maps", "STALE.txt")
"""Beside the outs, and in .dvcignore, so that DVC does not take it for a change of the maps."""


@dataclass(frozen=True)
class Outcome:
    """Absolute paths of what a reader opens, and one line."""

    maps: tuple[Path, ...]
    report: Path
    headline: str


def read_outcome(root: Path) -> Outcome:
    """The finished run below a root.

    Raises:
        StageError: There is no report.
        ParamsError: params.yaml cannot be read.
    """
    report = (root / "report" / "index.html").resolve()
    if not report.is_file():
        raise StageError(f"{report} is missing, so no run has finished here; run `make train`")
    file = root / params.PARAMS_FILE
    ensembles, members = params.load_items(Ensemble, file), params.load_items(Member, file)
    yardsticks = params.load_items(Yardstick, file)
    maps = [root / "maps" / name / "classes.tif" for name in ensembles]
    standings = read_standings(root / "metrics", members, root / "metrics" / "ensemble", ensembles, root / "ensembles",
                               params.load_items(Crossval, file), yardsticks)  # fmt: skip
    said = headline(standings, params.load(Classes, path=file).names)
    return Outcome(tuple(path.resolve() for path in maps if path.is_file()), report, said)


def mark_stale(root: Path, stale: Sequence[str], unfinished: Sequence[str]) -> None:
    """Says beside the maps which of them are of an earlier run, and takes an old mark away where none is.

    Args:
        root: The project's folder.
        stale: Folders `maps/<name>`.
        unfinished: Stages that the last run did not finish.
    """
    clear_stale(root)
    if stale:
        (root / STALE).write_text(
            f"Of an earlier run: {', '.join(stale)}.\nNot finished by the last: {', '.join(unfinished)}.\n"
            "What could be finished lies in salvage/. The next `make train` that finishes removes this note.\n",
            "utf-8",
        )


def clear_stale(root: Path) -> None:
    """Takes the mark away after a run that finished."""
    (root / STALE).unlink(missing_ok=True)
