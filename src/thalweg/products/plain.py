"""Plain rasters: one file per product that holds all bands (`raster`), or a folder with a file per band (`folder`).

Any form that GDAL opens, any dtype of real numbers, any number of bands. Bands of a product may differ in resolution,
not in their place.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader

from thalweg import raster
from thalweg.errors import ProductError
from thalweg.grid import Grid
from thalweg.manifest.products import Product, valid_name
from thalweg.products import Delivery, Layer, Wanted
from thalweg.products.lattice import check_extents, scene_grid, snapped
from thalweg.products.placement import lay

_UNPLACED = (
    "a picture without georeference, laid at an arbitrary place: its distance from other scenes means nothing, and no "
    "leak can be seen between pictures that adjoin on the ground"
)


def open_plain(product: Product, raw: Path, wanted: Wanted) -> Delivery:
    """Opens a product of form `raster` or `folder`; its band list, scale, offset and nodata are those of the params.

    Args:
        product: As fetch recorded it.
        raw: The raw folder.
        wanted: Bands, label bands and resolution.

    Raises:
        ProductError: A wanted band is not in the band list or has no scale, or the files disagree in their place, or
            are not laid out as the band list says, or hold no real numbers.
        RasterError: A file is missing, cannot be read, has no place on the ground or fewer bands than the list says.
    """
    labels = [name for name in wanted.labels if name in product.bands or name not in wanted.optional]
    places = {name: _place(product, raw, name) for name in (*wanted.bands, *labels)}
    headers = {path: _read_header(product, path) for path in {path for path, _ in places.values()}}
    grids = {name: headers[path].grid for name, (path, _) in places.items()}
    check_extents(product.name, grids)
    grid = scene_grid(product.name, grids, wanted.resolution_m)
    layers = {
        name: replace(layer, grid=snapped(layer.grid, grid))
        for name, (path, index) in places.items()
        for layer in [_layer(product, name, headers[path], path, index)]
    }
    placed = all(header.placed for header in headers.values())
    return Delivery(
        product=product.name,
        baseline=None,
        sensing_time=product.date,
        grid=grid,
        bands={name: layers[name] for name in wanted.bands},
        labels={name: layers[name] for name in labels},
        warnings=() if placed else (_UNPLACED,),
        verify=_nothing_stated,
        udm=_udm(product, raw, grid),
        georeferenced=placed,
    )


@dataclass(frozen=True)
class _Header:
    grid: Grid
    placed: bool
    """Whether the file says where it lies, or its params do."""
    nodata: tuple[float | None, ...]
    """The file's own tag per band."""
    masked: tuple[bool, ...]
    """Per band, whether a mask or an alpha band of the file covers it."""


def _read_header(product: Product, path: Path) -> _Header:
    with raster.opened(path) as dataset:
        if strange := [name for name in dataset.dtypes if np.dtype(name).kind not in "iuf"]:
            raise ProductError(f"{path} holds {strange[0]} values, not real numbers; bring it to amplitude or dB first")
        picture = product.pixel_m is not None and dataset.crs is None and dataset.transform.is_identity
        shape_yx = (dataset.height, dataset.width)
        grid = lay(product, shape_yx) if picture else _known_grid(product, dataset, path)
        masked = tuple(MaskFlags.per_dataset in flags for flags in dataset.mask_flag_enums)
        return _Header(grid, not picture, tuple(dataset.nodatavals), masked)


def _known_grid(product: Product, dataset: DatasetReader, path: Path) -> Grid:
    if dataset.crs is None and product.crs is None and not dataset.transform.is_identity:
        raise ProductError(
            f"{path} has a geotransform (a world file) but no CRS; say it by more.crs of fetch.options.products"
        )
    return raster.known_grid(dataset, path, product.crs)


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
        return raw / product.path / place.replace("{stem}", product.name), 1
    kind = "a 1-based band number" if product.form == "raster" else "the name of a file in the folder"
    raise ProductError(
        f"{product.name}: band '{name}' is given as {place!r}, but form '{product.form}' needs {kind}; "
        "correct 'bands' in fetch.options.products"
    )


def _layer(product: Product, name: str, header: _Header, path: Path, index: int) -> Layer:
    _check_index(path, header, index)
    nodata = product.nodata if product.nodata is not None else header.nodata[index - 1]
    return Layer(
        str(path),
        index,
        header.grid,
        of_band(product, name, "scale", product.scale),
        of_band(product, name, "offset", product.offset),
        nodata,
        None,
        product.unit,
        masked=header.masked[index - 1],
    )


def of_band(product: Product, name: str, what: str, given: float | dict[str, float]) -> float:
    """Scale or offset of a band, whether the params give one number for all bands or one for each.

    Raises:
        ProductError: They give none for this band.
    """
    if not isinstance(given, dict):
        return given
    if name not in given:
        raise ProductError(
            f"{product.name}: {what} is given for {', '.join(given)}, but not for band '{name}'; "
            "name every band under fetch.options.products, or give one number for all"
        )
    return given[name]


def _check_index(path: Path, header: _Header, index: int) -> None:
    if not 1 <= index <= len(header.nodata):
        raise ProductError(
            f"{path} has {len(header.nodata)} bands, but its list names band {index}; "
            "correct 'bands' in fetch.options.products"
        )


def _udm(product: Product, raw: Path, grid: Grid) -> tuple[Layer, tuple[int, ...]] | None:
    """The band of the product's mask of usable pixels, and its values that mean so."""
    valid = product.valid
    if valid is None:
        return None
    whole = raw / product.path
    path = whole / valid_name(valid, whole.name) if product.form == "folder" else (
        whole.with_name(valid_name(valid, whole.stem)))  # fmt: skip
    header = _read_header(product, path)
    _check_index(path, header, valid.band)
    check_extents(product.name, {"the scene": grid, path.name: header.grid})
    return Layer(str(path), valid.band, snapped(header.grid, grid), 1.0, 0.0, None, None, "1"), valid.values


def _nothing_stated() -> None:
    """A plain raster states no checksum; a truncated one raises when it is decoded."""
