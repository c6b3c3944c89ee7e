"""A round's folder: masks of what maps are sure of, clear of held-out and drawn ground, and the split as it was."""

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thalweg import raster
from thalweg.classes import IGNORE
from thalweg.errors import RoundError
from thalweg.grid import Window
from thalweg.guard import BLOCKS, Drawn, Guard, iter_parts, scenes_of
from thalweg.manifest.provenance import git_commit
from thalweg.manifest.rounds import SCHEMA, RoundFolder, RoundRecord, write_round
from thalweg.mapfiles import MapFiles, read_map
from thalweg.params.classes import Classes
from thalweg.params.split import Split
from thalweg.pseudo.sure import Rules, check_rules, least_probabilities, read_sure
from thalweg.split.earlier import check_labels, ground_rules, nearest_label
from thalweg.split.leak import Leak

_FROM_MAP = "MAP_"


@dataclass(frozen=True)
class Project:
    """What the maps' own project knows."""

    classes: Classes
    split: Split
    scenes_root: Path
    """`build/scenes`."""
    split_folder: Path
    """`build/split`."""
    earlier: RoundFolder | None
    """The round under which the maps were made; None for the first."""


def write_pseudo_labels(maps: Mapping[str, Path], rules: Rules, project: Project, out: Path) -> RoundRecord:
    """Writes a folder for `round.input` of the next round.

    Validation and test ground and all within `split.buffer_m` of it is left out, and so is ground with a drawn label;
    what was written is then measured against the part rasters by code that knows nothing of how it was left out.

    Args:
        maps: Mask name → a map's folder or its classes.tif.
        rules: Which pixels are sure.
        project: Where drawn masks and the split lie.
        out: New folder.

    Raises:
        RoundError: It exists, a map has other classes than params.yaml, or nothing is sure.
        LeakError: A label came within the buffer of validation or test ground.
    """
    if out.exists():
        raise RoundError(f"{out} is there already; remove it, or give another --out")
    check_rules(rules, project.classes.names)
    scenes = scenes_of(project.scenes_root, project.split_folder)
    guard = Guard(scenes, project.split_folder, project.split.buffer_m)
    drawn = Drawn(scenes, project.earlier)
    partial = out.with_name(f".{out.name}.part{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        sources = {name: _checked(read_map(path), project.classes) for name, path in maps.items()}
        class_px = np.zeros(project.classes.count, np.int64)
        for name, files in sources.items():
            class_px += _write_mask(_Source(files, rules, guard, drawn), project, partial / f"{name}.tif")
        if not class_px.any():
            raise RoundError(
                f"no pixel of {', '.join(map(str, maps.values()))} is labelled: none is sure by {rules.said()} outside "
                "drawn, validation and test ground; lower --confidence, or map more ground"
            )
        shutil.copyfile(project.split_folder / BLOCKS, partial / BLOCKS)
        leak = nearest_label(sorted(partial.glob("*.tif")), iter_parts(scenes, project.split_folder),
                             2 * max(project.split.buffer_m, project.split.block_m))  # fmt: skip
        check_labels(leak, project.split.buffer_m)
        record = _record(sources, rules, project, class_px, leak)
        write_round(record, partial)
        partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return record


@dataclass(frozen=True)
class _Source:
    """A map with what bounds its labels."""

    files: MapFiles
    rules: Rules
    guard: Guard
    drawn: Drawn

    def parts(self) -> Iterator[tuple[Window, np.ndarray, np.ndarray, np.ndarray]]:
        """Stripes: the map's class ids where labels may be, the sure ones among them, and their probabilities."""
        for window in self.files.iter_stripes():
            barred = self.guard.near(self.files.grid, window) | self.drawn.on(self.files.grid, window)
            sure, given = read_sure(self.files, self.rules, window)
            eligible = self.files.read_labels(window)
            sure[barred], eligible[barred] = IGNORE, IGNORE
            yield window, eligible, sure, given


def _checked(files: MapFiles, classes: Classes) -> MapFiles:
    if files.names != classes.names:
        raise RoundError(
            f"{files.classes} has the classes {', '.join(files.names)}, but params.yaml has "
            f"{', '.join(classes.names)}; give a map of this recipe"
        )
    return files


def _write_mask(source: _Source, project: Project, path: Path) -> np.ndarray:
    """Labelled pixels of each class (K,)."""
    files, names = source.files, project.classes.names
    least = np.zeros(len(names))
    if source.rules.most:
        least = least_probabilities((part[1:] for part in source.parts()), source.rules, names)
    class_px = np.zeros(len(names), np.int64)
    with raster.create_tiled(path, files.grid, 1, "uint8", IGNORE, sparse=True) as dataset:
        dataset.write_colormap(1, {value: (*info.rgb, 255) for value, info in enumerate(project.classes.legend)})
        dataset.descriptions = ("pseudo-labels",)
        dataset.update_tags(**_tags(files, source.rules, project))
        for window, _, sure, given in source.parts():
            too_low = given < least[np.minimum(sure, len(names) - 1)] - 1e-6
            sure[too_low] = IGNORE
            class_px += np.bincount(sure.ravel(), minlength=256)[: len(names)]
            dataset.write(sure[None], window=raster.to_rio(window))
    return class_px


def _tags(files: MapFiles, rules: Rules, project: Project) -> dict[str, str]:
    with raster.opened(files.classes) as dataset:
        of_map = {f"{_FROM_MAP}{key}": text for key, text in dataset.tags().items() if not key.startswith("CLASS_")}
    return {
        **of_map,
        "ROUND": str(_number(project)),
        "GIT_COMMIT": git_commit() or "unknown",
        "MAP": str(files.classes),
        "MAP_SHA256": _sha256(files.classes),
        **{f"RULE_{key.upper()}": text for key, text in rules.said().items()},
        **{f"CLASS_{value}": name for value, name in enumerate(files.names)},
    }


def _record(sources: Mapping[str, MapFiles], rules: Rules, project: Project, class_px: np.ndarray,
            leak: Leak | None) -> RoundRecord:  # fmt: skip
    maps = {}
    for name, files in sources.items():
        with raster.opened(files.classes) as dataset:
            tags = {key: text for key, text in dataset.tags().items() if not key.startswith("CLASS_")}
        maps[f"{name}.tif"] = {"path": str(files.classes), "sha256": _sha256(files.classes), **tags}
    names = project.classes.names
    return RoundRecord(
        schema_version=SCHEMA, number=_number(project), git_commit=git_commit(), classes=names,
        split=ground_rules(project.split), buffer_m=project.split.buffer_m, rules=rules.said(), maps=maps,
        class_px=dict(zip(names, class_px.tolist(), strict=True)), nearest_m=leak.distance_m if leak else None,
    )  # fmt: skip


def _number(project: Project) -> int:
    return 2 if project.earlier is None else project.earlier.record.number + 1


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
