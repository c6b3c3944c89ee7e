"""`build/scenes/<grid>/<scene>/scene.json`: what an analysis-ready scene holds, and the door to its pixels.

Small scenes in thousands share folders and rasters: `build/scenes/<grid>/<pack>/pack.json` holds their records.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine

from thalweg import raster
from thalweg.errors import SceneError
from thalweg.grid import Grid, Window
from thalweg.manifest import Record, read_record, upgraded, write_record

SCHEMA = 3
NODATA = -32768
REFLECTANCE_SCALE = 1e-4
SCENE = "scene.json"
PACK = "pack.json"
_NOWHERE = 'LOCAL_CS["a pack of scenes, no place on the earth",UNIT["metre",1]]'
_REMEDY = "run `dvc repro preprocess`"


class Channel(Record):
    """One channel of image.tif."""

    name: str
    wavelength_nm: float | None
    scale: float
    """Physical value = stored × scale + offset."""
    offset: float
    unit: str
    """`reflectance`, or `1` for a ratio."""


class SceneRecord(Record):
    """scene.json."""

    schema_version: int
    name: str
    grid: str
    preparation: dict[str, Any]
    """The grid's params that made the pixels: all but `products` and `pack`; empty if unknown (schema 2)."""
    product: str
    """Product id as delivered."""
    baseline: str | None
    """Processing baseline of a Sentinel-2 product, e.g. `05.11`."""
    offsets_applied: dict[str, float]
    """Digital-number offset per band that was added before scaling."""
    sensing_time: str | None
    """ISO 8601, UTC."""
    crs: str
    transform: tuple[float, float, float, float, float, float]
    shape_yx: tuple[int, int]
    georeferenced: bool
    """False for a picture that was laid at an arbitrary place."""
    dtype: str
    """Of the images: int16 or float32."""
    dates: tuple[str, ...]
    """Of a time series, ISO days in order: image_<date>.tif each; empty where there is one image.tif."""
    channels: tuple[Channel, ...]
    """Of one image; of a time series, those of all dates in order, date by date, named `t00/<channel>`."""
    prior: float | None
    """Share of positives in ground of class 0 where only positives were marked, else None."""
    masks: tuple[str, ...]
    """Paths below `masks.input` of the masks that overlap (`<product>:<band>` for a band)."""
    labelled: bool
    """Whether mask.tif exists."""
    valid_fraction: float
    clipped: dict[str, int]
    """Values per channel that int16 could not hold."""
    sources: dict[str, str]
    """Source file → sha256."""
    warnings: tuple[str, ...]
    """Degraded data, for the report."""


class PackRecord(Record):
    """pack.json: several small scenes that share their rasters, one below the other, each at the left edge."""

    schema_version: int
    shape_yx: tuple[int, int]
    """Of the rasters: the sum of the heights, the greatest width."""
    images: tuple[str, ...]
    """Names of the image rasters: `image.tif`, or of time series `image_t00.tif` and so on, one per bin."""
    rows: tuple[int, ...]
    """First row of each member."""
    members: tuple[SceneRecord, ...]
    """In order, sorted by name."""


def pack_grid(shape_yx: tuple[int, int]) -> Grid:
    """The grid of a pack's rasters, which lies nowhere on the earth."""
    return Grid(_NOWHERE, Affine(1, 0, 0, 0, -1, 0), shape_yx)


class Pack:
    """A folder of scenes that share their rasters; each raster is mapped once, whichever scenes are read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = read_record(PackRecord, folder / PACK, _REMEDY, _upgraded_pack)
        self._maps: dict[Path, np.memmap[Any, Any]] = {}

    def __reduce__(self) -> "tuple[type[Pack], tuple[Path]]":
        """Travels as its folder: pixels stay on the disk."""
        return Pack, (self.folder,)

    @property
    def name(self) -> str:
        """Of the folder."""
        return self.folder.name

    @property
    def grid(self) -> Grid:
        """Of its rasters."""
        return pack_grid(self.record.shape_yx)

    def pixels(self, path: Path, window: Window) -> np.ndarray:
        """(h, w, C) view of a member's window in a raster of the pack's shape: its own, or a part raster."""
        if path not in self._maps:
            self._maps[path] = raster.map_pixels(path)
        return self._maps[path][window.rows, window.cols]

    def scenes(self) -> "list[Scene]":
        """Its members."""
        return [
            Scene(self.folder, (self, record, Window(row, 0, *record.shape_yx)))
            for record, row in zip(self.record.members, self.record.rows, strict=True)
        ]


class Scene:
    """A scene on disk; pixels are memory maps, opened once and read-only. It may share its rasters with others."""

    def __init__(self, folder: Path, packed: "tuple[Pack, SceneRecord, Window] | None" = None) -> None:
        """Takes the scene's folder, or a pack's folder with the pack, the member's record and its pixels there."""
        self.folder = folder
        self.pack = packed[0] if packed else None
        self.record = packed[1] if packed else read_record(SceneRecord, folder / SCENE, _REMEDY, _upgraded)
        self.window = packed[2] if packed else Window(0, 0, *self.record.shape_yx)
        """Its pixels in the rasters below `folder`."""

    def __reduce__(self) -> "tuple[type[Scene], tuple[Any, ...]]":
        """Travels as its folder, or as its pack's with its record: pixels stay on the disk."""
        return Scene, (self.folder, (self.pack, self.record, self.window) if self.pack else None)

    @property
    def name(self) -> str:
        """The scene's name."""
        return self.record.name

    @cached_property
    def grid(self) -> Grid:
        """Where the pixels lie."""
        return Grid(self.record.crs, raster.transform_from(list(self.record.transform)), self.record.shape_yx)

    @property
    def image_files(self) -> tuple[str, ...]:
        """Names of the image rasters below `folder`: one, or one per date in order."""
        return self.pack.record.images if self.pack else image_files(self.record)

    @cached_property
    def image(self) -> np.ndarray | raster.Stacked:
        """(H, W, C) int16 or float32, nodata −32768; of a time series (H, W, T × C), date by date."""
        maps = [self._pixels(file) for file in self.image_files]
        return raster.Stacked(maps) if self.record.dates else maps[0]

    @cached_property
    def valid(self) -> np.ndarray:
        """(H, W) uint8, 0 = unusable."""
        return self._pixels("valid.tif")[:, :, 0]

    @cached_property
    def mask(self) -> np.ndarray | None:
        """(H, W) uint8 class ids, 255 = unlabelled; None for a scene without labels."""
        return self._pixels("mask.tif")[:, :, 0] if self.record.labelled else None

    def _pixels(self, file: str) -> np.ndarray:
        """(H, W, C) memory map of a raster, or the view of this scene's part of the pack's."""
        path = self.folder / file
        return self.pack.pixels(path, self.window) if self.pack else raster.map_pixels(path)


def image_files(record: SceneRecord) -> tuple[str, ...]:
    """Names of the image rasters in the folder of a scene of its own."""
    return tuple(f"image_{date}.tif" for date in record.dates) or ("image.tif",)


def scene_files(folder: Path) -> list[Path]:
    """The records of a grid's scenes and packs, sorted; they name everything else. None where there is no scene."""
    return sorted([*folder.glob(f"*/{SCENE}"), *folder.glob(f"*/{PACK}")])


def read_scenes(folder: Path) -> dict[str, Scene]:
    """All scenes of one grid by name, sorted, whether each has a folder of its own or shares a pack.

    Raises:
        SceneError: There is none, or one is broken.
    """
    paths = scene_files(folder)
    if not paths:
        raise SceneError(f"{folder} holds no scene; {_REMEDY}")
    scenes = [
        scene
        for path in paths
        for scene in ([Scene(path.parent)] if path.name == SCENE else Pack(path.parent).scenes())
    ]
    return {scene.name: scene for scene in sorted(scenes, key=lambda scene: scene.name)}


def in_units(scenes: Iterable[Scene], least_px: int = 1 << 24) -> Iterator[list[Scene]]:
    """Scenes in order, as many together as have so many pixels: a full scene, or thousands of chips, at a time."""
    unit: list[Scene] = []
    pixels = 0
    for scene in scenes:
        unit.append(scene)
        pixels += scene.record.shape_yx[0] * scene.record.shape_yx[1]
        if pixels >= least_px:
            yield unit
            unit, pixels = [], 0
    if unit:
        yield unit


def shared_preparation(scenes: Iterable[Scene]) -> dict[str, Any]:
    """How some scenes were made, one and all: the grid's params; empty if that is unknown.

    Raises:
        SceneError: Two were made otherwise.
    """
    first: SceneRecord | None = None
    for scene in scenes:
        record = scene.record
        first = first or record
        if record.preparation != first.preparation:
            keys = sorted({*first.preparation, *record.preparation})
            key = next(key for key in keys if first.preparation.get(key) != record.preparation.get(key))
            raise SceneError(
                f"scene {record.name} of grid {record.grid} was made with {key} {record.preparation.get(key)}, but "
                f"{first.name} with {first.preparation.get(key)}; {_REMEDY}"
            )
    return first.preparation if first else {}


def write_scene_record(record: SceneRecord, folder: Path) -> None:
    """Writes scene.json."""
    write_record(record, folder / SCENE)


def write_pack_record(record: PackRecord, folder: Path) -> None:
    """Writes pack.json."""
    write_record(record, folder / PACK)


def _upgraded(data: dict[str, Any]) -> dict[str, Any]:
    return upgraded(data, SCHEMA, {2: _to_3})


def _upgraded_pack(data: dict[str, Any]) -> dict[str, Any]:
    return upgraded(data | {"members": [_upgraded(one) for one in data.get("members", [])]}, SCHEMA, {2: _as_it_is})


def _to_3(data: dict[str, Any]) -> None:
    """Schema 2 did not know how its scenes were made."""
    data["preparation"] = {}


def _as_it_is(data: dict[str, Any]) -> None:
    """The members' records alone changed."""
