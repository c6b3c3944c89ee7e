"""A patch of the crop world over a year, written as Sen4AgriNet delivers its patches.

Source: Sen4AgriNet, Sykas et al. 2022, doi:10.1109/JSTARS.2022.3164771: groups per band with dates of their own, labels
and parcels; digital numbers of Level-1C, reflectance × 10 000. The group `truth` is ours: what grows on every field,
whatever was declared.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5netcdf  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray

from thalweg.sample.crops.fields import Fields, Habits, fields
from thalweg.sample.crops.relief import heights
from thalweg.sample.crops.seasons import reflectance
from thalweg.sample.mgrs import Tile, locate
from thalweg.sample.noise import Floats, fractal, key_of, uniform
from thalweg.sample.sky import sky
from thalweg.sample.spectra import BANDS, SPECTRA, index_of

PATCH_M = 3660
"""Patches lie on this lattice from the tile's upper left corner, whatever their size."""
PATCHES = 30
"""Along each edge of a tile."""
PIXEL_M = {10: ("B02", "B03", "B04", "B08"), 20: ("B05", "B06", "B07", "B8A", "B11", "B12"),
           60: ("B01", "B09", "B10")}  # fmt: skip
_CIRRUS_BAND = (0.0015, 0.12, 0.05)
"""Reflectance of B10: of the ground, which it hardly sees, of cirrus, and of cloud."""
_HEDGE_M = 12.0
_EPOCH = np.datetime64("1970-01-01T00:00:00")


@dataclass(frozen=True)
class World:
    """What all patches share."""

    seed: int
    edge_px: int
    """At 10 m: 366 as in Sen4AgriNet, or less; divides by 6."""
    revisit_days: int
    missing: float
    """Share of a patch's dates that were not delivered."""
    cloud_cover: float
    imbalance: float
    """0: all crops as common; 1.3: the commonest has half of the parcels, the rarest two of a hundred."""
    spread: float
    """How much parcels of one crop differ: 0 not at all, 1 as much as their look-alikes."""


@dataclass(frozen=True)
class Place:
    """One patch, and how honestly its crops were declared."""

    year: int
    tile: str
    """`31TCJ`."""
    patch_x: int
    patch_y: int
    label_noise: float
    """Share of the parcels for which another crop was declared than grows."""
    undeclared: float
    """Share of the parcels for which nothing was declared."""

    @property
    def name(self) -> str:
        """`2019_31TCJ_patch_20_29`."""
        return f"{self.year}_{self.tile}_patch_{self.patch_x:02d}_{self.patch_y:02d}"

    @property
    def square(self) -> Tile:
        """The tile's place.

        Raises:
            ParamsError: There is no such tile.
        """
        return locate(f"T{self.tile}")

    def bounds(self, edge_px: int) -> tuple[float, float, float, float]:
        """Left, bottom, right and top, metres."""
        left, top = self.square.ulx + PATCH_M * self.patch_x, self.square.uly - PATCH_M * self.patch_y
        return left, top - 10 * edge_px, left + 10 * edge_px, top


def make_patch(folder: Path, world: World, place: Place) -> Path:
    """Makes `<name>.nc` in `folder`; the same arguments give the same bytes.

    Raises:
        ParamsError: There is no such tile.
    """
    left, bottom, right, top = place.bounds(world.edge_px)
    xs, ys = np.arange(left + 5, right, 10)[None, :], np.arange(top - 5, bottom, -10)[:, None]
    habits = Habits(world.seed, place.year, place.tile, world.imbalance, world.spread, place.label_noise,
                    place.undeclared)  # fmt: skip
    grown = fields(habits, xs, ys, heights(world.seed, place.square.epsg, xs, ys))
    times = _times(world, place)
    cubes: dict[str, list[NDArray[np.uint16]]] = {}
    for planes in _planes(world, place, grown, times, xs, ys):
        for band, numbers in planes.items():
            cubes.setdefault(band, []).append(numbers)
    folder.mkdir(parents=True, exist_ok=True)
    path, partial = folder / f"{place.name}.nc", folder / f".{place.name}.part"
    _write(partial, place, world, grown, times, cubes)
    return partial.replace(path)


def _times(world: World, place: Place) -> NDArray[np.datetime64]:
    """Every `revisit_days` from a day of the tile's own, less what is missing; never all of them."""
    key = key_of(world.seed, place.tile, "orbit")
    days = np.arange(key % world.revisit_days, 365, world.revisit_days)
    luck = uniform(key_of(world.seed, place.name, "missing"), days)
    kept = days[(luck >= world.missing) | (luck == luck.max())]
    start = np.datetime64(f"{place.year}-01-01T10:50:31", "s")
    return np.asarray(start + kept * np.timedelta64(1, "D"))


def _planes(
    world: World, place: Place, grown: Fields, times: NDArray[np.datetime64], xs: Floats, ys: Floats
) -> Iterator[dict[str, NDArray[np.uint16]]]:
    """Digital numbers per band, date by date."""
    rough = 1 + 0.05 * fractal(key_of(world.seed, "rough"), xs, ys, 60, 2)
    wild = np.clip(0.5 + 0.4 * fractal(key_of(world.seed, "wild"), xs, ys, 700, 3), 0, 1)
    hedge = np.where(grown.parcel > 0, np.clip(1 - grown.edge_m / _HEDGE_M, 0, 1), 1.0)
    rng = np.random.default_rng(key_of(world.seed, place.name, "noise"))
    for time in times:
        day = float((time - np.datetime64(f"{place.year}-01-01", "s")) / np.timedelta64(1, "D")) + 1
        fieldwise = np.concatenate([SPECTRA[:1], reflectance(grown.stand, day)])[grown.parcel]
        summer = 0.5 - 0.5 * np.cos(2 * np.pi * (day - 25) / 365)
        woods = summer * SPECTRA[index_of("woods")] + (1 - summer) * SPECTRA[index_of("bare_woods")]
        meadow = summer * SPECTRA[index_of("straw")] + (1 - summer) * SPECTRA[index_of("green")]
        wilds = woods + wild[..., None] * (meadow - woods)
        ground = rough[..., None] * (fieldwise + hedge[..., None] * (wilds - fieldwise))
        yield _numbers(_seen(world, place, np.moveaxis(ground, -1, 0), str(time)[:10], xs, ys, rng), rng)


def _seen(
    world: World, place: Place, ground: Floats, date: str, xs: Floats, ys: Floats, rng: np.random.Generator
) -> Floats:
    """Reflectance (13, H, W) at the top of the atmosphere; the last is B10."""
    above = sky(world.seed, place.square.epsg, date, world.cloud_cover, xs, ys)
    haze = rng.normal(1, 0.03) * ground + np.abs(rng.normal(0, 0.004))
    dimmed = haze * (1 - 0.62 * above.shadow)
    white = SPECTRA[index_of("cloud")][:, None, None]
    veiled = dimmed + 0.16 * above.cirrus * (white - dimmed)
    low, thin, thick = _CIRRUS_BAND
    tenth = low + thin * above.cirrus + thick * above.cloud
    return np.concatenate([veiled + above.cloud * (white * (0.55 + 0.5 * above.cloud) - veiled), tenth[None]])


def _numbers(seen: Floats, rng: np.random.Generator) -> dict[str, NDArray[np.uint16]]:
    """Each band at its own pixel size, with the sensor's noise; at least 1, since 0 means no measurement."""
    numbers = {}
    for pixel, names in PIXEL_M.items():
        for name in names:
            plane = seen[(*BANDS, "B10").index(name)]
            step = pixel // 10
            plane = plane.reshape(plane.shape[0] // step, step, plane.shape[1] // step, step).mean(axis=(1, 3))
            plane = plane * (1 + rng.normal(0, 0.008, plane.shape)) + rng.normal(0, 0.0015, plane.shape)
            numbers[name] = np.clip(np.round(plane * 10_000), 1, 20_000).astype(np.uint16)
    return numbers


def _write(
    path: Path, place: Place, world: World, grown: Fields, times: NDArray[np.datetime64],
    cubes: dict[str, list[NDArray[np.uint16]]],
) -> None:  # fmt: skip
    left, _, _, top = place.bounds(world.edge_px)
    where = {"crs": f"+init=epsg:{place.square.epsg}", "transform": np.array([10.0, 0.0, left, 0.0, -10.0, top])}
    country = "ES" if place.tile in ("31TBF", "31TCF", "31TCG", "31TDF", "31TDG") else "FR"
    seconds = ((times - _EPOCH) / np.timedelta64(1, "s")).astype(np.int64)
    with h5netcdf.File(path, "w") as file:
        file.attrs.update({"patch_full_name": place.name, "patch_year": str(place.year), "patch_tile": place.tile,
                           "patch_name": f"patch_{place.patch_x:02d}_{place.patch_y:02d}",
                           "patch_country_code": country})  # fmt: skip
        for band in sorted(cubes):
            group = file.create_group(band)
            cube = np.stack(cubes[band])
            group.dimensions = dict(zip(("time", "y", "x"), cube.shape, strict=True))
            axis = group.create_variable("time", ("time",), data=seconds)
            axis.attrs.update({"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian"})
            group.create_variable(band, ("time", "y", "x"), data=cube, compression="gzip", compression_opts=1)
        layers: dict[str, np.ndarray] = {
            "labels": grown.drawn(grown.declared),
            "parcels": grown.parcel,
            "truth": grown.drawn(grown.grown),
        }
        for name, plane in layers.items():
            group = file.create_group(name)
            group.dimensions = dict(zip(("y", "x"), plane.shape, strict=True))
            layer = group.create_variable(name, ("y", "x"), data=plane, compression="gzip", compression_opts=1)
            layer.attrs.update(where)
