"""Source `dem`: tiles by list and by area."""

import json

import numpy as np
import pytest
from product_builder import make_raster
from replay import ROOT
from shapely.geometry import box

from thalweg import bring, elevation_tiles
from thalweg.errors import DegradedDataWarning, NotFoundError, ParamsError
from thalweg.sources import dem

REAL = ROOT.parent / "shared/data/dem_and_landcover/cop_dem_30m/Copernicus_DSM_COG_10_N00_00_E006_00_DEM.tif"


def put(files, tmp_path, tile: str) -> None:
    name = elevation_tiles.file_name(tile)
    path = make_raster(
        tmp_path / "made.tif", np.full((1, 2, 2), 5, np.float32), crs="EPSG:4326", origin=(0, 1), pixel=0.5
    )
    files.content[f"/{name}/{name}.tif"] = path.read_bytes()


def deliver(tmp_path, url, tiles=(), given="area.geojson", run="raw"):
    return dem.deliver(dem.Options(bucket=url, tiles=tiles), tmp_path / given, tmp_path / run, tmp_path / "store")


def draw(tmp_path, west, south, east, north) -> None:
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    (tmp_path / "area.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))


@pytest.mark.skipif(not REAL.is_file(), reason=f"{REAL} is not here")
def test_a_real_tile_lies_where_its_name_says():
    from thalweg import raster

    west, south, east, north = raster.read_grid(REAL).bounds
    assert dem.tiles_of(box(west + 0.01, south + 0.01, east - 0.01, north - 0.01)) == ["N00E006"]
    with raster.opened(REAL) as dataset:
        assert dataset.read(1, window=((0, 1), (0, 1))).dtype == np.float32
    assert REAL.read_bytes()[:2] == bring.TIFF


def test_an_area_takes_what_it_shares_ground_with():
    assert dem.tiles_of(box(-62.6, -22.2, -61.9, -21.9)) == ["S23W063", "S23W062", "S22W063", "S22W062"]
    assert dem.tiles_of(box(5, 5, 6, 6)) == ["N05E005"]  # borders on eight others


def test_an_area_of_a_continent_is_a_mistake():
    with pytest.raises(ParamsError, match=r"touches up to 900 DEM tiles, more than 400; make it smaller"):
        dem.tiles_of(box(0, 0, 30, 30))


def test_listed_tiles_are_fetched_once(tmp_path, served):
    put(served, tmp_path, "S22W063")
    for run in ("raw", "again"):
        (product,) = deliver(tmp_path, served.url, ("S22W063",), run=run)
    assert (product.form, product.bands, product.scale, product.nodata) == ("raster", {"DEM": 1}, 1.0, None)
    assert (product.role, product.unit) == ("elevation", "m")
    assert product.path == "dem/Copernicus_DSM_COG_10_S22_00_W063_00_DEM.tif"
    assert len(served.asked) == 1


def test_a_listed_tile_in_the_sea(tmp_path, served):
    with pytest.raises(
        NotFoundError, match=r"has no tile N00W030: there is only sea, or it is not released; take it out"
    ):
        deliver(tmp_path, served.url, ("N00W030",))


def test_an_area_at_the_coast_is_told_what_is_missing(tmp_path, served):
    put(served, tmp_path, "N00E006")
    draw(tmp_path, 6.5, 0.5, 7.5, 0.6)
    with pytest.warns(DegradedDataWarning, match="no elevation for N00E007: only sea there"):
        products = deliver(tmp_path, served.url)
    assert [product.name for product in products] == ["Copernicus_DSM_COG_10_N00_00_E006_00_DEM"]


@pytest.mark.parametrize("tile", ["20KNA", "S91W063", "N00E181", "s22w063", "S22W063/../x"])
def test_names_that_are_none(tmp_path, tile):
    with pytest.raises(ParamsError, match=r"is no DEM tile; they are named by their south-west corner, S22W063"):
        deliver(tmp_path, "http://127.0.0.1:9", (tile,))


def test_an_area_that_is_not_there(tmp_path):
    with pytest.raises(ParamsError, match=r"area\.geojson"):
        deliver(tmp_path, "http://127.0.0.1:9")


def test_a_bucket_on_this_machine(tmp_path, served):
    name = elevation_tiles.file_name("S22W063")
    make_raster(
        tmp_path / f"copy/{name}/{name}.tif", np.ones((1, 2, 2), np.float32), crs="EPSG:4326", origin=(0, 1), pixel=0.5
    )
    assert deliver(tmp_path, (tmp_path / "copy").as_uri(), ("S22W063",))
    assert not served.asked
