"""Heights and slopes: known planes, borders of tiles, voids, windows, and the real tiles read independently."""

import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from replay import ROOT

from thalweg import raster
from thalweg.elevation import elevation_on, slope_on
from thalweg.errors import RasterError
from thalweg.grid import Grid, Window

DATA = ROOT.parent / "shared/data/dem_and_landcover"
real = pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is not here: real height models")
UTM = Grid("EPSG:32632", Affine(10, 0, 500_000, 0, -10, 5_000_000), (60, 50))


def make_tile(path: Path, heights: np.ndarray, west: float, north: float, step: float | tuple[float, float], *,
              crs: str = "EPSG:4326", nodata: float | None = None) -> Path:  # fmt: skip
    """A tile whose first post, the centre of its first pixel, lies at (west, north)."""
    wide, high = step if isinstance(step, tuple) else (step, step)
    grid = Grid(crs, Affine(wide, 0, west - wide / 2, 0, -high, north + high / 2), heights.shape)
    raster.write(path, heights, grid, nodata)
    return path


def posts(west: float, north: float, wide: float, high: float, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of a tile's posts."""
    return np.meshgrid(west + wide * np.arange(shape[1]), north - high * np.arange(shape[0]))


def centres(grid: Grid, crs: str) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of all pixel centres in another CRS, by pyproj alone."""
    cols, rows = np.meshgrid(np.arange(grid.shape_yx[1]) + 0.5, np.arange(grid.shape_yx[0]) + 0.5)
    a, _, c, _, e, f = grid.transform[:6]
    return Transformer.from_crs(grid.crs_wkt, crs, always_xy=True).transform(a * cols + c, e * rows + f)


def rough(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 900, shape).astype(np.float32)


def whole(tiles: tuple[Path, ...], grid: Grid) -> np.ndarray:
    return elevation_on(tiles, grid, grid.full)


def test_a_plane_is_kept_by_interpolation(tmp_path):
    lon, lat = posts(8.99, 45.17, 1 / 3600, 1 / 3600, (80, 80))
    tile = make_tile(
        tmp_path / "t.tif", (1000 + 2e4 * (lon - 9) - 3e4 * (lat - 45)).astype(np.float32), 8.99, 45.17, 1 / 3600
    )
    x, y = centres(UTM, "EPSG:4326")
    found = whole((tile,), UTM)
    assert found.dtype == np.float32
    assert found == pytest.approx(1000 + 2e4 * (x - 9) - 3e4 * (y - 45), abs=0.02)


@pytest.mark.parametrize(("east", "north", "degrees"), [(0.1, 0.0, 5.7106), (0.0, -1.0, 45.0), (0.3, 0.4, 26.5651)])
def test_a_tilted_plane_has_its_slope(tmp_path, east, north, degrees):
    x, y = posts(499_000, 5_001_000, 30, 30, (100, 100))
    heights = (east * (x - 499_000) + north * (y - 5_001_000)).astype(np.float32)
    tile = make_tile(tmp_path / "t.tif", heights, 499_000, 5_001_000, 30, crs="EPSG:32632")
    found = slope_on((tile,), UTM, UTM.full)
    assert found.dtype == np.float32
    assert found == pytest.approx(np.full(UTM.shape_yx, degrees), abs=0.02)  # UTM's metres are 0.04 % short there


def test_slope_in_degrees_and_in_mercator_is_that_of_the_ground(tmp_path):
    """At 60° of latitude a degree of longitude is half as long, and a metre of EPSG:3857 is half a metre."""
    lon, _ = posts(9.99, 60.06, 1 / 3600, 1 / 3600, (300, 120))
    tile = make_tile(tmp_path / "t.tif", (1e4 * (lon - 10)).astype(np.float32), 9.99, 60.06, 1 / 3600)
    per_metre = 1e4 / (111_412.84 * np.cos(np.radians(60)) - 93.5 * np.cos(np.radians(180)))
    expected = np.degrees(np.arctan(per_metre))  # 10.15°
    degrees = Grid("EPSG:4326", Affine(1e-4, 0, 10, 0, -1e-4, 60.002), (40, 40))
    x, y = Transformer.from_crs(4326, 3857, always_xy=True).transform(10, 60.002)
    mercator = Grid("EPSG:3857", Affine(20, 0, x, 0, -20, y), (40, 40))
    for grid in (degrees, mercator):
        assert slope_on((tile,), grid, grid.full) == pytest.approx(np.full(grid.shape_yx, expected), abs=0.03)


@pytest.mark.parametrize("shared", [0, 1], ids=["GLO-30", "SRTM, whose tiles share a row"])
def test_no_seam_where_tiles_meet(tmp_path, shared):
    heights = rough((90, 90))
    step = 1 / 3600
    one = make_tile(tmp_path / "one.tif", heights, 8.99, 45.165, step)
    parts = tuple(
        make_tile(tmp_path / f"{row}{col}.tif", heights[row : row + 45 + shared, col : col + 40 + shared],
                  8.99 + col * step, 45.165 - row * step, step)
        for row in (0, 45) for col in (0, 40, 80)
    )  # fmt: skip
    for make in (elevation_on, slope_on):
        found = make((one,), UTM, UTM.full)
        assert np.isfinite(found).all()
        assert (make(parts, UTM, UTM.full) == found).all()


def test_no_seam_where_columns_widen(tmp_path):
    """GLO-30 has 3600 columns to a degree below 50° of latitude, and 2400 above."""
    grid = Grid("EPSG:32632", Affine(10, 0, 500_000, 0, -10, 5_538_931), (60, 50))  # 50° N lies in its middle
    high, border = 1 / 3600, 50.0
    south = posts(8.99, border, 1 / 3600, high, (40, 80))
    north = posts(8.99, border + 40 * high, 1 / 2400, high, (40, 80))
    plane = [(1e4 * (lon - 9) + 2e4 * (lat - 50)).astype(np.float32) for lon, lat in (south, north)]
    tiles = (make_tile(tmp_path / "s.tif", plane[0], 8.99, border, high),
             make_tile(tmp_path / "n.tif", plane[1], 8.99, border + 40 * high, (1 / 2400, high)))  # fmt: skip
    lon, lat = centres(grid, "EPSG:4326")
    assert lat.min() < border < lat.max()
    between = (lat > border) & (lat < border + high)
    assert between.any()
    assert whole(tiles, grid) == pytest.approx(1e4 * (lon - 9) + 2e4 * (lat - 50), abs=0.02)
    assert whole(tiles[::-1], grid) == pytest.approx(whole(tiles, grid), abs=1e-3)


def test_the_finer_of_two_models_counts_and_the_coarser_fills_its_holes(tmp_path):
    fine = np.full((400, 400), 100, np.float32)
    fine[:, 200:] = np.nan
    fine_tile = make_tile(tmp_path / "f.tif", fine, 499_990, 5_000_010, 5, crs="EPSG:32632", nodata=np.nan)
    coarse = make_tile(tmp_path / "c.tif", np.full((30, 30), 7, np.float32), 499_900, 5_000_100, 60, crs="EPSG:32632")
    found = whole((coarse, fine_tile), UTM)
    assert (found[:, :50] == 100).all()
    wider = Grid(UTM.crs_wkt, UTM.transform, (60, 150))
    found = whole((coarse, fine_tile), wider)
    assert (found[:, :98] == 100).all()  # last post of 100 m at 500 985 m
    assert (found[:, 100:] == 7).all()


def test_of_two_tiles_on_one_lattice_the_first_counts(tmp_path):
    first, second = (make_tile(tmp_path / f"{h}.tif", np.full((80, 80), h, np.float32), 8.99, 45.165, 1 / 3600)
                     for h in (1, 2))  # fmt: skip
    assert (whole((first, second), UTM) == 1).all()
    assert (whole((second, first), UTM) == 2).all()


def test_a_missing_tile_and_a_void_are_no_height(tmp_path):
    """On the grid's own lattice a pixel is a post; half a post further, two posts weigh the same."""
    heights = np.arange(100, dtype=np.int16).reshape(10, 10)
    heights[4, 4] = -32768  # without a tag
    heights[7, 7] = 99
    tile = make_tile(tmp_path / "t.tif", heights, 500_005, 4_999_995, 10, crs="EPSG:32632", nodata=99)
    grid = Grid(UTM.crs_wkt, UTM.transform, (12, 12))
    found = whole((tile,), grid)
    known = np.zeros((12, 12), bool)
    known[:10, :10] = heights != -32768
    known[7, 7] = known[9, 9] = False
    assert (np.isfinite(found) == known).all()
    assert (found[:10, :10][known[:10, :10]] == heights[known[:10, :10]]).all()
    shifted = whole((tile,), Grid(UTM.crs_wkt, UTM.transform @ Affine.translation(0.4, 0), (12, 12)))
    assert np.isfinite(shifted[0, :12]).tolist() == [True] * 10 + [False] * 2
    assert np.isnan(shifted[4, 4])  # 0.6 of the weight on the void
    assert shifted[4, 3] == pytest.approx(43)  # 0.4
    slope = slope_on((tile,), grid, grid.full)
    assert np.isnan(slope[3:6, 3:6]).all()
    assert np.isfinite(slope[1, 1:9]).all()


def test_where_no_tile_lies_there_is_no_height(tmp_path):
    far = make_tile(tmp_path / "t.tif", rough((10, 10)), 100, 10, 1 / 3600)
    assert np.isnan(whole((far,), UTM)).all()
    assert np.isnan(whole((), UTM)).all()
    assert np.isnan(slope_on((far,), UTM, UTM.full)).all()


def test_tiles_on_both_sides_of_the_antimeridian(tmp_path):
    step = 1 / 3600
    lon, _ = posts(179.9, -16, step, step, (300, 360))
    east = make_tile(tmp_path / "e.tif", (1e4 * (lon - 179)).astype(np.float32), 179.9, -16, step)
    lon, _ = posts(-180, -16, step, step, (300, 360))
    west = make_tile(tmp_path / "w.tif", (1e4 * (lon + 181)).astype(np.float32), -180, -16, step)
    x, y = Transformer.from_crs(4326, 32760, always_xy=True).transform(179.99, -16.02)
    grid = Grid("EPSG:32760", Affine(20, 0, x, 0, -20, y), (50, 150))
    lon, _ = centres(grid, "EPSG:4326")
    assert lon.min() < -179
    expected = 1e4 * (np.where(lon < 0, lon + 360, lon) - 179)
    assert whole((east, west), grid) == pytest.approx(expected, abs=0.01)
    assert whole((west, east), grid) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("west", [-180, 0])
@pytest.mark.parametrize("lon", [180, 0, -62])
def test_one_tile_of_the_whole_earth(west, lon, tmp_path):
    """Heights that depend on latitude alone: no seam, and no hole, wherever the file ends."""
    lat = 89.5 - np.arange(180)
    tile = make_tile(tmp_path / "t.tif", np.tile(lat.astype(np.float32)[:, None], (1, 360)), west + 0.5, 89.5, 1.0)
    zone = f"EPSG:327{60 if lon == 180 else int((lon + 180) // 6) + 1:02d}"
    x, y = Transformer.from_crs(4326, zone, always_xy=True).transform(lon, -17.5)
    grid = Grid(zone, Affine(100, 0, x - 5000, 0, -100, y + 5000), (100, 100))
    assert whole((tile,), grid) == pytest.approx(centres(grid, "EPSG:4326")[1], abs=1e-4)


def test_scale_offset_and_mask_of_a_tile_count(tmp_path):
    """Decimetres above 100 m, measured in the upper half."""
    tile = make_tile(tmp_path / "t.tif", np.full((60, 60), 250, np.int16), 499_900, 5_000_100, 30, crs=UTM.crs_wkt)
    there = np.zeros((60, 60), np.uint8)
    there[:15] = 255  # its posts end at 4 999 680 m
    with rasterio.open(tile, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.1,), (100.0,)
        dataset.write_mask(there)
    heights = whole((tile,), UTM)
    assert heights[:33] == pytest.approx(np.full((33, 50), 125.0), abs=1e-4)  # half of the weight is at 4 999 665 m
    assert np.isnan(heights[34:]).all()


@settings(max_examples=25, deadline=None)
@given(row=st.integers(-5, 55), col=st.integers(-5, 45), height=st.integers(1, 30), width=st.integers(1, 30))
def test_windows_meet_exactly(tmp_path_factory, row, col, height, width):
    folder = tmp_path_factory.getbasetemp()
    tile = folder / "windows.tif"
    if not tile.exists():
        heights = rough((90, 90))
        heights[30:33, 30:33] = np.nan
        make_tile(tile, heights, 8.99, 45.165, 1 / 3600)
    window = Window(row, col, height, width)
    for make in (elevation_on, slope_on):
        all_of_it = make((tile,), UTM, Window(-10, -10, 110, 100))
        found = make((tile,), UTM, window)
        expected = all_of_it[row + 10 : row + 10 + height, col + 10 : col + 10 + width]
        assert np.array_equal(found, expected, equal_nan=True)


def make_hgt(folder: Path) -> Path:
    """N45E009 in SRTM's form, 1201 × 1201, zipped; its heights are column + row."""
    heights = np.add.outer(np.arange(1201), np.arange(1201)).astype(np.int16)
    heights[0, 0] = -32768
    grid = Grid("EPSG:4326", Affine(1 / 1200, 0, 9 - 1 / 2400, 0, -1 / 1200, 46 + 1 / 2400), (1201, 1201))
    plain = folder / "N45E009.hgt"
    with rasterio.open(plain, "w", driver="SRTMHGT", height=1201, width=1201, count=1, dtype="int16",
                       crs=grid.crs_wkt, transform=grid.transform, nodata=-32768) as dataset:  # fmt: skip
        dataset.write(heights, 1)
    packed = folder / "N45E009.SRTMGL3.hgt.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(plain, plain.name)
    return packed


def test_a_zipped_hgt(tmp_path):
    packed = make_hgt(tmp_path)
    grid = Grid("EPSG:4326", Affine(1 / 1200, 0, 9 - 1 / 2400, 0, -1 / 1200, 46 + 1 / 2400), (20, 30))
    found = whole((packed,), grid)
    assert np.isnan(found[0, 0])
    assert (found[5:] == np.add.outer(np.arange(5, 20), np.arange(30))).all()


def test_tiles_that_are_none(tmp_path):
    (tmp_path / "broken.hgt.zip").write_bytes(b"PK not so")
    with pytest.raises(RasterError, match=r"broken\.hgt\.zip is not a whole zip .*; deliver the tile again"):
        whole((tmp_path / "broken.hgt.zip",), UTM)
    with zipfile.ZipFile(tmp_path / "empty.hgt.zip", "w") as archive:
        archive.writestr("readme.txt", "")
    with pytest.raises(RasterError, match=r"empty\.hgt\.zip holds 0 height files, but a zipped tile holds one"):
        whole((tmp_path / "empty.hgt.zip",), UTM)
    with pytest.raises(RasterError, match=r"gone\.tif is missing; deliver the file again"):
        whole((tmp_path / "gone.tif",), UTM)
    with rasterio.open(tmp_path / "bare.tif", "w", driver="GTiff", height=2, width=2, count=1, dtype="float32",
                       transform=Affine(1, 0, 5, 0, -1, 5)) as dataset:  # fmt: skip
        dataset.write(np.ones((1, 2, 2), np.float32))
    with pytest.raises(RasterError, match=r"bare\.tif has no CRS"):
        whole((tmp_path / "bare.tif",), UTM)


REAL_TILES = {
    "cop_dem_30m": ("cop_dem_30m/Copernicus_DSM_COG_10_N00_00_E006_00_DEM.tif", None,
                    Grid("EPSG:32632", Affine(10, 0, 220_000, 0, -10, 36_000), (1500, 1500))),
    "belgium": ("belgium_s2_srtm/N51E005.SRTMGL1.hgt.zip", "N51E005.hgt",
                Grid("EPSG:32631", Affine(10, 0, 655_360, 0, -10, 5_686_280), (1024, 512))),
    "zion": ("zion/srtm.tif", None, Grid("EPSG:26912", Affine(30, 0, 305_000, 0, -30, 4_140_000), (700, 600))),
}  # fmt: skip


@real
@pytest.mark.parametrize("name", REAL_TILES)
def test_real_tiles_read_independently_at_random_places(name):
    """Heights at 1 000 pixels equal those of rasterio's own reading and a bilinear interpolation written out here."""
    path, member, grid = REAL_TILES[name]
    found = whole((DATA / path,), grid)
    rng = np.random.default_rng(4)
    rows, cols = rng.integers(0, grid.shape_yx[0], 1000), rng.integers(0, grid.shape_yx[1], 1000)
    a, _, c, _, e, f = grid.transform[:6]
    lon, lat = Transformer.from_crs(grid.crs_wkt, 4326, always_xy=True).transform(
        a * (cols + 0.5) + c, e * (rows + 0.5) + f
    )
    with rasterio.open(f"/vsizip/{DATA / path}/{member}" if member else DATA / path) as dataset:
        step_x, step_y = dataset.res
        left, top = dataset.bounds.left + step_x / 2, dataset.bounds.top - step_y / 2
        across, down = (lon - left) / step_x, (top - lat) / step_y
        corners = []
        for dy in (0, 1):
            for dx in (0, 1):
                at = [(left + (x + dx) * step_x, top - (y + dy) * step_y)
                      for x, y in zip(np.floor(across), np.floor(down), strict=True)]  # fmt: skip
                corners.append(np.array([value[0] for value in dataset.sample(at)], float))
        void = dataset.nodata
    x, y = across % 1, down % 1
    expected = (1 - y) * ((1 - x) * corners[0] + x * corners[1]) + y * ((1 - x) * corners[2] + x * corners[3])
    measured = np.ones(1000, bool) if void is None else np.all([each != void for each in corners], 0)
    inside = measured & (across > 0) & (down > 0) & (lat > 0 if name == "cop_dem_30m" else True)
    assert inside.sum() > 900
    assert found[rows, cols][inside] == pytest.approx(expected[inside], abs=5e-3)
    if name == "cop_dem_30m":
        assert found.max() > 1500


@real
def test_a_real_tile_is_read_by_windows():
    path, _, grid = REAL_TILES["cop_dem_30m"]
    elevation_on((DATA / path,), grid, Window(0, 0, 8, 8))
    tracemalloc.start()
    elevation_on((DATA / path,), grid, Window(400, 400, 100, 100))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000  # the tile has 52 MB


@real
def test_the_real_hillside_is_cut_into_tiles_without_a_seam(tmp_path):
    path, _, grid = REAL_TILES["cop_dem_30m"]
    window = Window(700, 300, 300, 300)
    with rasterio.open(DATA / path) as dataset:
        heights, transform = dataset.read(1), dataset.transform
    tiles = []
    for number, cols in enumerate((slice(0, 1500), slice(1500, 1830), slice(1830, 3600))):
        part = Grid("EPSG:4326", transform @ Affine.translation(cols.start, 0), heights[:, cols].shape)
        raster.write(tmp_path / f"{number}.tif", heights[:, cols], part)
        tiles.append(tmp_path / f"{number}.tif")
    assert (slope_on(tuple(tiles), grid, window) == slope_on((DATA / path,), grid, window)).all()
