"""Scene images map without a copy; broken files raise; COGs keep what they carry."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image

from thalweg import raster
from thalweg.errors import RasterError
from thalweg.grid import Grid

GRID = Grid("EPSG:32720", Affine(60, 0, 499980, 0, -60, 7600000), (40, 30))


@pytest.mark.parametrize(
    ("shape", "channels", "dtype"), [((40, 30), 3, "int16"), ((1, 1), 1, "uint8"), ((300, 7), 2, "float32")]
)
def test_a_scene_image_maps_as_rows_columns_channels(tmp_path: Path, shape, channels, dtype):
    grid = Grid(GRID.crs_wkt, GRID.transform, shape)
    values = np.arange(shape[0] * shape[1] * channels).reshape(*shape, channels).astype(dtype)
    pixels = raster.create_pixels(tmp_path / "image.tif", grid, channels, dtype, None)
    pixels[:] = values
    del pixels
    mapped = raster.map_pixels(tmp_path / "image.tif")
    assert isinstance(mapped, np.memmap)
    assert not mapped.flags.writeable
    np.testing.assert_array_equal(mapped, values)
    with rasterio.open(tmp_path / "image.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(), values.transpose(2, 0, 1))
        assert dataset.crs.to_epsg() == 32720


def test_channel_names_and_scales_reach_gis(tmp_path: Path):
    raster.create_pixels(tmp_path / "i.tif", GRID, 2, "int16", -32768, ("B02", "ndvi"), (1e-4, 1e-3), (0.0, 1.0))
    with rasterio.open(tmp_path / "i.tif") as dataset:
        assert dataset.descriptions == ("B02", "ndvi")
        assert dataset.scales == (1e-4, 1e-3)
        assert dataset.offsets == (0.0, 1.0)
        assert dataset.nodata == -32768


def test_a_compressed_raster_is_not_mapped(tmp_path: Path):
    raster.write(tmp_path / "c.tif", np.zeros((40, 30), np.uint8), GRID)
    with pytest.raises(RasterError, match=r"c\.tif is not one run of uncompressed.*run `dvc repro`"):
        raster.map_pixels(tmp_path / "c.tif")


def test_a_truncated_scene_image_is_not_mapped(tmp_path: Path):
    path = tmp_path / "t.tif"
    raster.create_pixels(path, GRID, 2, "int16", 0)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RasterError, match="not one run"):
        raster.map_pixels(path)


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "jp2"])
def test_a_picture_that_is_cut_short_is_not_read(tmp_path: Path, ending: str):
    """GDAL alone reads the first half of a PNG, black below it, and says nothing."""
    path = tmp_path / f"p.{ending}"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole + b"more" * (ending == "png"))
    with raster.opened(path) as dataset:
        assert dataset.read().shape == (3, 256, 256)
    for share in (0.5, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        with (
            pytest.raises(RasterError, match=rf"p\.{ending} (is cut short|cannot be read)"),
            raster.opened(path) as cut,
        ):
            cut.read()


def test_missing_and_broken_files_say_so(tmp_path: Path):
    with (
        pytest.raises(RasterError, match=r"gone\.tif is missing; deliver the file again"),
        raster.opened(tmp_path / "gone.tif"),
    ):
        pass
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(RasterError, match=r"text\.tif cannot be read"), raster.opened(tmp_path / "text.tif"):
        pass


def test_a_band_beyond_the_last_is_an_error(tmp_path: Path):
    raster.write(tmp_path / "one.tif", np.zeros((40, 30), np.uint8), GRID)
    with pytest.raises(RasterError, match=r"one\.tif has 1 bands, but band 2 is wanted"):
        raster.read_band(tmp_path / "one.tif", 2)


def test_a_raster_without_crs_has_no_place(tmp_path: Path):
    path = tmp_path / "nowhere.tif"
    profile = {"driver": "GTiff", "height": 4, "width": 4, "count": 1, "dtype": "uint8", "transform": GRID.transform}
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(np.zeros((1, 4, 4), np.uint8))
    with pytest.raises(RasterError, match=r"nowhere\.tif has no CRS"):
        raster.read_grid(path)


def test_a_cog_keeps_nodata_colours_and_tags(tmp_path: Path):
    grid = Grid(GRID.crs_wkt, GRID.transform, (600, 600))
    labels = (np.arange(600 * 600).reshape(600, 600) % 2).astype(np.uint8)
    raster.write(tmp_path / "a.tif", labels, grid, nodata=255, colors={0: (1, 2, 3), 1: (4, 5, 6)}, tags={"K": "v"})
    raster.write_cog(tmp_path / "a.tif", tmp_path / "cog.tif", "nearest")
    with rasterio.open(tmp_path / "cog.tif") as dataset:
        assert dataset.tags()["K"] == "v"
        assert dataset.nodata == 255
        assert dataset.colormap(1)[1] == (4, 5, 6, 255)
        assert dataset.overviews(1)
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        np.testing.assert_array_equal(dataset.read(1), labels)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_raster_without_geotransform_has_no_place(tmp_path: Path):
    raster.write(tmp_path / "a.tif", np.ones((4, 4), np.uint8), Grid("EPSG:32720", Affine.identity(), (4, 4)))
    with pytest.raises(RasterError, match=r"a\.tif has a CRS but no geotransform, .*put its world file beside it"):
        raster.read_grid(tmp_path / "a.tif")


def test_a_crs_of_no_place_on_the_earth(tmp_path: Path):
    local = Grid('LOCAL_CS["Arbitrary",UNIT["metre",1]]', GRID.transform, (4, 4))
    raster.write(tmp_path / "a.tif", np.ones((4, 4), np.uint8), local)
    with pytest.raises(RasterError, match=r"a\.tif has a CRS that is tied to no place on the earth .*Arbitrary"):
        raster.read_grid(tmp_path / "a.tif")


FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from rasterio.transform import from_origin
from thalweg import raster
from thalweg.errors import RasterError
from thalweg.grid import Grid, iter_blocks
pixels = np.random.default_rng(1).integers(0, 255, (300, 300)).astype(np.uint8)
grid = Grid("EPSG:32720", from_origin(600_000, 7_000_000, 10, 10), (300, 300))

def stream():
    with raster.create_tiled(Path("c.tif"), grid, 1, "uint8", 0, sparse=True, scratch=True) as dataset:
        for window in iter_blocks((300, 300), 256):
            dataset.write(pixels[None, window.rows, window.cols], window=raster.to_rio(window))

raster.write(Path("source.tif"), pixels, grid)
raster.write_cog(Path("source.tif"), Path("cog.tif"), "mode")
stream()
sizes = {"a.tif": Path("source.tif"), "b.tif": Path("cog.tif"), "c.tif": Path("c.tif")}
sizes = {name: path.stat().st_size for name, path in sizes.items()}
Path("c.tif").unlink()
acts = {"a.tif": lambda: raster.write(Path("a.tif"), pixels, grid), "c.tif": stream,
        "b.tif": lambda: raster.write_cog(Path("source.tif"), Path("b.tif"), "mode")}
for name, act in acts.items():
    for limit in (20_000, 80_000, *range(sizes[name] - 1500, sizes[name], 37), sizes[name] - 1):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            act()
        except RasterError as error:
            assert str(error).startswith(f"{name} could not be written whole ("), error
            assert "; make room on that disk, or see that you may write there" in str(error), error
            assert not Path(name).exists()
        else:
            with raster.opened(name) as dataset:
                assert (dataset.read(1) == pixels).all(), (name, limit)
            print(name, limit)
            Path(name).unlink()
print(sorted(path.name for path in Path().iterdir()))
"""


def test_a_disk_that_is_full_leaves_no_raster_that_looks_whole(tmp_path):
    """A file may grow to so many bytes, its last ones among those that do not fit: GDAL closes it without a word."""
    done = subprocess.run([sys.executable, "-c", FULL], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    *whole, left = done.stdout.splitlines()
    assert len(whole) < 10, "most are refused"
    assert left == "['cog.tif', 'source.tif']"
