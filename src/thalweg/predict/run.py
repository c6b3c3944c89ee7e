"""One prediction from arguments to a map: source, scenes, map, or what it would take."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from filelock import FileLock
from shapely import box

from thalweg.ensemble.area import read_area
from thalweg.ensemble.job import Track
from thalweg.errors import ImageError
from thalweg.infer.state import forget
from thalweg.manifest.card import ModelCard
from thalweg.manifest.scene import Scene, read_scenes
from thalweg.predict.apply import Settings, Shown, Target, filled_by, map_by_ensemble, map_scenes
from thalweg.predict.estimate import Estimate, estimate
from thalweg.predict.shares import STATES, making
from thalweg.predict.source import Source
from thalweg.prepare import Said, of_grid, prepare, scene_grids
from thalweg.sources import sha256_of

_ANY_CRS = "EPSG:4326"


@dataclass(frozen=True)
class Order:
    """What is to be predicted."""

    source: Source
    images: tuple[Path, ...]
    said: Said
    settings: Settings


def predict(order: Order, out: Path, work: Path, shown: Shown, track: Track) -> tuple[str, ...]:
    """Maps all images of an order together.

    Args:
        order: What.
        out: Folder of the map; made, whole or not at all.
        work: Folder for what is on the way; what is finished there outlives a kill. Removed when the map is made.
        shown: Shows the progress of one model.
        track: Shows the progress of an ensemble.

    Returns:
        Names of the scenes.

    Raises:
        ShareError: Another call predicts a share of the map, or makes it.
        ThalwegError: An image cannot be prepared or does not fit; see `prepare` and `apply`.
    """
    check(order)
    with making(work):
        names = _made(order, out, work / key_of(order), shown, track)
        forget(work)
    return names


def _made(order: Order, out: Path, place: Path, shown: Shown, track: Track) -> tuple[str, ...]:
    source = order.source
    cards = {card.grid: card for card in source.cards.values()}
    grids = {grid: prepared(card, order, place, shown) for grid, card in cards.items()}
    check_area(order, grids)
    target = Target(place / "map", out, source.models(place), source.weights())
    if source.ensemble is None:
        [(member, card)] = source.cards.items()
        predictor = source.load(member, order.settings.device, order.settings.views)
        fill = filled_by(predictor, order.settings, place / STATES)
        map_scenes(card, next(iter(grids.values())), order.settings, target, fill, shown)
    else:
        map_by_ensemble(source.ensemble, grids, order.settings, place, target, track)
    out.parent.mkdir(parents=True, exist_ok=True)
    target.folder.replace(out)
    return tuple(sorted({name for scenes in grids.values() for name in scenes}))


def estimates(order: Order, work: Path) -> dict[str, Estimate]:
    """What a prediction would take, per member and scene; reads headers, and times some windows.

    Raises:
        ThalwegError: As for `predict`, as far as headers show it.
    """
    check(order)
    source, settings = order.source, order.settings
    found: dict[str, Estimate] = {}
    cards = source.cards
    for name in {card.grid: None for card in cards.values()}:
        here = {member: card for member, card in cards.items() if card.grid == name}
        card = next(iter(here.values()))
        sweep = settings.sweep(card, source.params)
        group = {each.member: source.load(member, settings.device, sweep.views, sweep.scales)
                 for member, each in here.items()}  # fmt: skip
        timed = dict[tuple[str, int], float]()
        for scene, grid in scene_grids(card, _images(order, card), order.said, work / name).items():
            area = settings.area(grid)
            dtype = str(card.preparation.get("dtype", "int16"))
            each = estimate(group, grid, area, dtype, sweep.how, settings.memory_gib, timed)
            found |= {f"{member} on {scene}": one for member, one in each.items()}
    return found


def check(order: Order, device: bool = True) -> None:
    """What can be told before images are prepared, which takes its time.

    Args:
        order: What.
        device: Whether it will be predicted here.
    """
    if device:
        order.source.check_device(order.settings.device)
    for card in order.source.cards.values():
        order.settings.how(card)
        if order.settings.aoi is not None:
            read_area(order.settings.aoi, _ANY_CRS)


def check_area(order: Order, grids: Mapping[str, Mapping[str, Scene]]) -> None:
    """An empty map would look like a map of nothing."""
    aoi = order.settings.aoi
    scenes = [scene for found in grids.values() for scene in found.values()]
    if aoi is None or any(read_area(aoi, scene.grid.crs_wkt).intersects(box(*scene.grid.bounds)) for scene in scenes):
        return
    raise ImageError(
        f"{aoi}, the area of interest, touches none of the images ({', '.join(scene.name for scene in scenes)}); give "
        "images of that ground, or leave --aoi out"
    )


def _images(order: Order, card: ModelCard) -> tuple[Path, ...]:
    return of_grid(order.images, card.grid) if order.source.ensemble else order.images


def prepared(card: ModelCard, order: Order, place: Path, shown: Shown) -> Mapping[str, Scene]:
    """Scenes of an order's images on a model's grid, made once for all calls that share a folder."""
    target = place / "scenes" / card.grid
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):  # other shares of the map may want the same
        if not target.is_dir():
            with shown(f"preparing images for {card.grid}"):
                fresh = target.with_name(f"{target.name}.part")
                shutil.rmtree(fresh, ignore_errors=True)
                prepare(card, _images(order, card), order.said, fresh)
                fresh.rename(target)
    return read_scenes(target)


def key_of(order: Order) -> str:
    """What tells an order from any other, for what outlives a kill."""
    files = [(str(path.absolute()), path.stat().st_mtime_ns, path.stat().st_size) for path in order.images]
    said = {key: str(value) for key, value in {**asdict(order.said), **asdict(order.settings)}.items()}
    given = (*order.source.weights().values(), *order.said.elevation, *filter(None, [order.settings.aoi]))
    contents = [_contents(path) for path in given if path.is_file()]  # a bundle is unpacked anew by each call
    text = json.dumps([files, contents, said, [card.model_dump(mode="json") for card in order.source.cards.values()]])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _contents(path: Path) -> str:
    """Hash of a file, read once as long as it stays as it is: every image and share of an order asks for it."""
    stat = path.stat()
    return _hashed(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _hashed(path: Path, _mtime_ns: int, _size: int) -> str:
    return sha256_of(path)
