"""Reading a raster as it lies on another grid, and giving pages of a memory map back."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.warp import transform_bounds

from thalweg import raster
from thalweg.errors import RasterError
from thalweg.grid import Grid, Window, iter_blocks

HOME = Grid("EPSG:32720", Affine(60, 0, 600_000, 0, -60, 7_000_000), (40, 50))


@pytest.fixture
def ramp(tmp_path):
    pixels = np.arange(2000, dtype=np.uint16).reshape(40, 50)
    path = tmp_path / "ramp.tif"
    raster.write(path, np.stack([pixels, pixels + 5000]), HOME, nodata=65535)
    return path, pixels


def test_on_its_own_lattice_pixels_are_moved_not_resampled(ramp) -> None:
    path, pixels = ramp
    other = Grid(HOME.crs_wkt, Affine(60, 0, 600_000 - 120, 0, -60, 7_000_000 - 60), (100, 100))
    found = raster.read_onto(path, other, Window(0, 0, 4, 5), "bilinear")
    assert found.shape == (2, 4, 5)
    assert found[0, 0].tolist() == [65535, 65535, *pixels[1, :3]]
    assert found[1, 3].tolist() == [65535, 65535, *(pixels[4, :3] + 5000)]
    assert (raster.read_onto(path, other, Window(80, 80, 3, 3), "bilinear") == 65535).all()


def test_coarser_pixels_are_the_mean_of_finer_ones_without_nodata(ramp) -> None:
    path, pixels = ramp
    coarse = Grid(HOME.crs_wkt, Affine(120, 0, 600_000, 0, -120, 7_000_000), (20, 25))
    found = raster.read_onto(path, coarse, coarse.full, "average")[0]
    expected = pixels.reshape(20, 2, 25, 2).mean((1, 3))
    np.testing.assert_allclose(found, expected, atol=0.51)


def test_windows_of_a_warped_raster_meet_without_a_seam(ramp) -> None:
    path, _ = ramp
    west, south, east, north = transform_bounds("EPSG:32720", "EPSG:3857", *HOME.bounds)
    other = Grid("EPSG:3857", Affine(65, 3, west, 2, -65, north), (int((north - south) / 65), int((east - west) / 65)))
    whole = raster.read_onto(path, other, other.full, "bilinear")
    assert (whole != 65535).mean() > 0.8
    for window in iter_blocks(other.shape_yx, 16):
        part = raster.read_onto(path, other, window, "bilinear")
        expected = whole[:, window.rows, window.cols]
        assert ((part == 65535) == (expected == 65535)).all()
        np.testing.assert_allclose(part.astype(int), expected, atol=1)


def test_a_raster_without_crs_lies_nowhere(tmp_path) -> None:
    path = tmp_path / "lost.tif"
    profile = {"driver": "GTiff", "height": 4, "width": 4, "count": 1, "dtype": "uint8", "transform": HOME.transform}
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(np.ones((1, 4, 4), np.uint8))
    with pytest.raises(RasterError, match=r"lost.tif has no CRS, so its place on the ground is unknown; set one with"):
        raster.read_onto(path, HOME, HOME.full, "nearest")


def test_tiles_of_nodata_take_no_space_in_a_sparse_raster(tmp_path) -> None:
    grid = Grid("EPSG:32720", HOME.transform, (6_000, 6_000))
    path, cog = tmp_path / "sparse.tif", tmp_path / "cog.tif"
    with raster.create_tiled(path, grid, 2, "uint16", 65535, sparse=True) as dataset:
        dataset.write(np.full((2, 10, 10), 7, np.uint16), window=raster.to_rio(Window(4_500, 4_500, 10, 10)))
        dataset.write(np.full((2, 256, 256), 65535, np.uint16), window=raster.to_rio(Window(0, 0, 256, 256)))
    assert path.stat().st_size < 200_000
    raster.write_cog(path, cog, "average")
    assert cog.stat().st_size < 400_000
    with rasterio.open(cog) as dataset:
        assert (dataset.read(1, window=((4_500, 4_510), (4_500, 4_510))) == 7).all()
        assert dataset.read(2, window=((0, 1), (0, 1)))[0, 0] == 65535


def test_pages_given_back_are_read_again(tmp_path) -> None:
    pixels = raster.create_pixels(tmp_path / "a.tif", HOME, 1, "int16", None)
    pixels[:] = 3
    pixels.flush()
    mapped = raster.map_pixels(tmp_path / "a.tif")
    assert mapped.sum() == 6000
    raster.release(mapped[:, :, 0])
    assert mapped.sum() == 6000
    raster.release(np.ones(3))
