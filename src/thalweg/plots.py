"""Figures and tables of what members learned and how they err, drawn from files alone.

`target/` gets long tables for `dvc plots show` (`history.csv`, `confusion.csv`, `precision_recall.csv`,
`reliability.csv`, `classes.csv`), `scores.json` for `dvc metrics diff`, pictures of the same for the report, and per
member `confusion/<member>.png` and `panels/<member>.png`. The same input gives the same bytes: matplotlib's own
settings and font, no backend, no software or date in the files.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from thalweg import by_class, curves, figures
from thalweg.errors import StageError
from thalweg.figures import Chosen
from thalweg.manifest import write_json
from thalweg.manifest.heldout import Heldout, read_heldout
from thalweg.params.classes import Classes

DPI = 150
PANEL_ROWS = 4


def build_plots(history: Path, heldout: Path, members: Sequence[str], classes: Classes, target: Path,
                yardsticks: Sequence[str] = ()) -> None:  # fmt: skip
    """Draws all members into `target`, which is made.

    Args:
        history: Folder of `<member>.csv`, one row per epoch.
        heldout: Folder of `<member>/scores.json` and, where there are any, `panels.npz`.
        members: In the order of params.yaml, which decides their colours.
        classes: Names and colours.
        target: New folder.
        yardsticks: Further members, which have no history.

    Raises:
        StageError: A member's history is missing or has no epochs, or there is no member.
        SceneError: A member's held-out scores are missing or broken.
    """
    if not members:
        raise StageError(
            "params.yaml names no member under 'models', so nothing can be plotted; `make use RECIPE=<name>`"
        )
    learned = read_histories(history, members)
    everyone = [*members, *yardsticks]
    chosen = {member: choose_part(read_heldout(heldout / member)) for member in everyone}
    for folder in (target, target / "confusion", target / "panels"):
        folder.mkdir(parents=True, exist_ok=True)
    tables = {
        "history": learned, "confusion": to_confusion_table(chosen, classes.names),
        "precision_recall": curves.to_precision_recall(chosen, classes.names),
        "reliability": curves.to_reliability(chosen), "classes": curves.to_class_scores(chosen, classes.names),
    }  # fmt: skip
    for name, table in tables.items():
        table.to_csv(target / f"{name}.csv", index=False, lineterminator="\n")
    write_json(curves.to_headline(chosen, classes.names), target / "scores.json")
    with figures.plain_style():
        _save(figures.draw_learning_curves(learned, members), target / "learning_curves.png")
        _save(figures.draw_reliability(chosen), target / "reliability.png")
        _save(by_class.draw_precision_recall(chosen, classes.names), target / "precision_recall.png")
        _save(by_class.draw_class_scores(tables["classes"], everyone, classes.names), target / "classes.png")
        for member in everyone:
            _save(figures.draw_confusion(member, chosen[member], classes.names), target / "confusion" / f"{member}.png")
            panels = heldout / member / "panels.npz"
            if panels.is_file():
                _save(figures.draw_panels(_read_panels(panels), classes.legend), target / "panels" / f"{member}.png")


def read_histories(history: Path, members: Sequence[str]) -> pd.DataFrame:
    """Learning curves of all members as one long table: `member`, `epoch`, and what the members logged.

    Raises:
        StageError: A member's file is missing, or has no column `epoch` or no row.
    """
    return pd.concat([_read_history(history / f"{member}.csv", member) for member in members], ignore_index=True)


def _read_history(path: Path, member: str) -> pd.DataFrame:
    remedy = f"run `dvc repro train@{member}`"
    if not path.is_file():
        raise StageError(f"{path} is missing, so member '{member}' cannot be plotted; {remedy}")
    frame = pd.read_csv(path)
    if "epoch" not in frame or frame.empty:
        raise StageError(f"{path} has no epochs, only columns {', '.join(map(str, frame))}; remove it and {remedy}")
    frame.insert(0, "member", member)
    return frame


def choose_part(heldout: Heldout) -> Chosen:
    """The test part where it has pixels, else the validation part.

    Raises:
        StageError: Neither part has a labelled pixel.
    """
    for part in ("test", "val"):
        scores = heldout.parts.get(part)
        if scores is not None and np.sum(scores.confusion):
            return Chosen(part, scores, heldout.ranked[part])
    raise StageError(f"member '{heldout.member}' has no labelled pixel in test or val; give them some in 'split'")


def to_confusion_table(chosen: Mapping[str, Chosen], names: Sequence[str]) -> pd.DataFrame:
    """Long table `member`, `part`, `actual`, `predicted`, `pixels`, `share` (of the actual class, 0…1)."""
    rows = []
    for member, (part, scores, _) in chosen.items():
        matrix = np.array(scores.confusion)
        shares = figures.row_shares(matrix)
        rows += [
            (member, part, actual, predicted, int(matrix[i, j]), round(float(shares[i, j]), 6))
            for i, actual in enumerate(names)
            for j, predicted in enumerate(names)
        ]
    return pd.DataFrame(rows, columns=["member", "part", "actual", "predicted", "pixels", "share"])


def _read_panels(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as panels:
        return {key: panels[key][:PANEL_ROWS] for key in figures.PANELS}


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
