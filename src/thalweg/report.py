"""One self-contained page about a run: what went in, how ground was split, who scored what, and the maps as pictures.

Everything comes from files, as it stands there; scores are not measured again. What is missing is said to be missing.
The same files give the same bytes. What training took is read from runs/, which no stage declares: docs/adr/0010.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import numpy as np

import thalweg
from thalweg import pictures
from thalweg.atlas import MapPage, read_map
from thalweg.blockmap import read_blocks
from thalweg.cautions import find_shifts, fold_lines
from thalweg.datapage import read_data
from thalweg.effort import read_efforts
from thalweg.errors import ParamsError
from thalweg.explorer.held import centres
from thalweg.explorer.page import environment
from thalweg.locator import locate
from thalweg.manifest.chips import Stats, read_stats
from thalweg.manifest.encoder import EncoderFigures, read_figures
from thalweg.manifest.products import INDEX, Product, read_products
from thalweg.manifest.scene import Scene, SceneRecord, read_scenes, scene_files
from thalweg.params.classes import Classes
from thalweg.params.ensembles import Ensemble
from thalweg.params.fetch import Fetch
from thalweg.params.models import Member
from thalweg.params.origin import Origin
from thalweg.params.split import Split
from thalweg.params.yardsticks import Yardstick
from thalweg.pictures import Picture
from thalweg.ruled import read_ruled
from thalweg.standings import leading_key, over_seeds, read_standings, say_key, table
from thalweg.worst import Worst, find_worst

MAX_QUICKLOOKS = 12
QUICKLOOK_PX = 220
PART_COLORS = {"train": "#a3b6c0", "val": "#e69f00", "test": "#0072b2", "unused": "none"}


@dataclass(frozen=True)
class Files:
    """Where everything lies; any of them may be absent."""

    raw: Path
    scenes: Path
    split: Path
    member_metrics: Path
    ensemble_metrics: Path
    cards: Path
    plots: Path
    maps: Path
    history: Path
    runs: Path

    @classmethod
    def below(cls, root: Path, made: Path | None = None) -> "Files":
        """The layout of dvc.yaml; plots, maps and their scores below `made` where that is given."""
        build, made = root / "build", made or root
        return cls(
            raw=build / "raw", scenes=build / "scenes", split=build / "split", member_metrics=root / "metrics",
            ensemble_metrics=made / "metrics" / "ensemble", cards=made / "ensembles", plots=made / "plots",
            maps=made / "maps", history=build / "history", runs=root / "runs",
        )  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What params.yaml asks for, as far as the page tells of it."""

    fetch: Fetch
    classes: Classes
    split: Split
    members: dict[str, Member]
    ensembles: dict[str, Ensemble]
    crossval: tuple[str, ...] = ()
    """Members that are to be cross-validated."""
    yardsticks: dict[str, Yardstick] = field(default_factory=dict)
    encoders: tuple[str, ...] = ()
    """Encoders that are pre-trained."""
    origin: Origin | None = None
    """The recipe that params.yaml is, or is nearest to."""


def build_report(files: Files, plan: Plan, target: Path, failed: Sequence[str] = ()) -> None:
    """Writes the page, whole or not at all.

    Args:
        files: What the pipeline made.
        plan: What it was asked for.
        target: The HTML file; its folder is made.
        failed: Members that did not finish, for a salvaged report.

    Raises:
        ParamsError: A map is made of a member that params.yaml no longer has: DVC leaves its old model lying.
        SceneError: A record that is there does not fit its schema.
        StageError: A metrics file or blocks.geojson that is there cannot be understood.
        RasterError: A map that is there cannot be read.
    """
    _check_members(plan)
    standings = read_standings(
        files.member_metrics, plan.members, files.ensemble_metrics, plan.ensembles, files.cards, plan.crossval,
        plan.yardsticks,
    )  # fmt: skip
    keys = score_keys(plan.classes)
    lead = leading_key(plan.classes.names)
    scenes = _scenes(files.scenes)
    records = {grid: tuple(scene.record for scene in known) for grid, known in scenes.items()}
    everyone = [*plan.members, *plan.yardsticks]
    maps = [found for name, ensemble in plan.ensembles.items()
            if (found := read_map(name, files.maps / name, ensemble, files.scenes, plan.classes))]  # fmt: skip
    page = _template().render(
        title=_title(plan.classes), plan=plan, failed=failed, version=thalweg.__version__, standings=standings,
        lead=lead, best=[row for row in (standings.best(lead, True), standings.best(lead, False)) if row],
        products=_products(files.raw), scenes=records, stats=_stats(files.split),
        blocks=read_blocks(files.split / "blocks.geojson", read_ruled(scenes, files.split, plan.split)),
        part_colors=PART_COLORS, keys=keys,
        tables={part: table(standings.rows, part, keys) for part in ("test", "val")},
        on_map={row.name: {part: table((row, *row.members), part, keys) for part in ("test", "val")}
                for row in standings.rows if row.members},
        folds=fold_lines(standings.crossvals, keys), encoders=_encoders(files.member_metrics, plan),
        shifts=find_shifts(standings),
        curves=pictures.embed(files.plots / "learning_curves.png", "Learning curves of all members"),
        reliability=pictures.embed(files.plots / "reliability.png", "How far a probability can be believed"),
        precision=pictures.embed(files.plots / "precision_recall.png", "Precision over recall of every class"),
        bars=pictures.embed(files.plots / "classes.png", "IoU, precision and recall of every class"),
        confusions=_per_member(files.plots / "confusion", everyone, "Confusion matrix"),
        panels=_per_member(files.plots / "panels", everyone, "Held-out windows"),
        seeds={part: over_seeds(standings.rows, plan.members, part, keys) for part in ("test", "val")},
        efforts=read_efforts(files.runs, files.history, everyone),
        locator=locate([record for known in records.values() for record in known]),
        quicklooks=_quicklooks(scenes),
        data=read_data(files.scenes, files.split, plan.classes.legend) if scenes else (),
        maps=maps, worst=_worst(maps, files, plan),
    )  # fmt: skip
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.part")
    partial.write_text(page, "utf-8")
    partial.replace(target)


def score_keys(classes: Classes) -> tuple[str, ...]:
    """The scores that the tables show, the one that the headline names first."""
    lead = leading_key(classes.names)
    f1 = f"f1_{classes.names[1]}" if classes.count == 2 else "macro_f1"
    ious = [key for key in ("miou", *(f"iou_{name}" for name in classes.names)) if key != lead]
    return (lead, *ious, f1, "accuracy", "ece")


def _check_members(plan: Plan) -> None:
    for name, ensemble in plan.ensembles.items():
        gone = [member for member in ensemble.members if member not in {*plan.members, *plan.yardsticks}]
        if gone:
            raise ParamsError(
                f"ensembles.{name} names {', '.join(gone)}, which 'models' in params.yaml does not have, so its map is "
                f"of an old model; take it out of ensembles.{name}.members, or bring the member back"
            )


def _per_member(folder: Path, members: Iterable[str], what: str) -> dict[str, Picture]:
    found = {member: pictures.embed(folder / f"{member}.png", f"{what} of {member}") for member in members}
    return {member: picture for member, picture in found.items() if picture}


def _encoders(metrics: Path, plan: Plan) -> tuple[EncoderFigures, ...]:
    paths = [metrics / "encoders" / f"{name}.json" for name in plan.encoders]
    return tuple(read_figures(path) for path in paths if path.is_file())


def _products(raw: Path) -> tuple[Product, ...]:
    return read_products(raw) if (raw / INDEX).is_file() else ()


def _scenes(folder: Path) -> dict[str, tuple[Scene, ...]]:
    grids = [path.name for path in sorted(folder.glob("*")) if scene_files(path)]
    return {grid: tuple(read_scenes(folder / grid).values()) for grid in grids}


def _quicklooks(scenes: Mapping[str, Sequence[Scene]]) -> list[tuple[SceneRecord, Picture]]:
    """The first scenes of the first grid, small."""
    found = []
    for scene in next(iter(scenes.values()), ())[:MAX_QUICKLOOKS]:
        small = pictures.shrink(scene.grid, QUICKLOOK_PX)
        rows, cols = (centres(*lengths) for lengths in zip(scene.grid.shape_yx, small.shape_yx, strict=True))
        picture = pictures.draw_image([scene], small, scene.valid[np.ix_(rows, cols)] != 0)
        if picture is not None:
            found.append((scene.record, picture))
    return found


def _worst(maps: Sequence[MapPage], files: Files, plan: Plan) -> dict[str, Worst]:
    """Map → its worst chips, where it lies on held-out ground of its own grid."""
    found: dict[str, Worst] = {}
    for page in maps:
        grid = plan.ensembles[page.name].grid
        if (files.split / grid / "chips.parquet").is_file():
            classes = files.maps / page.name / "classes.tif"
            worst = find_worst(classes, page.scenes, files.split, plan.classes.legend)
            found |= {page.name: worst} if worst else {}
    return found


def _stats(split: Path) -> dict[str, Stats]:
    return {path.parent.name: read_stats(split, path.parent.name) for path in sorted(split.glob("*/stats.json"))}


def _title(classes: Classes) -> str:
    wanted = [name.replace("_", " ") for name in classes.names if name != "background"]
    text = ", ".join(wanted[:6]) + (f" and {len(wanted) - 6} more" if len(wanted) > 6 else "")
    return text[0].upper() + text[1:]


def _template() -> jinja2.Template:
    room = environment()
    room.filters |= {"score": _score, "signed": _signed, "count": _count, "say": say_key, "duration": _duration}
    return room.get_template("report.html.j2")


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}".replace("-", "\u2212")


def _count(value: float) -> str:
    return f"{value:,.0f}".replace(",", "\u2009")


def _duration(seconds: float | None) -> str:
    """Hours, minutes and seconds, as much of it as matters."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
