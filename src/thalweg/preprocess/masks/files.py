"""Mask files: found by patterns, opened as far as their place, identified by every byte that decides what they mean."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
from pyproj import CRS
from pyproj.exceptions import CRSError
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from thalweg import raster
from thalweg.errors import MaskError, ParamsError
from thalweg.grid import Grid
from thalweg.manifest.rounds import RECORD
from thalweg.params.masks import Masks
from thalweg.preprocess.masks.features import VectorLayer, open_layer
from thalweg.preprocess.masks.place import lonlat_bounds

VECTORS = frozenset({".gpkg", ".geojson", ".json", ".shp", ".fgb"})
_SIDECARS_OF_NAME = (".aux.xml", ".ovr", ".msk")
_SIDECARS_OF_STEM = (".tfw", ".tifw", ".pgw", ".pngw", ".jgw", ".jpgw", ".wld", ".prj",
                     ".shx", ".dbf", ".cpg", ".sbn", ".sbx", ".qix", ".qmd", ".qml")  # fmt: skip
_OF_A_DATABASE = (".gpkg-wal", ".gpkg-shm", ".gpkg-journal")
_METRES_PER_DEGREE = 110_000


@dataclass(frozen=True)
class MaskFile:
    """One mask: a raster or a layer of vectors."""

    name: str
    """Path below `masks.input`."""
    path: Path
    sha256: str
    """Of the file and its sidecars."""
    grid: Grid | None
    """Of a raster; None for vectors, and for pictures that are matched by name."""
    shape_yx: tuple[int, int]
    """Of a raster; (0, 0) for vectors."""
    bands: tuple[int, ...]
    """1-based: one band of codes, or red, green and blue; none for vectors."""
    alpha: int | None
    """Band whose 0 means that the mask does not cover a pixel."""
    palette: dict[int, int] | None
    """Code → 0xRRGGBB of a colour table."""
    layer: VectorLayer | None
    """Of vectors."""
    nodata: float | None = None
    """What a raster of one band tags so, as a value of its dtype."""

    @cached_property
    def lonlat_bounds(self) -> tuple[float, float, float, float] | None:
        """West, south, east, north in degrees; None for vectors without a feature, and for pictures without a place."""
        if self.grid is not None:
            return lonlat_bounds(self.grid)
        return None if self.layer is None else self.layer.lonlat_bounds

    def near(self, buffer_m: float) -> tuple[float, float, float, float] | None:
        """The same, widened by at least some ground metres."""
        bounds = self.lonlat_bounds
        if bounds is None or self.layer is None:
            return bounds
        high = buffer_m / _METRES_PER_DEGREE + 1e-9
        wide = high * 30  # true up to 88° of latitude; who lies nearer is told by the features themselves
        return bounds[0] - wide, bounds[1] - high, bounds[2] + wide, bounds[3] + high

    @property
    def identity(self) -> list[object]:
        """What decides its labels: a sidecar elsewhere (a folder's CRS) may move a mask without touching its file."""
        place = None if self.grid is None else [self.grid.crs_wkt, *self.grid.transform[:6]]
        return [self.name, self.sha256, place, None if self.layer is None else self.layer.crs_wkt]


def read_mask_files(masks: Masks, folder: Path) -> tuple[MaskFile, ...]:
    """All mask files that the patterns find, sorted by name; none where the masks are a product's band.

    Raises:
        MaskError: A pattern finds nothing, or a file is no mask.
        ParamsError: A pattern leaves the folder or is none, or the params lack what the file needs said.
        RasterError: A mask cannot be read or has no CRS.
    """
    if masks.band is not None:
        return ()
    no_masks = set() if masks.encoder is None else {folder / masks.encoder}
    if masks.area is not None:
        no_masks |= set(folder.glob(_checked(masks.area, "masks.area")))
    paths: dict[str, Path] = {}
    for pattern in masks.patterns:
        paths |= _found(pattern, folder, "masks.patterns", no_masks)
    return tuple(_open(name, paths[name], masks) for name in sorted(paths))


def read_areas(masks: Masks, folder: Path) -> tuple[MaskFile, ...] | None:
    """The files of `masks.area`, or None where the params name none.

    Raises:
        MaskError: The pattern finds nothing, or something else than vectors.
        ParamsError: It leaves the folder or is none.
    """
    if masks.area is None:
        return None
    paths = _found(masks.area, folder, "masks.area", set())
    for path in paths.values():
        if path.suffix.lower() not in VECTORS:
            raise MaskError(f"{path} is no area: masks.area takes polygons as {', '.join(sorted(VECTORS))}")
    return tuple(
        _vector(name, path, open_layer(path, None, None, known_crs(masks))) for name, path in sorted(paths.items())
    )


def known_crs(masks: Masks) -> str | None:
    """`masks.crs`, known to be one.

    Raises:
        ParamsError: It is none.
    """
    if masks.crs is not None:
        try:
            CRS.from_user_input(masks.crs)
        except CRSError as error:
            raise ParamsError(f"masks.crs is '{masks.crs}', which is no CRS; give one such as 'EPSG:2180'") from error
    return masks.crs


def _found(pattern: str, folder: Path, key: str, without: set[Path]) -> dict[str, Path]:
    matches = (path for path in folder.glob(_checked(pattern, key)) if path.is_file() and path not in without)
    found = {
        path.relative_to(folder).as_posix(): path
        for path in matches
        if not _is_sidecar(path) and not (path.parent / RECORD).is_file()  # a round's masks are no drawn ones
    }
    if not found:
        raise MaskError(f"{key}: '{pattern}' finds no file below {folder}; put the masks there or correct params.yaml")
    return found


def _checked(pattern: str, key: str) -> str:
    path = PurePosixPath(pattern)
    if path.is_absolute() or ".." in path.parts:
        raise ParamsError(f"{key}: '{pattern}' leaves masks.input; give a pattern below it")
    if not path.parts or any("**" in part and part != "**" for part in path.parts):
        raise ParamsError(f"{key}: '{pattern}' is no pattern; give one such as '*.tif' or '**/*.tif'")
    return pattern


def _is_sidecar(path: Path) -> bool:
    return path.name.lower().endswith((*_SIDECARS_OF_NAME, *_SIDECARS_OF_STEM, *_OF_A_DATABASE))


def _open(name: str, path: Path, masks: Masks) -> MaskFile:
    if path.suffix.lower() not in VECTORS:
        return _raster(name, path, masks)
    if masks.vector is None:
        raise ParamsError(
            f"{path} holds vectors, but masks.vector is null; say there how features become pixels "
            "(layer, attribute, buffer_m, all_touched), or take the file out of masks.patterns"
        )
    return _vector(name, path, open_layer(path, masks.vector.layer, masks.vector.attribute, known_crs(masks)))


def _vector(name: str, path: Path, layer: VectorLayer) -> MaskFile:
    return MaskFile(name, path, _sha256(path), None, (0, 0), (), None, None, layer)


def _raster(name: str, path: Path, masks: Masks) -> MaskFile:
    by_name = masks.match == "name"
    with raster.opened(path) as dataset:
        grid = None if by_name else raster.known_grid(dataset, path, known_crs(masks))
        alphas = [band for band, kind in enumerate(dataset.colorinterp, 1) if kind == ColorInterp.alpha]
        bands = tuple(band for band in dataset.indexes if band not in alphas)
        _check_bands(dataset, bands, masks, path)
        palette = _palette(dataset) if len(bands) == 1 else None
        _check_colors(palette, bands, masks, path)
        nodata = _nodata(dataset) if len(bands) == 1 else None
        shape_yx, sources = dataset.shape, [Path(file) for file in dataset.files]
    return MaskFile(name, path, _sha256(path, sources), grid, shape_yx, bands, alphas[0] if alphas else None, palette,
                    None, nodata)  # fmt: skip


def _check_bands(dataset: DatasetReader, bands: tuple[int, ...], masks: Masks, path: Path) -> None:
    colored = any(value.startswith("#") for value in masks.values)
    if len(bands) == 1 or (len(bands) == 3 and colored and set(dataset.dtypes) == {"uint8"}):
        return
    said = "of red, green and blue as bytes" if colored else "of class values"
    remedy = "" if colored or len(bands) != 3 else ', list its colours in masks.values (`"#ff0000": <class>`)'
    raise MaskError(
        f"{path} has {len(bands)} bands, but a mask has {'three' if colored else 'one'} band{'s' * colored} {said}; "
        f"write such a mask{remedy} or take this file out of masks.patterns"
    )


def _check_colors(palette: dict[int, int] | None, bands: tuple[int, ...], masks: Masks, path: Path) -> None:
    """Codes of a mask without a colour table would all be unlisted where only colours are listed."""
    if len(bands) == 1 and palette is None and masks.values and all(value.startswith("#") for value in masks.values):
        raise MaskError(
            f"{path} has one band of codes without a colour table, but masks.values lists nothing but colours; list "
            "its codes, write it in red, green and blue, or take it out of masks.patterns"
        )


def _nodata(dataset: DatasetReader) -> float | None:
    value, dtype = dataset.nodatavals[0], np.dtype(dataset.dtypes[0])
    if value is None or dtype.kind not in "iuf":
        return None
    return float(dtype.type(value)) if dtype.kind == "f" else value


def _palette(dataset: DatasetReader) -> dict[int, int] | None:
    if ColorInterp.palette not in dataset.colorinterp:
        return None
    return {code: red << 16 | green << 8 | blue for code, (red, green, blue, _) in dataset.colormap(1).items()}


def _sha256(path: Path, sources: Iterable[Path] = ()) -> str:
    """Of a file, the sidecars beside it, and what else it is made of, their names included."""
    digest = hashlib.sha256()
    parts = {*_sidecars(path), *(part for source in sources for part in _parts(source, {path}))} - {path}
    for part in (path, *sorted(parts)):
        with part.open("rb") as file:
            digest.update(f"{part.name}:{hashlib.file_digest(file, 'sha256').hexdigest()};".encode())
    return digest.hexdigest()


def _parts(path: Path, known: set[Path]) -> set[Path]:
    """A file that GDAL reads for another; of a virtual raster also those of which it is made."""
    if path in known or not path.is_file():
        return set()
    if path.suffix.lower() != ".vrt":
        return {path}
    with raster.opened(path) as dataset:
        sources = [Path(file) for file in dataset.files]
    return {path}.union(*(_parts(source, known | {path}) for source in sources))


def _sidecars(path: Path) -> Iterable[Path]:
    """Those that lie beside a file, in small letters or in capitals; of a database also what is not yet merged."""
    names = [path.name + ending for ending in _SIDECARS_OF_NAME]
    names += [path.stem + spelt for ending in _SIDECARS_OF_STEM for spelt in (ending, ending.upper())]
    beside = (path.parent / name for name in names)
    log = path.parent / f"{path.name}-wal"
    return [*(part for part in beside if part.is_file()), *([log] if log.is_file() and log.stat().st_size else [])]
