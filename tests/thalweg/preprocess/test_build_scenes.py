"""Scenes as a whole: masks by ground position, the store, degraded data, and what wrong input says."""

import json

import numpy as np
import pytest
import rasterio.shutil
from affine import Affine
from product_builder import build, copy_safe, grid_params, index, make_raster, make_safe, mask_params

from thalweg import preprocess, raster, sample
from thalweg.errors import DegradedDataWarning, MaskError, ProductError
from thalweg.grid import Grid

PLAIN = grid_params(resolution_m=None, bands=("B03",), channels=("sqrt(B03)",))
ONES = np.full((1, 8, 8), 400, np.uint16)


def two_rasters(folder):
    """Products `a` and `b`, side by side at 10 m, eight pixels each."""
    raw = folder / "raw"
    paths = [make_raster(raw / "a.tif", ONES), make_raster(raw / "b.tif", ONES, origin=(600_080.0, 7_000_000.0))]
    index(raw, *paths, form="raster", bands={"B03": 1})


def make_mask(folder, name, values, origin=(600_000.0, 7_000_000.0), crs="EPSG:32720", nodata=0):
    return make_raster(
        folder / "masks" / name, np.asarray(values, np.float32)[None], crs=crs, origin=origin, nodata=nodata
    )


def half(value=255.0):
    values = np.zeros((8, 8))
    values[:, :4] = value
    return values


FILES = mask_params(patterns=("*.tif",))


def test_sample_scene_with_its_mask(tmp_path):
    safe = copy_safe(make_safe(tmp_path / "made", cloud_cover=0.3), tmp_path / "raw")
    index(tmp_path / "raw", safe)
    mask = sample.make_mask(tmp_path / "masks", tile="T20KNA", seed=3, size_60m_px=32)
    grid = grid_params(channels=("nd(B8A,B04)",), scl=(0, 1, 3, 8, 9, 10))
    with_20m = grid_params(resolution_m=20, scl=(0, 1, 3, 8, 9, 10))
    masks = mask_params(patterns=("T*.tif",))
    (coarse,) = build(tmp_path, grid, masks).values()
    (fine,) = build(tmp_path, with_20m, masks, out="fine").values()
    values = raster.read_band(mask)
    assert coarse.mask is not None
    assert fine.mask is not None
    assert (coarse.mask == (values == 255)).all()
    assert (fine.mask == np.kron(coarse.mask, np.ones((3, 3)))).all()
    assert coarse.record.masks == ("T20KNA.tif",)
    assert 0 < coarse.record.valid_fraction < 1
    assert coarse.record.valid_fraction == coarse.valid.mean()
    assert coarse.record.channels[-1].model_dump() == {
        "name": "nd(B8A,B04)",
        "wavelength_nm": None,
        "scale": 1e-4,
        "offset": 0.0,
        "unit": "1",
    }


def test_any_gis_reads_scale_unit_and_nodata(tmp_path):
    two_rasters(tmp_path)
    scene = build(tmp_path, PLAIN)["a"]
    with raster.opened(scene.folder / "image.tif") as dataset:
        assert dataset.descriptions == ("B03", "sqrt(B03)")
        assert dataset.scales == (1e-4, 1e-4)
        assert dataset.units == ("reflectance", "1")
        assert dataset.nodata == -32768
        assert dataset.read(2)[0, 0] * dataset.scales[1] == pytest.approx(0.2)


def test_masks_find_their_scene_by_ground_and_not_by_name(tmp_path):
    two_rasters(tmp_path)
    make_mask(tmp_path, "zzz.tif", half())
    scenes = build(tmp_path, PLAIN, FILES)
    assert scenes["a"].record.masks == ("zzz.tif",)
    assert scenes["a"].mask.tolist() == half(1).astype(int).tolist()
    assert not scenes["b"].record.labelled
    assert scenes["b"].mask is None


def test_several_masks_of_one_scene_and_the_ground_outside(tmp_path):
    two_rasters(tmp_path)
    make_mask(tmp_path, "1.tif", half()[:4, :])
    make_mask(tmp_path, "2.tif", np.full((6, 8), 255.0))
    masks = mask_params(patterns=("*.tif",), outside="background")
    with pytest.warns(DegradedDataWarning, match=r"2\.tif differs from 1\.tif in 16 pixels that both label"):
        scene = build(tmp_path, PLAIN, masks)["a"]
    expected = np.ones((8, 8), int)
    expected[:4, 4:] = 0  # said first
    expected[6:] = 0  # outside both
    assert scene.mask.tolist() == expected.tolist()
    unlabelled = build(tmp_path, PLAIN, mask_params(patterns=("*.tif",), zero="unlabelled"), out="u")["a"]
    assert unlabelled.mask.tolist() == np.where(np.arange(8)[:, None] < 6, 1, 255).repeat(8, 1).tolist()


def test_all_zero_mask_is_a_counted_warning(tmp_path):
    two_rasters(tmp_path)
    make_mask(tmp_path, "0.tif", np.zeros((8, 8)))
    with pytest.warns(DegradedDataWarning, match=r"the mask 0\.tif is zero everywhere"):
        scene = build(tmp_path, PLAIN, FILES)["a"]
    assert (scene.mask == 0).all()
    assert len(scene.record.warnings) == 1


def test_masks_off_every_scene(tmp_path):
    two_rasters(tmp_path)
    path = make_mask(tmp_path, "far.tif", half(), origin=(700_000.0, 7_000_000.0))
    with pytest.raises(
        MaskError, match=rf"none of the 1 masks lies on any scene: {path} covers lon .* the nearest scene b lon"
    ):
        build(tmp_path, PLAIN, FILES)


def test_single_stray_is_a_warning(tmp_path):
    two_rasters(tmp_path)
    make_mask(tmp_path, "far.tif", half(), origin=(700_000.0, 7_000_000.0))
    make_mask(tmp_path, "near.tif", half())
    with pytest.warns(DegradedDataWarning, match=r"1 of 2 masks lie on no scene: far\.tif"):
        build(tmp_path, PLAIN, FILES)


def test_class_id_out_of_range(tmp_path):
    two_rasters(tmp_path)
    path = make_mask(tmp_path, "m.tif", half(7))
    with pytest.raises(MaskError, match=rf"{path} holds the value 7 in 32 pixels, which no class has"):
        build(tmp_path, PLAIN, FILES)
    assert not list((tmp_path / "store").glob("*[!.]*/scene.json"))


def test_mask_without_crs(tmp_path):
    import rasterio

    two_rasters(tmp_path)
    (tmp_path / "masks").mkdir()
    with (
        pytest.warns(rasterio.errors.NotGeoreferencedWarning),
        rasterio.open(tmp_path / "masks/m.tif", "w", driver="GTiff", width=2, height=2, count=1, dtype="uint8"),
    ):
        pass
    with (
        pytest.warns(rasterio.errors.NotGeoreferencedWarning),
        pytest.raises(OSError, match=r"m\.tif has no CRS"),
    ):
        build(tmp_path, PLAIN, FILES)


def test_no_labelled_pixel_at_all(tmp_path):
    two_rasters(tmp_path)
    make_mask(tmp_path, "m.tif", np.full((8, 8), np.nan))
    with (
        pytest.warns(DegradedDataWarning, match="no labelled pixel"),
        pytest.raises(MaskError, match="no scene of the grid g has a labelled pixel"),
    ):
        build(tmp_path, PLAIN, FILES)


def test_scene_without_a_valid_pixel(tmp_path):
    path = make_raster(tmp_path / "raw/a.tif", np.zeros((1, 8, 8), np.uint16))
    index(tmp_path / "raw", path, form="raster", bands={"B03": 1})
    with pytest.warns(DegradedDataWarning, match="a has no valid pixel on the grid g"):
        scene = build(tmp_path, PLAIN)["a"]
    assert (scene.image == -32768).all()
    assert scene.record.valid_fraction == 0


def test_no_products(tmp_path):
    index(tmp_path / "raw")
    with pytest.raises(ProductError, match="lists no product; correct 'fetch'"):
        build(tmp_path, PLAIN)


def test_adding_a_product_builds_that_product_alone(tmp_path, monkeypatch):
    built = []
    build_scene = preprocess.build_scene
    monkeypatch.setattr(
        preprocess, "build_scene", lambda product, *rest: (built.append(product.name), build_scene(product, *rest))
    )
    raw = tmp_path / "raw"
    first = make_raster(raw / "a.tif", ONES)
    index(raw, first, form="raster", bands={"B03": 1})
    before = build(tmp_path, PLAIN)["a"]
    two_rasters(tmp_path)
    after = build(tmp_path, PLAIN, out="again")["a"]
    assert built == ["a", "b"]
    assert (before.folder / "image.tif").samefile(after.folder / "image.tif")


def test_what_decides_a_scene_builds_it_anew(tmp_path):
    two_rasters(tmp_path)
    make_mask(tmp_path, "m.tif", half())
    for number, masks in enumerate((FILES, mask_params(patterns=("*.tif",), zero="unlabelled"), FILES)):
        build(tmp_path, PLAIN, masks, out=f"{number}")
    assert len(list((tmp_path / "store").iterdir())) == 4
    make_mask(tmp_path, "m.tif", half()[::-1, ::-1])
    build(tmp_path, PLAIN, FILES, out="new")
    assert len(list((tmp_path / "store").iterdir())) == 5  # b has no mask on it


def test_interrupted_build_leaves_nothing_that_counts(tmp_path, monkeypatch):
    two_rasters(tmp_path)

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("thalweg.preprocess.scene.write_scene_record", interrupt)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path, PLAIN)
    assert not list((tmp_path / "store").iterdir())
    assert set(build(tmp_path, PLAIN, out="again")) == {"a", "b"}


def test_same_input_same_bytes(tmp_path):
    contents = []
    for name in ("one", "two"):
        two_rasters(tmp_path / name)
        make_mask(tmp_path / name, "m.tif", half())
        scene = build(tmp_path / name, PLAIN, FILES)["a"]
        contents.append({path.name: path.read_bytes() for path in scene.folder.iterdir()})
    assert contents[0] == contents[1]
    assert set(contents[0]) == {"image.tif", "valid.tif", "mask.tif", "scene.json"}
    assert json.loads(contents[0]["scene.json"])["schema_version"] == 3


def test_stripes_do_not_change_the_pixels(tmp_path):
    numbers = np.random.default_rng(3).integers(0, 9000, (1, 700, 5), np.uint16)
    path = make_raster(tmp_path / "raw/a.tif", numbers)
    index(tmp_path / "raw", path, form="raster", bands={"B03": 1})
    (scene,) = build(tmp_path, PLAIN).values()
    assert (scene.image[:, :, 0] == np.where(numbers[0] == 0, -32768, numbers[0])).all()


def test_mask_in_the_neighbouring_zone(tmp_path):
    """The same ground described in UTM zone 21: reprojected by nearest, no label moves by more than half a pixel."""
    from pyproj import Transformer

    edge = 64
    make_raster(tmp_path / "raw/a.tif", np.full((1, edge, edge), 400, np.uint16), origin=(780_000.0, 7_000_000.0))
    index(tmp_path / "raw", tmp_path / "raw/a.tif", form="raster", bands={"B03": 1})
    back = Transformer.from_crs(32721, 32720, always_xy=True)
    x, y = Transformer.from_crs(32720, 32721, always_xy=True).transform(780_320.0, 6_999_680.0)
    place = Grid("EPSG:32721", Affine(5, 0, x - 800, 0, -5, y + 800), (320, 320))
    row, col = np.mgrid[:320, :320]
    xs, _ = back.transform(*(place.transform @ (col + 0.5, row + 0.5)))
    (tmp_path / "masks").mkdir()
    raster.write(tmp_path / "masks/m.tif", np.where(xs >= 780_320, 255, 0).astype(np.float32), place, nodata=0)
    mask = build(tmp_path, PLAIN, FILES)["a"].mask
    assert (mask[:, :31] == 0).all()
    assert (mask[:, 33:] == 1).all()


def test_a_killed_build_is_cleared_away(tmp_path):
    two_rasters(tmp_path)
    build(tmp_path, PLAIN)
    one, _ = sorted((tmp_path / "store").iterdir())
    left = tmp_path / "store" / f".{one.name}.999.part"
    one.rename(left)
    build(tmp_path, PLAIN, out="again")
    assert one.is_dir()
    assert not left.exists()


def test_scenes_are_read_only_because_they_are_the_store(tmp_path):
    two_rasters(tmp_path)
    folder = build(tmp_path, PLAIN)["a"].folder
    assert {path.stat().st_mode & 0o222 for path in folder.iterdir()} == {0}


def test_a_sidecar_that_moves_a_mask_builds_its_scene_anew(tmp_path):
    two_rasters(tmp_path)
    path = make_raster(tmp_path / "m.tif", np.tile(half(), 2).astype(np.uint8)[None])
    masks = mask_params(patterns=("*.png",))
    (tmp_path / "masks").mkdir()
    rasterio.shutil.copy(path, tmp_path / "masks/m.png", driver="PNG")
    before = build(tmp_path, PLAIN, masks)["a"]
    sidecar = tmp_path / "masks/m.png.aux.xml"
    sidecar.write_text(sidecar.read_text().replace("6.0000000000000000e+05", "6.0001000000000000e+05"))
    after = build(tmp_path, PLAIN, masks, out="moved")["a"]
    assert (after.mask[:, 1:] == before.mask[:, :-1]).all()
    assert (after.mask[:, 0] == 255).all()


def test_digital_numbers_taken_for_reflectance(tmp_path):
    path = make_raster(tmp_path / "raw/a.tif", ONES)
    index(tmp_path / "raw", path, form="raster", bands={"B03": 1}, scale=1.0)
    with pytest.raises(ProductError, match=r"a: 64 pixels of B03 lie beyond a reflectance of ±3\.2767, .*scale"):
        build(tmp_path, PLAIN)
