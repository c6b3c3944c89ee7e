"""Scenes built by an executor, each twice and after a journey: what products open travels, and the store is the same."""

import threading

import numpy as np
import pytest
from engine_builder import Twice, digests
from product_builder import CLASSES, copy_safe, grid_params, index, make_raster, make_safe, mask_params
from series_builder import make_patch

from thalweg import sample
from thalweg.errors import RasterError
from thalweg.params.grids import SeriesParams
from thalweg.preprocess import build_scenes
from thalweg.preprocess.store import stored


def sample_scene(folder):
    """A SAFE product with clouds and a mask."""
    index(folder / "raw", copy_safe(make_safe(folder / "made", cloud_cover=0.3), folder / "raw"))
    sample.make_mask(folder / "masks", tile="T20KNA", seed=3, size_60m_px=32)
    return grid_params(channels=("nd(B8A,B04)",), scl=(0, 1, 3, 8, 9, 10)), mask_params(patterns=("T*.tif",)), 1


def series_in_packs(folder):
    """Two NetCDF patches of two dates."""
    dates = {"B02": ["2019-01-01", "2019-02-01"]}
    paths = [make_patch(folder / f"raw/2019_31TCJ_patch_{n}_0.nc", dates, plane, edge_px=12) for n in (1, 2)]
    index(folder / "raw", *paths, form="netcdf", bands={"B02": "B02", "labels": "labels"})
    series = SeriesParams(by="product", start="01-01", bins=2, frequency="1MS", composite="median", max_gap=0)
    return grid_params(resolution_m=10, bands=("B02",), series=series, pack=10), mask_params(), 1


def series_of_a_tile(folder):
    """Three dates of one tile, as rasters."""
    rng, paths = np.random.default_rng(1), []
    for month in (1, 2, 3):
        pixels = rng.integers(1, 9000, (1, 8, 8)).astype(np.uint16)
        paths.append(make_raster(folder / f"raw/T31TCJ_20190{month}05.tif", pixels))
    index(folder / "raw", *paths, form="raster", bands={"B03": 1}, date="2019-01-05")
    series = SeriesParams(by="tile", start="2019-01-01", bins=2, frequency="1MS", composite="median", max_gap=0)
    return grid_params(resolution_m=None, bands=("B03",), series=series), mask_params(), 1


def plane(_band, date, shape):
    return np.full(shape, 1000 + date.astype("datetime64[M]").astype(int), float)


@pytest.mark.filterwarnings("ignore:.*(bins have no date|dates lie outside)")
@pytest.mark.parametrize("world", [sample_scene, series_in_packs, series_of_a_tile])
def test_scenes_are_those_built_here(tmp_path, world):
    grid, masks, units = world(tmp_path)
    executor = Twice()
    for out, engine in (("here", None), ("there", executor)):
        build_scenes(tmp_path / "raw", tmp_path / "masks", "g", grid, masks, CLASSES, tmp_path / out / "scenes",
                     tmp_path / out / "store", executor=engine)  # fmt: skip
    assert digests(tmp_path / "there") == digests(tmp_path / "here")
    assert executor.units == units


def test_of_two_that_build_one_scene_the_first_counts(tmp_path):
    """As after a worker that was taken for lost: both are well, and the files are those of one of them."""
    both = threading.Barrier(2)
    found = []

    def build(folder):
        (folder / "scene.json").write_text(threading.current_thread().name)
        both.wait(10)

    threads = [threading.Thread(target=lambda: found.append(stored(tmp_path, "key", build))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [tmp_path / "key"] * 2
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_store_that_takes_no_scene_says_so(tmp_path):
    (tmp_path / "key").write_text("a file where a folder should be")
    with pytest.raises(NotADirectoryError):
        stored(tmp_path, "key", lambda folder: None)


def test_errors_of_a_product_travel_back(tmp_path):
    grid, masks, _ = sample_scene(tmp_path)
    (path,) = (tmp_path / "raw").glob("**/R60m/*_B03_60m.jp2")
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises((RasterError, ValueError), match="B03"):
        build_scenes(tmp_path / "raw", tmp_path / "masks", "g", grid, masks, CLASSES, tmp_path / "out",
                     tmp_path / "store", executor=Twice())  # fmt: skip
