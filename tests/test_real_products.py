"""Equality with an independent reading, on real products: the scene's values at random places on the ground are those
that rasterio's own calls find there in the delivered files, and its mask likewise.

To add a product, add a `Real` to the list. Skipped where ../shared/data is not here.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from product_builder import CLASSES, build, grid_params, index, make_safe, mask_params, valid_params
from pyproj import Transformer
from rasterio.transform import rowcol

from thalweg import raster
from thalweg.errors import DegradedDataWarning, ProductError, RasterError
from thalweg.manifest.products import Product, read_products, write_products
from thalweg.params.classes import Classes
from thalweg.params.grids import Further
from thalweg.preprocess import build_scenes
from thalweg.sources import describe_files

DATA = Path(__file__).parents[2] / "shared/data"
PLACES = 1000
NODATA = -32768
real = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here")
BANDS_60M = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B09", "B11", "B12")
BANDS_13 = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
BARKBEETLE = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
T33TVM = "s2_l2a_safe_T33TVM_N0511/S2A_MSIL2A_20241014T101021_N0511_R022_T33TVM_20241014T142251.SAFE"
T33SVB = "s2_l2a_safe_crop_T33SVB_N0211/S2A_MSIL2A_20181229T095411_N0211_R079_T33SVB_20181229T112231.SAFE"
BELGIUM = ("B02", "B03", "B04", "B08", "B8A", "B11")


@dataclass(frozen=True)
class Real:
    """One real product, how it is read by Thalweg, and what rasterio must find."""

    path: str
    form: str
    bands: tuple[str, ...]
    resolution_m: int | None
    files: dict[str, tuple[str, int]]
    """Band → glob below the product (or the product itself, ''), and 1-based band: for the independent reading."""
    offset: float = 0.0
    scale: float = 1e-4
    nodata: float | None = 0.0
    unit: str = "reflectance"
    stored: float = 1e-4
    """Physical value of a step of image.tif."""
    mask: str | None = None
    """A file below ../shared/data whose values the mask has, or the glob of a label band in the product."""
    label: str | None = None
    warned: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{Path(self.path).stem[:40]}-{self.resolution_m}"


def safe_files(bands: tuple[str, ...], metres: int) -> dict[str, tuple[str, int]]:
    return {band: (f"*_{band}_{metres}m.jp2", 1) for band in bands}


PRODUCTS = [
    Real(T33TVM, "safe", BANDS_60M, 60, safe_files(BANDS_60M, 60), -1000.0, mask="*_SCL_60m.jp2", label="SCL"),
    Real(T33SVB, "safe", ("B02", "B03", "B04", "B08"), 10, safe_files(("B02", "B03", "B04", "B08"), 10), warned=True),
    Real(T33SVB, "safe", ("B05", "B8A", "B12"), 20, safe_files(("B05", "B8A", "B12"), 20), warned=True),
    Real(T33SVB, "safe", ("B01", "B09"), 60, safe_files(("B01", "B09"), 60), warned=True),
    *(
        Real(f"s2_l2a_120m_SCL/{name}", "folder", ("B02", "B03", "B04", "B08"), 120,
             {band: (f"{band}.tif", 1) for band in ("B02", "B03", "B04", "B08")}, mask="SCL.tif", label="SCL")
        for name in ("S2A_33TWM_20230818_0_L2A", "S2A_33TWL_20230818_0_L2A", "S2B_33TWL_20230810_0_L2A")
    ),
    *(
        Real(f"s2_barkbeetle_12band/s2_2020-09/geojson_{chip}.tif", "raster", BARKBEETLE, None,
             {band: ("", number) for number, band in enumerate(BARKBEETLE, 1)},
             mask=f"s2_barkbeetle_12band/masks_train/mask_{chip}.tif")
        for chip in ("205232", "205275", "205313")
    ),
    Real("sen1floods11_sample/S2/Spain_7370579_S2Hand.tif", "raster", BANDS_13, None,
         {band: ("", number) for number, band in enumerate(BANDS_13, 1)},
         mask="sen1floods11_sample/Labels/Spain_7370579_LabelHand.tif"),
    Real("sen1floods11_sample/S1/Spain_7370579_S1Hand.tif", "raster", ("VV", "VH"), None,
         {"VV": ("", 1), "VH": ("", 2)}, scale=1.0, nodata=None, unit="dB", stored=0.01),
    Real("dem_and_landcover/belgium_s2_srtm", "folder", BELGIUM, 10,
         {band: (f"ref_input_S2_{band}.tif", 1) for band in BELGIUM}, nodata=None),
]  # fmt: skip


def place(product: Real, tmp_path: Path) -> Path:
    """The product in a raw folder, as fetch would link it."""
    source = DATA / product.path
    raw = tmp_path / "raw"
    raw.mkdir()
    target = raw / source.name
    target.symlink_to(source)
    bands: dict[str, int | str] = {}
    if product.form == "raster":
        bands = {band: number for band, (_, number) in product.files.items()}
    elif product.form == "folder":
        bands = {band: name for band, (name, _) in product.files.items()}
        if product.label:
            bands[product.label] = str(product.mask)
    described = Product(
        name=source.stem, form=product.form, path=source.name, files=() if product.form == "safe" else describe_files(source, source.parent),
        bands=bands, scale=product.scale, offset=product.offset if product.form != "safe" else 0.0,
        nodata=product.nodata, date=None, unit=product.unit,
    )  # fmt: skip
    write_products([described], raw)
    return source


def find(source: Path, pattern: str) -> Path:
    return source if not pattern else next(iter(sorted(source.rglob(pattern))))


def codes_to_names(values: np.ndarray) -> tuple[dict[str, str], Classes]:
    """A class for each value above zero."""
    names = {int(value): f"v{value}".replace("-", "minus") for value in np.unique(values) if value}
    legend = [{"name": "zero", "color": "#000000"}] + [{"name": name, "color": "#ffffff"} for name in names.values()]
    return {str(value): name for value, name in names.items()}, Classes.model_validate({"legend": tuple(legend)})


def build_real(product: Real, tmp_path: Path):
    source = place(product, tmp_path)
    masks, classes = mask_params(), CLASSES
    if product.mask:
        path = find(source, product.mask) if product.label else DATA / product.mask
        with rasterio.open(path) as dataset:
            values, classes = codes_to_names(dataset.read(1))
        where = {"band": product.label} if product.label else {"patterns": (path.name,)}
        masks = mask_params(values=values, outside="unlabelled", **where)
    grid = grid_params(resolution_m=product.resolution_m, bands=product.bands)
    mask_folder = (DATA / product.mask).parent if product.mask and not product.label else tmp_path
    target = tmp_path / "scenes"
    build_scenes(tmp_path / "raw", mask_folder, "g", grid, masks, classes, target, tmp_path / "store")
    return source, next(target.iterdir()), classes


def sampled(path: Path, number: int, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    with rasterio.open(path) as dataset:
        rows, cols = rowcol(dataset.transform, xs, ys)
        return np.asarray(dataset.read(number)[np.asarray(rows, int), np.asarray(cols, int)])


@real
@pytest.mark.parametrize("product", PRODUCTS, ids=str)
def test_values_at_random_places_are_those_of_the_files(product, tmp_path):
    if product.warned:
        with pytest.warns(DegradedDataWarning):
            source, scene, classes = build_real(product, tmp_path)
    else:
        source, scene, classes = build_real(product, tmp_path)
    rng = np.random.default_rng(4)
    with rasterio.open(scene / "image.tif") as image:
        cols, rows = rng.integers(0, image.width, PLACES), rng.integers(0, image.height, PLACES)
        inside = rng.uniform(0.02, 0.98, (2, PLACES))  # a place on the line between two pixels belongs to either
        xs, ys = image.transform @ (cols + inside[0], rows + inside[1])
    for number, band in enumerate(product.bands, 1):
        pattern, index_of = product.files[band]
        digital = sampled(find(source, pattern), index_of, xs, ys).astype(float)
        got = sampled(scene / "image.tif", number, xs, ys)
        nodata = 65535.0 if product.nodata is None and product.form == "folder" else product.nodata
        absent = np.isnan(digital) if nodata is None else digital == nodata
        wanted = (digital + product.offset) * product.scale
        assert ((got == NODATA) == absent).all(), band
        clipped = np.clip(wanted, -32767 * product.stored, 32767 * product.stored)
        error = np.abs(got * product.stored - clipped)[~absent]
        assert error.max(initial=0) <= product.stored * (0.501 if product.unit == "dB" else 0.01), band
    if product.mask:
        path = find(source, product.mask) if product.label else DATA / product.mask
        values = sampled(path, 1, xs, ys).astype(int)
        named = {name.replace("minus", "-"): number for number, name in enumerate(classes.names)}
        ids = {int(name.removeprefix("v")) if name != "zero" else 0: number for name, number in named.items()}
        assert (sampled(scene / "mask.tif", 1, xs, ys) == np.vectorize(ids.get)(values)).all()


@real
def test_radar_beside_a_real_optical_chip(tmp_path):
    """Sentinel-1 dB as further channels on the optical chip's own lattice."""
    raw = tmp_path / "raw"
    raw.mkdir()
    products = []
    for folder, bands, unit, scale in (
        ("S2", {"B04": 4, "B08": 8}, "reflectance", 1e-4),
        ("S1", {"VV": 1, "VH": 2}, "dB", 1.0),
    ):
        path = next((DATA / "sen1floods11_sample" / folder).glob("*.tif"))
        (raw / path.name).symlink_to(path)
        products += index(raw, raw / path.name, form="raster", bands=bands, scale=scale, nodata=None, unit=unit)
    write_products(products, raw)
    rule = Further(products="*S1Hand", bands=("VV", "VH"), resampling="bilinear", within_days=None, missing="error")
    grid = grid_params(resolution_m=None, bands=("B04", "B08"), further=(rule,))
    (scene,) = build(tmp_path, grid).values()
    with rasterio.open(next((DATA / "sen1floods11_sample/S1").glob("*.tif"))) as dataset:
        decibels = dataset.read()
    for number in (0, 1):
        got, there = scene.image[:, :, 2 + number], np.isfinite(decibels[number])
        assert ((got != NODATA) == there).all()
        assert np.abs(got * 0.01 - decibels[number])[there].max() <= 0.00501


@real
def test_real_height_tile_as_a_channel(tmp_path):
    """SRTM under the Belgian scene: bilinear between posts, worked out here with pyproj and numpy."""
    raw = tmp_path / "raw"
    raw.mkdir()
    home = DATA / "dem_and_landcover/belgium_s2_srtm"
    (raw / "scene.tif").symlink_to(home / "ref_input_S2_B04.tif")
    tile = home / "N51E005.SRTMGL1.hgt.zip"
    (raw / tile.name).symlink_to(tile)
    (scene,) = index(raw, raw / "scene.tif", form="raster", bands={"B04": 1}, nodata=None)
    (dem,) = index(raw, raw / tile.name, form="raster", bands={"elevation": 1}, role="elevation", unit="m", scale=1.0)
    write_products([scene, dem], raw)
    (built,) = build(tmp_path, grid_params(resolution_m=10, bands=("B04",), channels=("elevation",))).values()
    with rasterio.open(f"/vsizip/{tile}/N51E005.hgt") as dataset:
        posts, transform = dataset.read(1).astype(float), dataset.transform
    rng = np.random.default_rng(4)
    rows, cols = rng.integers(0, 1024, PLACES), rng.integers(0, 512, PLACES)
    xs, ys = built.grid.transform @ (cols + 0.5, rows + 0.5)
    lon, lat = Transformer.from_crs(32631, 4326, always_xy=True).transform(xs, ys)
    col, row = ~transform @ (lon, lat)
    col, row = col - 0.5, row - 0.5
    top, left = np.floor(row).astype(int), np.floor(col).astype(int)
    down, across = row - top, col - left
    wanted = (
        posts[top, left] * (1 - down) * (1 - across) + posts[top, left + 1] * (1 - down) * across
        + posts[top + 1, left] * down * (1 - across) + posts[top + 1, left + 1] * down * across
    )  # fmt: skip
    assert np.abs(built.image[rows, cols, 1] * 0.5 - wanted).max() <= 0.26


# Bad input: each way in which a real file is broken ------------------------------------------------------------------


@real
@pytest.mark.parametrize("name", ["*T55JEJ*", "*T56JMM*"])
@pytest.mark.parametrize("metres", [10, 20, 60])
def test_l1c_whose_sizes_disagree_with_its_metadata(tmp_path, name, metres):
    path = next((DATA / "s2_l1c_safe_zip").glob(name))
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / path.name).symlink_to(path)
    index(tmp_path / "raw", tmp_path / "raw" / path.name)
    with pytest.raises(ProductError, match=r"does not fit MTD_TL\.xml, which says .*it was resampled or mixed up"):
        build(tmp_path, grid_params(resolution_m=metres, bands=("B02", "B05", "B10")))


@real
def test_scl_code_12_of_a_lossy_jp2(tmp_path):
    """Impossible codes are unusable and counted, where SCL says what is valid; as labels they need a meaning."""
    name = "S2A_33TWM_20230818_0_L2A"
    product = Real(
        f"s2_l2a_120m_SCL/{name}", "folder", ("B02",), 120, {"B02": ("B02.tif", 1)}, mask="SCL.tif", label="SCL"
    )
    place(product, tmp_path)
    with rasterio.open(DATA / "s2_l2a_120m_SCL" / name / "SCL.tif") as dataset:
        codes = dataset.read(1)
    strange = np.count_nonzero(codes == 12)
    assert strange > 0
    grid = grid_params(resolution_m=120, bands=("B02",), valid=valid_params(scl=(0, 3, 8, 9, 10)))
    with pytest.warns(DegradedDataWarning, match=rf"SCL holds codes that are no class: 12 \({strange} pixels\)"):
        (scene,) = build(tmp_path, grid).values()
    assert (scene.valid[codes == 12] == 0).all()


@real
def test_crs_in_a_sidecar_only(tmp_path):
    """With it, the scene lies where it says; without it, one sentence says how to give it one."""
    name = "S2A_33TWM_20230818_0_L2A"
    for folder, endings in (("with", ("B02.tif", "B02.tif.aux.xml")), ("without", ("B02.tif",))):
        home = tmp_path / folder / "raw" / name
        home.mkdir(parents=True)
        for ending in endings:
            (home / ending).symlink_to(DATA / "s2_l2a_120m_SCL" / name / ending)
        index(home.parent, home, form="folder", bands={"B02": "B02.tif"})
    grid = grid_params(resolution_m=120, bands=("B02",))
    (scene,) = build(tmp_path / "with", grid).values()
    assert (scene.grid.crs.to_epsg(), scene.grid.transform.a) == (32633, 120)
    with pytest.raises(RasterError, match=r"B02\.tif has no CRS, so its place .*gdal_edit\.py -a_srs EPSG:…"):
        build(tmp_path / "without", grid)


@real
@pytest.mark.parametrize("name", ["img-16bit", "preview_B04_no_crs"])
def test_jp2_without_crs(tmp_path, name):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / f"{name}.jp2").symlink_to(DATA / "jp2_edge_cases" / f"{name}.jp2")
    index(tmp_path / "raw", tmp_path / "raw" / f"{name}.jp2", form="raster", bands={"B04": 1})
    with pytest.raises(RasterError, match=rf"{name}\.jp2 has no CRS, so its place on the ground is unknown; set one"):
        build(tmp_path, grid_params(resolution_m=None, bands=("B04",)))


@real
def test_jp2_of_15_bits_holds_its_codes(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/codes.jp2").symlink_to(DATA / "jp2_edge_cases/img-15bit.jp2")
    index(
        tmp_path / "raw", tmp_path / "raw/codes.jp2", form="raster", bands={"SCL": 1}, scale=1.0, nodata=None, unit="DN"
    )
    (scene,) = build(tmp_path, grid_params(resolution_m=60, bands=("SCL",))).values()
    with rasterio.open(DATA / "jp2_edge_cases/img-16bit.jp2") as dataset:  # the same pixels
        assert (scene.image[:, :, 0] == dataset.read(1)).all()


@real
def test_jp2_of_a_preview_is_read_at_its_own_pixels(tmp_path):
    path = DATA / "jp2_edge_cases/preview_B01_with_crs.jp2"
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/preview.jp2").symlink_to(path)
    index(tmp_path / "raw", tmp_path / "raw/preview.jp2", form="raster", bands={"B01": 1})
    (scene,) = build(tmp_path, grid_params(resolution_m=None, bands=("B01",))).values()
    with rasterio.open(path) as dataset:
        values = dataset.read(1).astype(int)
    assert (scene.image[:, :, 0] == np.where(values == 0, NODATA, values)).all()


@real
def test_product_without_scl(tmp_path):
    """The crop of 02.11 has none: one sentence without a stand-in, its own cloud mask with product_masks."""
    product = Real(T33SVB, "safe", ("B02",), 10, safe_files(("B02",), 10))
    place(product, tmp_path)
    grid = grid_params(resolution_m=10, bands=("B02",), valid=valid_params(scl=(3, 8, 9, 10)))
    with pytest.raises(ProductError, match=r"has no SCL image; deliver it, or.* valid\.scl to \[\]"):
        build(tmp_path, grid)
    own = grid.model_copy(update={"valid": valid_params(scl=(3, 8, 9, 10), product_masks=True)})
    with pytest.warns(DegradedDataWarning, match="states no quantification"):
        (scene,) = build(tmp_path, own, out="own").values()
    assert 0 <= scene.valid.mean() <= 1


def test_bands_that_none_delivers_name_what_there_is(tmp_path):
    safe = make_safe(tmp_path / "made")
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / safe.name).symlink_to(safe)
    index(raw, raw / safe.name)
    assert read_products(raw)
    with pytest.raises(ProductError, match="has no band B10, at no resolution; it has B01, B02"):
        build(tmp_path, grid_params(bands=("B10",)))
    assert raster.read_grid(next(safe.rglob("*_B02_20m.jp2"))).transform.a == 20
