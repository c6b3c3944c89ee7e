"""Plain rasters: one file per product that holds all bands (`raster`), or a folder with a file per band (`folder`)."""

from dataclasses import dataclass
from pathlib import Path

from rasterio.enums import MaskFlags

from thalweg import raster
from thalweg.errors import ProductError
from thalweg.grid import Grid
from thalweg.manifest.products import Product
from thalweg.products import Delivery, Layer, Wanted, words


def open_plain(product: Product, raw: Path, wanted: Wanted) -> Delivery:
    """Opens a product of form `raster` or `folder`; its band list, scale, offset and nodata are those of the params.

    Args:
        product: As fetch recorded it.
        raw: The raw folder.
        wanted: Bands, label bands and resolution.

    Raises:
        ProductError: A wanted band is not in the band list, or the files disagree in their grids or with the wanted
            resolution, or are not laid out as the band list says.
        RasterError: A file is missing, cannot be read, has no CRS or has fewer bands than the list says.
    """
    places = {name: _place(product, raw, name) for name in (*wanted.bands, *wanted.labels)}
    headers = {path: _read_header(path) for path in {path for path, _ in places.values()}}
    layers = {name: _layer(product, name, headers[path], path, index) for name, (path, index) in places.items()}
    grid = _common_grid(product, {name: headers[path].grid for name, (path, _) in places.items()})
    _check_resolution(product, grid, wanted.resolution_m)
    return Delivery(
        product=product.name,
        baseline=None,
        sensing_time=product.date,
        grid=grid,
        bands={name: layers[name] for name in wanted.bands},
        labels={name: layers[name] for name in wanted.labels},
        warnings=(),
        verify=_nothing_stated,
    )


@dataclass(frozen=True)
class _Header:
    grid: Grid
    nodata: tuple[float | None, ...]
    """The file's own tag per band."""
    masked: tuple[bool, ...]
    """Per band, whether a mask or an alpha band of the file covers it."""


def _read_header(path: Path) -> _Header:
    grid = raster.read_grid(path)
    with raster.opened(path) as dataset:
        masked = tuple(MaskFlags.per_dataset in flags for flags in dataset.mask_flag_enums)
        return _Header(grid, tuple(dataset.nodatavals), masked)


def _place(product: Product, raw: Path, name: str) -> tuple[Path, int]:
    """File and 1-based band of a named band."""
    if name not in product.bands:
        raise ProductError(
            f"{product.name} has no band '{name}' in its list ({', '.join(product.bands)}); "
            "correct 'bands' in params.yaml under fetch.options.products or under grids"
        )
    place = product.bands[name]
    if product.form == "raster" and isinstance(place, int):
        return raw / product.path, place
    if product.form == "folder" and isinstance(place, str) and Path(place).name == place:
        return raw / product.path / place, 1
    kind = "a 1-based band number" if product.form == "raster" else "the name of a file in the folder"
    raise ProductError(
        f"{product.name}: band '{name}' is given as {place!r}, but form '{product.form}' needs {kind}; "
        "correct 'bands' in fetch.options.products"
    )


def _layer(product: Product, name: str, header: _Header, path: Path, index: int) -> Layer:
    if not 1 <= index <= len(header.nodata):
        raise ProductError(
            f"{path} has {len(header.nodata)} bands, but its list names band {index}; "
            "correct 'bands' in fetch.options.products"
        )
    scale = product.scale[name] if isinstance(product.scale, dict) else product.scale
    offset = product.offset[name] if isinstance(product.offset, dict) else product.offset
    nodata = product.nodata if product.nodata is not None else header.nodata[index - 1]
    return Layer(
        str(path),
        index,
        header.grid,
        scale,
        offset,
        nodata,
        None,
        product.unit,
        masked=header.masked[index - 1],
    )


def _common_grid(product: Product, grids: dict[str, Grid]) -> Grid:
    first, grid = next(iter(grids.items()))
    for name, other in grids.items():
        same = other.crs_wkt == grid.crs_wkt and other.shape_yx == grid.shape_yx
        if not same or not other.transform.almost_equals(grid.transform, 1e-3 * abs(grid.transform.a)):
            raise ProductError(
                f"{product.name}: band {name} ({words(other)}) lies on another grid than {first} ({words(grid)}); "
                "bring all bands of a product onto one grid, or drop the band from params.yaml"
            )
    return grid


def _check_resolution(product: Product, grid: Grid, resolution_m: int | None) -> None:
    pixel = abs(grid.transform.a), abs(grid.transform.e)
    if resolution_m is not None and any(abs(edge - resolution_m) > 1e-3 * resolution_m for edge in pixel):
        raise ProductError(
            f"{product.name} has pixels of {pixel[0]:g} × {pixel[1]:g} CRS units, but the grid asks for "
            f"{resolution_m}; set its resolution_m to null to take plain rasters as they are"
        )


def _nothing_stated() -> None:
    """A plain raster states no checksum; a truncated one raises when it is decoded."""
