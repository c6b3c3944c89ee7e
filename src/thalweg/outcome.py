"""What a run left behind: maps, report, headline, and the mark that says that old maps lie where new ones failed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from thalweg import params
from thalweg.errors import StageError
from thalweg.params.classes import Classes
from thalweg.params.ensembles import Ensemble
from thalweg.params.models import Member
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
    maps = [root / "maps" / name / "classes.tif" for name in ensembles]
    standings = read_standings(root / "metrics", members, root / "metrics" / "ensemble", ensembles)
    said = headline(standings, params.load(Classes, path=file).names)
    return Outcome(tuple(path.resolve() for path in maps if path.is_file()), report, said)


def mark_stale(root: Path, failed: Sequence[str]) -> list[Path]:
    """Says beside the maps of an earlier run that they are not of this one; the maps that lie there."""
    maps = sorted((root / "maps").glob("*/classes.tif"))
    if maps:
        text = f"The last run failed at {', '.join(failed) or 'a stage before the members'}; maps here are older."
        (root / STALE).write_text(f"{text}\nWhat could be finished lies in salvage/.\n", "utf-8")
    return maps


def clear_stale(root: Path) -> None:
    """Takes the mark away after a run that finished."""
    (root / STALE).unlink(missing_ok=True)
