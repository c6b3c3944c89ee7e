"""Any image as the scenes that a trained member reads, by its card alone and by the very code of the stage preprocess.

An image is a scene folder, a SAFE product, a raster, a folder with a file per band, or a NetCDF cube. What the card
does not know of it (which band is which, its scale) it says itself or is said beside.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from thalweg import contract, params
from thalweg.errors import ImageError
from thalweg.grid import Grid
from thalweg.machine import data_path
from thalweg.manifest.card import ModelCard
from thalweg.manifest.products import Product, write_products
from thalweg.manifest.scene import PACK, SCENE, Pack, Scene, read_scenes
from thalweg.params.classes import Classes
from thalweg.params.grids import GridParams
from thalweg.prepare.describe import Said, describe
from thalweg.prepare.given import Labels, no_labels
from thalweg.prepare.resolution import fit_resolution
from thalweg.prepare.rules import with_rules
from thalweg.preprocess import build_scenes, plan_scenes

__all__ = ["Labels", "Said", "find_images", "no_labels", "of_grid", "prepare", "scene_grids"]


@dataclass
class _Group:
    """Images that one set of a grid's params prepares."""

    grid: GridParams
    products: list[Product] = field(default_factory=list)


def find_images(given: Sequence[str]) -> list[Path]:
    """The paths that are named, each once, in order; patterns (`*.tif`, `data/**/*.SAFE`) stand for what they find.

    Raises:
        ImageError: One is not there, or a pattern finds nothing.
    """
    found: list[Path] = []
    for name in given:
        path = data_path(Path(name))
        here = [path] if path.exists() else _matching(path)
        if not here:
            what = "finds nothing" if any(letter in name for letter in "*?[") else "is not there"
            raise ImageError(f"{name} {what} (looked in {Path.cwd()}); name an image, a SAFE product or a scene folder")
        found += here
    return list(dict.fromkeys(found))


def prepare(card: ModelCard, images: Sequence[Path], said: Said, target: Path, labels: Labels | None = None) -> None:
    """Makes the folder of a member's scenes from images; scene folders are linked as they are.

    Args:
        card: Of the member.
        images: Paths, or folders of a grid's scenes.
        said: What images do not say themselves.
        target: Folder to make: `<scene>/` each.
        labels: What becomes mask.tif; none by default.

    Raises:
        ImageError: An image does not say what is needed, or is none; or two have one name.
        ContractError: A scene is not what the member was trained to read.
        ThalwegError: A product is incomplete, or cannot be read.
    """
    target.mkdir(parents=True)
    ready = {home for image in images for home in _scene_folders(image)}
    for home in sorted(ready):
        _link(home, target)
    others = [image for image in images if not _scene_folders(image)]
    with tempfile.TemporaryDirectory(prefix="images.", dir=target.parent) as room:
        for number, group in enumerate(_groups(card, others, said, Path(room))):
            _build(card, group, labels or no_labels(target.parent), Path(room) / str(number), target)
        for scene in read_scenes(target).values():
            contract.check(card, scene)


def scene_grids(card: ModelCard, images: Sequence[Path], said: Said, room: Path) -> dict[str, Grid]:
    """Where the scenes of images would lie, by name; reads headers alone.

    Args:
        card: Of the member.
        images: As for `prepare`.
        said: As for `prepare`.
        room: Folder for what has to be written for it.

    Raises:
        ThalwegError: As for `prepare`, as far as headers show it.
    """
    found = {}
    for home in {home for image in images for home in _scene_folders(image)}:
        for scene in Pack(home).scenes() if (home / PACK).is_file() else [Scene(home)]:
            contract.check(card, scene)
            found[scene.name] = scene.grid
    for number, group in enumerate(_groups(card, [image for image in images if not _scene_folders(image)], said, room)):
        place = room / f"headers{number}"
        place.mkdir(parents=True)
        write_products(group.products, place)
        found |= plan_scenes(place, group.grid)
    return dict(sorted(found.items()))


def _groups(card: ModelCard, images: Sequence[Path], said: Said, room: Path) -> list[_Group]:
    if not images:
        return []
    if not card.preparation:
        raise ImageError(
            f"the card of member '{card.member}' (of an older Thalweg) does not say how its scenes were made; give "
            "scene folders that `dvc repro preprocess` made, or train the member again"
        )
    grid = params.parse(GridParams, card.preparation | {"products": "*", "pack": 1}, "preparation", Path("card.json"))
    units = {channel.name.rpartition("/")[2]: channel.unit for channel in card.channels}
    products = [describe(image, units, grid, said) for image in images]
    products += [describe(image, units, grid, said, "elevation") for image in said.elevation]
    _check_names(products)
    groups: dict[str, _Group] = {}
    for product in products:
        fitted = fit_resolution(product, card, grid, said.resample, room)
        rules = grid if product.role == "elevation" else with_rules(fitted, grid)
        groups.setdefault(rules.model_dump_json(), _Group(rules)).products.append(fitted)
    return _with_companions(list(groups.values()))


def _with_companions(groups: list[_Group]) -> list[_Group]:
    """Groups that have scenes, each with all that may stand beside a scene."""

    def beside(product: Product, grid: GridParams) -> bool:
        return product.role == "elevation" or any(fnmatchcase(product.name, rule.products) for rule in grid.further)

    shared = [product for group in groups for product in group.products if beside(product, group.grid)]
    found = []
    for group in groups:
        own = [product for product in group.products if product not in shared]
        if own:
            found.append(_Group(group.grid, [*own, *shared]))
    return found or groups


def _build(card: ModelCard, group: _Group, labels: Labels, room: Path, target: Path) -> None:
    room.mkdir()
    write_products(group.products, room)
    built = room / "scenes"
    classes = Classes(legend=card.classes)
    build_scenes(room, labels.folder, card.grid, group.grid, labels.masks, classes, built, room / "store")
    for home in sorted(built.iterdir()):
        home.rename(target / home.name)


def _check_names(products: Sequence[Product]) -> None:
    paths: dict[str, str] = {}
    for product in products:
        if product.name in paths:
            raise ImageError(
                f"{paths[product.name]} and {product.path} have one name, {product.name}, which scenes are told apart "
                "by; rename one, or give them one after the other"
            )
        paths[product.name] = product.path


def _matching(path: Path) -> list[Path]:
    start = Path(path.anchor) if path.is_absolute() else Path()
    parts = path.parts[1:] if path.is_absolute() else path.parts
    return sorted(start.glob(str(Path(*parts)))) if parts else []


def _scene_folders(image: Path) -> list[Path]:
    """The folders of scenes or packs that a path is or holds."""
    if not image.is_dir():
        return []
    if (image / SCENE).is_file() or (image / PACK).is_file():
        return [image]
    return sorted({path.parent for name in (SCENE, PACK) for path in image.glob(f"*/{name}")})


def of_grid(images: Sequence[Path], grid: str) -> tuple[Path, ...]:
    """Images, of which scenes that are made already only where they are of a grid."""
    found: list[Path] = []
    for image in images:
        homes = _scene_folders(image)
        found += [home for home in homes if _first_scene(home).record.grid == grid] if homes else [image]
    return tuple(found)


def _first_scene(home: Path) -> Scene:
    return Pack(home).scenes()[0] if (home / PACK).is_file() else Scene(home)


def _link(home: Path, target: Path) -> None:
    place = target / home.name
    if place.exists():
        raise ImageError(f"{home} and {place.resolve()} are scenes of one name; give them one after the other")
    place.symlink_to(home.resolve(), target_is_directory=True)
