"""Heights beside the products of any source: names of the tiles, the store, and the stage."""

import numpy as np
import pytest
from product_builder import make_raster
from replay import ROOT

from thalweg import elevation_tiles
from thalweg.elevation_tiles import fetch_elevation
from thalweg.errors import NotFoundError, ParamsError, UnreachableError
from thalweg.params import parse
from thalweg.params.fetch import Elevation, Fetch

REAL = ROOT.parent / "shared/data/dem_and_landcover/cop_dem_30m/Copernicus_DSM_COG_10_N00_00_E006_00_DEM.tif"


def put(files, tmp_path, tile: str) -> None:
    name = elevation_tiles.file_name(tile)
    path = make_raster(
        tmp_path / "made.tif", np.full((1, 2, 2), 5, np.float32), crs="EPSG:4326", origin=(0, 1), pixel=0.5
    )
    files.content[f"/{name}/{name}.tif"] = path.read_bytes()


@pytest.mark.parametrize(("corner", "tile"), [((-22, -63), "S22W063"), ((0, 6), "N00E006"), ((-1, -1), "S01W001"),
                                              ((48, 8), "N48E008"), ((-90, -180), "S90W180")])  # fmt: skip
def test_tiles_are_named_by_their_south_west_corner(corner, tile):
    assert elevation_tiles.tile_name(*corner) == tile


def test_file_names_are_those_of_the_bucket():
    assert elevation_tiles.file_name("N00E006") == REAL.stem


def test_no_elevation_asked_for(tmp_path):
    assert fetch_elevation(None, tmp_path / "raw", tmp_path / "store") == []
    assert not (tmp_path / "store").exists()


def test_tiles_come_once_and_then_without_the_network(tmp_path, served):
    put(served, tmp_path, "S22W063")
    put(served, tmp_path, "S23W063")
    wanted = Elevation(bucket=served.url, tiles=("S22W063", "S23W063", "S22W063"))
    first = fetch_elevation(wanted, tmp_path / "raw", tmp_path / "store")
    assert [product.path for product in first] == [
        "dem/Copernicus_DSM_COG_10_S22_00_W063_00_DEM.tif",
        "dem/Copernicus_DSM_COG_10_S23_00_W063_00_DEM.tif",
    ]
    assert {(product.role, product.unit, product.date) for product in first} == {("elevation", "m", None)}
    served.content.clear()  # as good as offline
    assert fetch_elevation(wanted, tmp_path / "again", tmp_path / "store") == first
    assert len(served.asked) == 2


def test_a_tile_in_the_sea(tmp_path, served):
    wanted = Elevation(bucket=served.url, tiles=("N00W030",))
    with pytest.raises(
        NotFoundError, match=r"has no tile N00W030: there is only sea, .* out of fetch\.elevation\.tiles"
    ):
        fetch_elevation(wanted, tmp_path / "raw", tmp_path / "store")


@pytest.mark.usefixtures("served")
def test_a_bucket_that_does_not_answer(tmp_path):
    wanted = Elevation(bucket="http://127.0.0.1:9", tiles=("S22W063",))
    with pytest.raises(UnreachableError):
        fetch_elevation(wanted, tmp_path / "raw", tmp_path / "store")
    assert not list((tmp_path / "store" / "dem").glob("*.tif"))


@pytest.mark.parametrize("tile", ["20KNA", "S91W063", "N00E181", "s22w063", "S22W063/../x"])
def test_names_that_are_none(tmp_path, tile):
    wanted = Elevation(bucket="http://127.0.0.1:9", tiles=("S22W063", tile))
    with pytest.raises(ParamsError, match=r"fetch\.elevation\.tiles: '.*' is no DEM tile; .* S22W063"):
        fetch_elevation(wanted, tmp_path / "raw", tmp_path / "store")


def test_the_source_of_tiles_takes_no_others_beside():
    given = {"source": "dem", "input": "area.geojson", "masks": "masks/none.yaml", "options": {},
             "elevation": {"bucket": "https://example.org/dem", "tiles": ["S22W063"]}}  # fmt: skip
    with pytest.raises(ParamsError, match=r"the source dem delivers tiles itself; set fetch\.elevation to null"):
        parse(Fetch, given, "fetch", ROOT / "params.yaml")
