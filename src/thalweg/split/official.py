"""Assignments as others published them: rules, text lists and COCO files, with the seeds' own corrections."""

import itertools
import json
import warnings
from pathlib import Path

import numpy as np

from thalweg.errors import DegradedDataWarning, SplitError
from thalweg.manifest.chips import PARTS
from thalweg.manifest.scene import Scene
from thalweg.params.split import Official
from thalweg.split.patches import column, patch_of
from thalweg.split.pieces import tiles
from thalweg.split.rules import apply_rules, read_rules, read_text, stem_of

_SHOWN = 3
_SWAPPED = {"train": "val", "val": "train", "test": "test"}

Parts = dict[str, dict[int | None, str]]
"""Scene → tile number (None: the whole scene) → part."""


def read_official(official: Official, folder: Path, scenes: dict[str, Scene], classes: tuple[str, ...], seed: int,
                  elevated: dict[str, Scene]) -> Parts:  # fmt: skip
    """Which scenes, or tiles of scenes, go to which part; what is not named is unused.

    In this order: the files, duplicates, `keep`, `swap`.

    Args:
        official: What the params ask for.
        folder: `split.input`.
        scenes: By name, in the resolution that tiles are counted in.
        classes: Names, for columns to stratify on.
        seed: Of random shares and of `keep`.
        elevated: The same scenes in the grid that knows their elevation, where one does.

    Raises:
        SplitError: A file is missing or cannot be read, a name has no scene or two parts.
    """
    if not folder.is_dir():
        raise SplitError(
            f"split.input is {folder}, which is no folder; with split.official it holds the lists or rules"
        )
    if official.rules is not None:
        targets = apply_rules(
            read_rules(folder / official.rules), [patch_of(scene) for scene in scenes.values()],
            lambda name: column(name, (elevated if name.startswith("elevation") else scenes).values(), classes), seed,
        )  # fmt: skip
        names = _by_part(targets)
    else:
        names = {part: set(_read_list(folder / file)) for part, file in official.lists.items()}
    names = _kept(_without_duplicates(names, official), official, seed)
    if official.swap:
        names = {_SWAPPED[part]: of for part, of in names.items()}
    return _located(names, scenes, official)


def _by_part(targets: dict[str, str]) -> dict[str, set[str]]:
    strange = sorted({target for target in targets.values() if target not in PARTS})
    if strange:
        count = sum(target in strange for target in targets.values())
        warnings.warn(
            f"split.official.rules name the targets {', '.join(strange)}, which are no parts: their {count} scene(s) "
            "are unused; write train, val or test",
            DegradedDataWarning,
            stacklevel=2,
        )
    return {part: {name for name, target in targets.items() if target == part} for part in ("train", "val", "test")}


def _read_list(path: Path) -> list[str]:
    """Names of a text list or a COCO file."""
    if not path.is_file():
        raise SplitError(f"{path} is missing; correct split.official.lists or split.input")
    text = read_text(path)
    if path.suffix != ".json":
        return [stem_of(line) for line in text.splitlines() if line.strip()]
    try:
        return [stem_of(image["file_name"]) for image in json.loads(text)["images"]]
    except (ValueError, KeyError, TypeError) as error:
        raise SplitError(f"{path} is no COCO file: it should hold 'images' with a 'file_name' each") from error


def _without_duplicates(names: dict[str, set[str]], official: Official) -> dict[str, set[str]]:
    left: dict[str, set[str]] = {part: set(of) for part, of in names.items()}
    for loser in official.drop_duplicates:
        if loser in left:
            left[loser] -= set().union(*(of for other, of in left.items() if other != loser))
    for (part, of), (other, more) in itertools.combinations(sorted(left.items()), 2):
        both = sorted(of & more)
        if both:
            raise SplitError(
                f"{len(both)} name(s), such as {', '.join(both[:_SHOWN])}, are in the official lists of both {part} "
                f"and {other}; correct the lists, or name the part that loses them in split.official.drop_duplicates"
            )
    return left


def _kept(names: dict[str, set[str]], official: Official, seed: int) -> dict[str, set[str]]:
    kept = dict(names)
    for part, share in official.keep.items():
        ordered = np.array(sorted(kept.get(part, ())), object)
        chosen = np.random.default_rng([seed, PARTS[part]]).permutation(len(ordered))
        kept[part] = set(ordered[chosen[: round(share * len(ordered))]].tolist())
    return kept


def _located(names: dict[str, set[str]], scenes: dict[str, Scene], official: Official) -> Parts:
    parts: Parts = {}
    absent: list[str] = []
    for part, of in names.items():
        for name in sorted(of):
            place = _place(name, scenes, official.tile_px)
            if place is None:
                absent.append(name)
            else:
                parts.setdefault(place[0], {})[place[1]] = part
    if absent:
        _complain(absent, sum(map(len, names.values())), sorted(scenes), official)
    return parts


def _place(name: str, scenes: dict[str, Scene], tile_px: int | None) -> tuple[str, int | None] | None:
    """Scene and tile of a name, or None.

    Tiles are numbered as LandCover.ai's do: row by row, counting the incomplete ones at the edges, which are no tiles.
    Source: `split.py` of the data set, https://landcover.ai.linuxpolska.com.
    """
    if tile_px is None:
        return (name, None) if name in scenes else None
    scene, _, number = name.rpartition("_")
    if scene not in scenes or not number.isdecimal():
        return None
    pieces = tiles(0, scenes[scene].grid.shape_yx, tile_px)
    inside = int(number) < pieces.shape[0] * pieces.shape[1]
    if not inside or pieces.window(int(number))[2:] != (tile_px, tile_px):
        return None
    return scene, int(number)


def _complain(absent: list[str], count: int, scenes: list[str], official: Official) -> None:
    what = "complete tile" if official.tile_px else "scene"
    message = (
        f"{len(absent)} of {count} names in the official split have no {what}, such as {', '.join(absent[:_SHOWN])} "
        f"(scenes are called {', '.join(scenes[:_SHOWN])}); deliver them, correct the names, or set "
        "split.official.missing to report"
    )
    if official.missing == "error":
        raise SplitError(message)
    warnings.warn(message, DegradedDataWarning, stacklevel=2)
