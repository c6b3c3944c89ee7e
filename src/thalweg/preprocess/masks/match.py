"""Which masks belong to which scene: by the ground that they share, or by name."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

import shapely

from thalweg.errors import MaskError
from thalweg.grid import Grid
from thalweg.params.masks import Masks, Vector
from thalweg.preprocess.masks.files import MaskFile
from thalweg.preprocess.masks.meaning import Meaning
from thalweg.preprocess.masks.place import lonlat_bounds, may_meet

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True)
class SceneMasks:
    """All that decides the labels of one scene."""

    masks: Masks
    meaning: Meaning
    files: tuple[MaskFile, ...]
    """Those that share ground with it, or carry its name."""
    areas: tuple[MaskFile, ...] | None
    """Those of `masks.area` that share ground with it; None where the params name none, so that all ground counts."""
    earlier: tuple[MaskFile, ...]
    """Those of an earlier round that share ground with it."""
    warnings: tuple[str, ...]
    """Of the masks as a whole, told with the scene that is nearest to what they are about."""

    @property
    def vector(self) -> Vector:
        """How features become pixels; files.py has seen to it that it is said where there are any."""
        return self.masks.vector or Vector(layer=None, attribute=None, buffer_m=0.0, all_touched=False)


def mask_identity(masks: SceneMasks) -> list[object]:
    """What decides a scene's labels beside the params, for its key in the store."""
    areas = None if masks.areas is None else [area.identity for area in masks.areas]
    identity: list[object] = [[file.identity for file in masks.files], areas, masks.meaning.encoder, masks.warnings]
    return [*identity, [file.identity for file in masks.earlier]] if masks.earlier else identity


def matched(masks: Masks, meaning: Meaning, files: tuple[MaskFile, ...], areas: tuple[MaskFile, ...] | None,
            scenes: Mapping[str, Grid], earlier: tuple[MaskFile, ...] = ()) -> dict[str, SceneMasks]:  # fmt: skip
    """Scene → its masks; a scene without any has none.

    Args:
        masks: The params.
        meaning: What values mean.
        files: All masks.
        areas: All areas; None where the params name none.
        scenes: Scene → its grid.
        earlier: Masks of an earlier round.

    Raises:
        MaskError: There are masks, but none belongs to a scene; or two carry one scene's name.
    """
    by_name = masks.match == "name"
    buffer_m = 0.0 if masks.vector is None else masks.vector.buffer_m
    mine = _by_name(files, scenes) if by_name else _by_ground(files, scenes, buffer_m)
    before = _by_ground(earlier, scenes, 0.0)
    nearby = None if areas is None else _by_ground(areas, scenes, 0.0)
    warnings = _strays(files, mine, scenes, by_name)
    if meaning.warnings and scenes:
        warnings.setdefault(min(scenes), []).extend(meaning.warnings)
    return {
        name: SceneMasks(
            masks, meaning, tuple(mine[name]), None if nearby is None else tuple(nearby[name]),
            tuple(before[name]), tuple(warnings.get(name, ())),
        )
        for name in scenes
    }  # fmt: skip


def _by_ground(files: tuple[MaskFile, ...], scenes: Mapping[str, Grid], buffer_m: float) -> dict[str, list[MaskFile]]:
    placed = [(file, bounds) for file in files if (bounds := file.near(buffer_m)) is not None]
    tree = shapely.STRtree([shapely.box(*bounds) for _, bounds in placed])
    found: dict[str, list[MaskFile]] = {}
    for name, grid in scenes.items():
        bounds = lonlat_bounds(grid)
        near = [placed[number] for number in sorted(tree.query(shapely.box(*bounds)).tolist())]
        found[name] = [file for file, place in near if _share(place, bounds) and _meets(file, grid)]
    return found


def _meets(file: MaskFile, grid: Grid) -> bool:
    if file.grid is None:
        return True
    return may_meet(file.grid, grid)


def _share(one: Bounds, other: Bounds) -> bool:
    return min(one[2], other[2]) > max(one[0], other[0]) and min(one[3], other[3]) > max(one[1], other[1])


def _by_name(files: tuple[MaskFile, ...], scenes: Mapping[str, Grid]) -> dict[str, list[MaskFile]]:
    """The longest name that a mask's stem contains; no number is cut in two, so that `a_1` is not in `a_12_m`.

    A last part of letters (`top_2_10_IRRG`) may be missing: it names the picture's kind, not its place.
    """
    keys = _keys(scenes)
    lengths = sorted({len(key) for key in keys}, reverse=True)
    best: dict[str, tuple[int, list[MaskFile]]] = {}
    for file in files:
        names, length = _longest(file, keys, lengths)
        for name in names:
            known, others = best.get(name, (0, []))
            if length >= known:
                best[name] = (length, [*others, file] if length == known else [file])
    for name, (_, mine) in best.items():
        if len(mine) > 1:
            raise MaskError(
                f"{len(mine)} masks carry the name of the scene {name}: {mine[0].name} and {mine[1].name}; "
                "narrow masks.patterns to one of them"
            )
    return {name: best[name][1] if name in best else [] for name in scenes}


def _keys(scenes: Mapping[str, Grid]) -> dict[str, list[str]]:
    keys: dict[str, list[str]] = {}
    for name in scenes:
        keys.setdefault(_composed(name), []).append(name)
    for name in scenes:
        short = re.fullmatch(r"(.+)_[A-Za-z]+", name)
        if short and short[1] not in scenes:
            keys.setdefault(_composed(short[1]), []).append(name)
    return keys


def _composed(name: str) -> str:
    """A letter with its accent as one character: some disks and archives keep them as two."""
    return unicodedata.normalize("NFC", name)


def _longest(file: MaskFile, keys: dict[str, list[str]], lengths: list[int]) -> tuple[list[str], int]:
    stem = _composed(file.path.stem)
    for length in lengths:
        parts = {stem[at : at + length] for at in range(len(stem) - length + 1) if not _cuts_a_number(stem, at, length)}
        if found := sorted(parts & keys.keys()):
            if len(found) > 1:
                raise MaskError(
                    f"the name of the mask {file.name} contains both {found[0]} and {found[1]}, which are scenes; "
                    "rename it"
                )
            return keys[found[0]], length
    return [], 0


def _cuts_a_number(stem: str, at: int, length: int) -> bool:
    return any(0 < edge < len(stem) and stem[edge - 1].isdigit() and stem[edge].isdigit() for edge in (at, at + length))


def _strays(files: tuple[MaskFile, ...], mine: dict[str, list[MaskFile]], scenes: Mapping[str, Grid],
            by_name: bool) -> dict[str, list[str]]:  # fmt: skip
    """Scene → warnings of masks that belong to none, told with the one that is nearest to the first of them."""
    placed = {file.name for found in mine.values() for file in found}
    strays = [file for file in files if file.name not in placed]
    if not strays or not scenes:
        return {}
    if not placed:
        raise MaskError(_none_fits(files, scenes, by_name))
    listed = ", ".join(file.name for file in strays[:5]) + (", …" if len(strays) > 5 else "")
    fault = "carry no scene's name" if by_name else "lie on no scene"
    return {_nearest(strays[0], scenes)[0]: [f"{len(strays)} of {len(files)} masks {fault}: {listed}"]}


def _none_fits(files: tuple[MaskFile, ...], scenes: Mapping[str, Grid], by_name: bool) -> str:
    file = files[0]
    if by_name:
        return (
            f"none of the {len(files)} masks carries a scene's name: the first mask is {file.name}, the first scene "
            f"{min(scenes)}; rename the masks, or set masks.match to ground"
        )
    if file.lonlat_bounds is None:
        return f"none of the {len(files)} masks lies on any scene: {file.path} has no feature; correct masks.patterns"
    name, place = _nearest(file, scenes)
    return (
        f"none of the {len(files)} masks lies on any scene: {file.path} covers {_words(file.lonlat_bounds)}, the "
        f"nearest scene {name} {_words(place)}; correct the mask's CRS (`gdal_edit.py -a_srs`) or fetch the product "
        "that belongs to it"
    )


def _nearest(file: MaskFile, scenes: Mapping[str, Grid]) -> tuple[str, Bounds]:
    places = {name: lonlat_bounds(grid) for name, grid in scenes.items()}
    box = file.lonlat_bounds
    if box is None:
        return min(places), places[min(places)]
    west, south, east, north = box
    far = {
        name: abs(place[0] + place[2] - west - east) + abs(place[1] + place[3] - south - north)
        for name, place in places.items()
    }
    name = min(far, key=lambda name: (far[name], name))
    return name, places[name]


def _words(box: Bounds) -> str:
    return f"lon {box[0]:.3f} to {box[2]:.3f}, lat {box[1]:.3f} to {box[3]:.3f}"
