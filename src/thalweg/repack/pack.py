"""Images of any form (folders of chips, SAFE, NetCDF) into packed, memory-mapped scenes, by the code of preprocess."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from thalweg import raster
from thalweg.errors import ImageError, RepackError
from thalweg.manifest.products import Product, write_products
from thalweg.manifest.scene import Scene, read_scenes
from thalweg.params.classes import Classes
from thalweg.params.grids import GridParams
from thalweg.prepare import Labels, Said
from thalweg.prepare.describe import describe
from thalweg.preprocess import build_scenes
from thalweg.preprocess.store import fingerprint
from thalweg.repack.target import is_standing, replacing
from thalweg.sources import sha256_of

_PLANES = ("image", "valid", "mask")


@dataclass(frozen=True)
class Order:
    """What is packed, and how."""

    images: tuple[Path, ...]
    said: Said
    name: str
    """Of the grid."""
    grid: GridParams
    """With the size of a pack."""
    labels: Labels
    classes: Classes


def derived_grid(image: Path, said: Said, pack: int) -> GridParams:
    """The grid of a folder of plain rasters: their own pixels and bands, nothing else.

    Raises:
        RepackError: The first image is no raster, or does not name its bands.
    """
    if image.is_dir() or image.suffix.lower() in (".zip", ".nc", ".nc4", ".h5"):
        raise RepackError(
            f"{image} is no plain raster, so its grid must be said; give --grid, of `grids` in params.yaml"
        )
    with raster.opened(image) as dataset:
        names, kind = [name or "" for name in dataset.descriptions], np.dtype(dataset.dtypes[0]).kind
    if said.bands is not None:
        names = list(said.bands)
    if not all(names):
        raise RepackError(f"{image} does not name its {len(names)} bands; say which is which by --bands B02=1,B03=2,…")
    valid = {"scl": (), "product_masks": False, "cloud_probability": None, "cloud_buffer_m": 0.0}
    return GridParams.model_validate({
        "products": "*", "resolution_m": None, "bands": tuple(names), "resampling": "bilinear", "channels": (),
        "further": (), "dtype": "int16" if kind in "iu" else "float32", "valid": valid, "series": None, "pack": pack,
    })  # fmt: skip


def pack(order: Order, out: Path, force: bool, checked: int,
         track: Callable[[list[Any]], Iterable[Any]] = iter) -> tuple[int, bool]:  # fmt: skip
    """Packs the images; how many scenes there are, and whether they were there already.

    Args:
        order: What is packed.
        out: Folder to make; `read_scenes` reads it.
        force: Whether what stands there otherwise may be destroyed.
        checked: Scenes that are built once more, each for itself, and compared with the packs, pixel for pixel.
        track: Shows progress while it passes packs on.

    Raises:
        RepackError: Something else stands at `out`, or a pack does not hold what it should.
        ThalwegError: As for `build_scenes`.
    """
    products = _products(order)
    request = _request(order, products)
    if is_standing(out, "pack", request, force):
        return len(read_scenes(out)), True
    with replacing(out, "pack", request) as beside:
        room = beside / "room"
        _build(order, products, order.grid, room / "packs", room, track)
        _check(order, products, read_scenes(room / "packs"), room, checked)
        for home in sorted((room / "packs").iterdir()):
            home.rename(beside / home.name)
        _remove(room)
    return len(read_scenes(out)), False


def _products(order: Order) -> list[Product]:
    products = [describe(image, {}, order.grid, order.said) for image in order.images]
    products += [describe(image, {}, order.grid, order.said, "elevation") for image in order.said.elevation]
    names = [product.name for product in products]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ImageError(f"two images have the name {twice[0]}, which scenes are told apart by; rename one")
    return products


def _request(order: Order, products: Sequence[Product]) -> dict[str, Any]:
    files = [path for pattern in order.labels.masks.patterns for path in sorted(order.labels.folder.glob(pattern))]
    said = {
        "images": {product.name: [file.sha256 for file in product.files] for product in products},
        "reading": [product.model_dump(exclude={"path", "files"}) for product in products],
        "grid": {"name": order.name, **order.grid.model_dump(mode="json")},
        "masks": order.labels.masks.model_dump(mode="json", exclude={"input"}),
        "mask files": {path.name: sha256_of(path) for path in files},
        "classes": list(order.classes.names),
        "code": fingerprint(None),
    }
    hashed = {"images", "reading", "mask files"}  # thousands of lines that nobody reads
    plain: dict[str, Any] = json.loads(json.dumps(said, default=list))
    return {key: hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest() if key in hashed else value
            for key, value in plain.items()}  # fmt: skip


def _build(order: Order, products: Sequence[Product], grid: GridParams, target: Path, room: Path,
           track: Callable[[list[Any]], Iterable[Any]] = iter) -> None:  # fmt: skip
    raw = room / f"{target.name}.raw"
    raw.mkdir(parents=True)
    write_products(list(products), raw)
    build_scenes(raw, order.labels.folder, order.name, grid, order.labels.masks, order.classes, target,
                 room / f"{target.name}.store", track=track)  # fmt: skip


def _check(order: Order, products: Sequence[Product], packed: dict[str, Scene], room: Path, count: int) -> None:
    """Some scenes, spread over all, once more and unpacked: the same records and pixels."""
    if not count:
        return
    chosen = list(products)
    if order.grid.series is None or order.grid.series.by == "product":
        own = [product for product in products if product.name in packed]
        beside = [product for product in products if product.name not in packed]
        places = np.unique(np.linspace(0, len(own) - 1, min(count, len(own))).round().astype(int))
        chosen = [own[place] for place in places] + beside
    labels = order.labels
    if labels.masks.patterns:  # a few scenes may be those that no mask lies on
        lit = [product for product in products if product.name in packed and packed[product.name].record.labelled]
        chosen = list({product.name: product for product in [*chosen, *lit[:1]]}.values())
    _build(order, chosen, order.grid.model_copy(update={"pack": 1}), room / "check", room)
    for name, scene in read_scenes(room / "check").items():
        _compare(scene, packed[name])


def _compare(alone: Scene, packed: Scene) -> None:
    if alone.record != packed.record:
        raise RepackError(f"{packed.name} has another record in {packed.folder.name} than alone; please report it")
    for plane in _PLANES:
        one, other = getattr(alone, plane), getattr(packed, plane)
        if (one is None) != (other is None) or (
            one is not None and np.asarray(one).tobytes() != np.ascontiguousarray(other).tobytes()
        ):
            raise RepackError(
                f"{packed.name} has another {plane} in {packed.folder.name} than alone; "
                "check the disk, then run it again"
            )


def _remove(room: Path) -> None:
    shutil.rmtree(room)
