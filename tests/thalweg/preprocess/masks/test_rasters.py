"""Mask rasters: found, opened, read in windows onto the scene, whatever their form."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from mask_builder import GRID, draw, rules, write_raster
from pyproj import Transformer

from thalweg import raster
from thalweg.errors import MaskError, ParamsError
from thalweg.grid import Grid
from thalweg.preprocess.masks.files import read_mask_files
from thalweg.preprocess.masks.union import conflict_px, merge

COLORS = {"#ff0000": "damage", "#0000ff": "water", "#ffffff": "background"}
HALVES = np.repeat([[(255, 0, 0)] * 8 + [(0, 0, 255)] * 8], 16, axis=0).astype(np.uint8).transpose(2, 0, 1)
TWO = np.tile(np.repeat([1, 2], 8), (16, 1))
"""Labels: left half damage, right half water."""


def world_file(path: Path, grid: Grid = GRID) -> None:
    """Centre of the upper left pixel, as world files have it."""
    a, _, c, _, e, f = grid.transform[:6]
    path.write_text("\n".join(f"{value:.6f}" for value in (a, 0, 0, e, c + a / 2, f + e / 2)) + "\n")


def write_picture(path: Path, planes: np.ndarray, palette: dict | None = None) -> None:
    """A PNG or JPG without any georeference of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    driver = {".png": "PNG", ".jpg": "JPEG"}[path.suffix]
    options = {"QUALITY": 100} if driver == "JPEG" else {}
    with rasterio.open(path, "w", driver=driver, count=len(planes), height=planes.shape[1], width=planes.shape[2],
                       dtype="uint8", **options) as file:  # fmt: skip
        file.write(planes)
        if palette:
            file.write_colormap(1, palette)


def test_a_png_with_its_world_file(tmp_path):
    codes = np.tile(np.arange(16, dtype=np.uint8) // 8 * 255, (16, 1))
    write_picture(tmp_path / "m.png", codes[None])
    world_file(tmp_path / "m.pgw")
    labels, names, _ = draw(tmp_path, rules(patterns=("*.png",), crs="EPSG:32720"))
    assert (labels == codes // 255).all()
    assert names == ("m.png",)


def test_pictures_say_where_they_are_or_are_no_masks(tmp_path):
    write_picture(tmp_path / "m.png", np.zeros((1, 16, 16), np.uint8))
    with pytest.raises(OSError, match=r"m\.png has a CRS but no geotransform.*put its world file beside it"):
        draw(tmp_path, rules(patterns=("*.png",), crs="EPSG:32720"))
    world_file(tmp_path / "m.pgw")
    with pytest.raises(OSError, match=r"m\.png has no CRS"):
        draw(tmp_path, rules(patterns=("*.png",)))
    with pytest.raises(ParamsError, match=r"masks\.crs is 'Poland', which is no CRS; give one such as 'EPSG:2180'"):
        draw(tmp_path, rules(patterns=("*.png",), crs="Poland"))


def test_colours_of_a_jpg_that_are_not_quite_listed_are_counted(tmp_path):
    noisy = HALVES.copy()
    noisy[1, :, 7] = 120
    write_picture(tmp_path / "m.jpg", noisy)
    world_file(tmp_path / "m.jgw")
    masks = rules(patterns=("*.jpg",), crs="EPSG:32720", values=COLORS)
    with pytest.raises(MaskError, match=r"m\.jpg holds the value #[0-9a-f]{6} in \d+ pixels \(and \d+ other values in"):
        draw(tmp_path, masks)
    labels, _, _ = draw(tmp_path, masks.model_copy(update={"other": "unlabelled"}))
    assert set(np.unique(labels)) <= {1, 2, 255}


@pytest.mark.parametrize("alpha", [False, True])
def test_colour_coded_masks(alpha, tmp_path):
    """Potsdam's form; transparent pixels are not covered."""
    planes = np.concatenate([HALVES, np.full((1, 16, 16), 255, np.uint8)]) if alpha else HALVES
    if alpha:
        planes[3, :4] = 0
    with rasterio.open(tmp_path / "m.tif", "w", driver="GTiff", count=len(planes), height=16, width=16, dtype="uint8",
                       crs=GRID.crs_wkt, transform=GRID.transform) as file:  # fmt: skip
        file.write(planes)
    labels, _, warnings = draw(tmp_path, rules(values=COLORS))
    assert (labels[4:] == TWO[4:]).all()
    assert (labels[:4] == (255 if alpha else TWO[:4])).all()
    assert warnings == ()


def test_codes_with_a_colour_table_are_read_by_colour_or_number(tmp_path):
    palette = {0: (255, 0, 0, 255), 1: (0, 0, 255, 255)}
    write_picture(tmp_path / "m.png", (TWO - 1).astype(np.uint8)[None], palette)
    world_file(tmp_path / "m.pgw")
    by_color, _, _ = draw(tmp_path, rules(patterns=("*.png",), crs="EPSG:32720", values=COLORS))
    assert (by_color == TWO).all()
    by_number, _, _ = draw(tmp_path, rules(patterns=("*.png",), crs="EPSG:32720", values={"1": "water"}))
    assert (by_number == np.where(TWO == 2, 2, 0)).all()


def test_shares_are_split_at_the_threshold(tmp_path):
    shares = np.tile(np.linspace(0, 1, 16, dtype=np.float32), (16, 1))
    shares[0] = np.nan
    write_raster(tmp_path / "m.tif", shares)
    labels, _, _ = draw(tmp_path, rules(values={"1": "damage"}, threshold=0.6))
    assert (labels[1:] == np.tile([0] * 9 + [1] * 7, (15, 1))).all()  # 9/15 is 0.6, and float32 rounds it up
    assert (labels[0] == 255).all()
    with pytest.raises(MaskError, match=r"; of shares or probabilities, set masks\.threshold$"):
        draw(tmp_path, rules(values={"1": "damage"}))


def test_zero_is_what_the_params_say_although_it_is_tagged_nodata(tmp_path):
    values = np.tile(np.array([0, 255], np.float32).repeat(8), (16, 1))
    write_raster(tmp_path / "m.tif", values, nodata=0)
    for zero, wanted in (("background", 0), ("unlabelled", 255)):
        labels, _, _ = draw(tmp_path, rules(zero=zero))
        assert (labels == np.where(values > 0, 1, wanted)).all()


def test_an_all_zero_mask_is_said(tmp_path):
    write_raster(tmp_path / "m.tif", np.zeros((16, 16), np.float32), nodata=0)
    _, names, warnings = draw(tmp_path, rules())
    assert names == ("m.tif",)
    assert warnings == ("s: the mask m.tif is zero everywhere on it (background)",)


@pytest.mark.parametrize(("count", "values", "message"), [
    (2, {"255": "damage"}, "m.tif has 2 bands, but a mask has one band of class values; write such a mask or take this"),
    (3, {"255": "damage"}, r"m.tif has 3 bands.*write such a mask, list its colours in masks.values \(`\"#ff0000\""),
    (5, COLORS, "m.tif has 5 bands, but a mask has three bands of red, green and blue as bytes"),
])  # fmt: skip
def test_a_mask_of_several_bands_is_not_read_by_its_first(count, values, message, tmp_path):
    write_raster(tmp_path / "m.tif", np.zeros((count, 16, 16), np.uint8))
    with pytest.raises(MaskError, match=message):
        read_mask_files(rules(values=values), tmp_path)


def test_mask_in_another_crs_lands_on_the_same_ground(tmp_path):
    to_lonlat = Transformer.from_crs(32720, 4326, always_xy=True)
    west, south, east, north = to_lonlat.transform_bounds(*GRID.bounds)
    step = (east - west) / 200
    rows, cols = int((north - south) / step) + 20, 220
    place = Grid("EPSG:4326", Affine(step, 0, west - 10 * step, 0, -step, north + 10 * step), (rows, cols))
    row, col = np.mgrid[:rows, :cols]
    xs, _ = Transformer.from_crs(4326, 32720, always_xy=True).transform(*(place.transform @ (col + 0.5, row + 0.5)))
    write_raster(tmp_path / "m.tif", np.where(xs >= 600_000 + 60 * 8, 255, 0).astype(np.float32), place, nodata=0)
    labels, _, _ = draw(tmp_path, rules())
    assert (labels[:, 8:] == 1).all()
    assert (labels[:, :8] == 0).all()


def test_only_the_part_of_a_large_mask_on_the_scene_is_read(tmp_path, monkeypatch):
    place = Grid(GRID.crs_wkt, Affine(60, 0, 600_000 - 60 * 100, 0, -60, 7_000_000 + 60 * 100), (400, 400))
    codes = np.zeros((400, 400), np.uint8)
    codes[100:116, 100:116] = 255
    write_raster(tmp_path / "m.tif", codes, place)
    read, windows = raster.read_window, []
    monkeypatch.setattr(
        raster, "read_window", lambda path, window, bands: (windows.append(window), read(path, window, bands))[1]
    )
    labels, _, _ = draw(tmp_path, rules())
    assert (labels == 1).all()
    assert [tuple(window) for window in windows] == [(100, 100, 16, 16)]


def test_first_label_wins_and_outside_is_kept_apart():
    first = np.array([0, 1, 255, 254, 255, 254], np.uint8)
    second = np.array([1, 0, 1, 0, 254, 254], np.uint8)
    assert merge(first, second).tolist() == [0, 1, 1, 0, 255, 254]


def test_two_masks_that_differ_where_both_label():
    one = np.array([0, 1, 1, 255, 254], np.uint8)
    other = np.array([0, 0, 1, 1, 1], np.uint8)
    assert conflict_px(one, other) == 1


def test_several_masks_of_a_scene_and_what_they_disagree_on(tmp_path):
    write_raster(tmp_path / "a.tif", np.full((4, 16), 255, np.uint8))
    write_raster(tmp_path / "b.tif", np.zeros((6, 16), np.uint8))
    labels, names, warnings = draw(tmp_path, rules())
    assert (labels == np.repeat([1, 0, 255], [4, 2, 10])[:, None]).all()
    assert names == ("a.tif", "b.tif")
    assert "s: the mask b.tif differs from a.tif in 64 pixels that both label; there it does not count" in warnings


def test_stripes_do_not_change_labels(tmp_path, monkeypatch):
    from thalweg.preprocess.masks import outlines

    values = np.random.default_rng(3).choice([0, 255], (40, 40)).astype(np.uint8)
    place = Grid(GRID.crs_wkt, Affine(45, 0, 599_900, 0, -45, 7_000_050), (40, 40))
    write_raster(tmp_path / "m.tif", values, place)
    whole, _, _ = draw(tmp_path, rules())
    monkeypatch.setattr(outlines, "_STRIPE_ROWS", 3)
    striped, _, _ = draw(tmp_path, rules())
    assert (whole == striped).all()


def covered(folder, place: Grid, target: Grid) -> float:
    """Share of a scene that a mask of ones covers."""
    write_raster(folder / "m.tif", np.full(place.shape_yx, 255, np.uint8), place)
    labels, _, _ = draw(folder, rules(), target)
    return 0.0 if labels is None else float((labels == 1).mean())


def test_turned_rasters_meet_wherever_they_share_ground(tmp_path):
    turned = Affine.translation(600_480, 6_999_520) @ Affine.rotation(45) @ Affine.scale(60, -60)
    around = Grid(GRID.crs_wkt, turned @ Affine.translation(-20, -20), (40, 40))
    assert covered(tmp_path, around, GRID) == 1
    scene = Grid(GRID.crs_wkt, turned @ Affine.translation(-8, -8), (16, 16))
    assert covered(tmp_path, Grid(GRID.crs_wkt, GRID.transform @ Affine.translation(-12, -12), (40, 40)), scene) == 1


def test_a_mask_in_degrees_across_the_antimeridian(tmp_path):
    x, y = Transformer.from_crs(4326, 32660, always_xy=True).transform(179.99, 10)
    scene = Grid("EPSG:32660", Affine(10, 0, x, 0, -10, y), (300, 300))
    assert covered(tmp_path, Grid("EPSG:4326", Affine(1e-4, 0, 179.985, 0, -1e-4, 10.002), (400, 400)), scene) == 1


def test_a_products_own_band_of_codes(tmp_path):
    """Its own lattice is coarser; the same rules hold; no mask.tif but by them."""
    from thalweg.products import Layer

    coarse = Grid(GRID.crs_wkt, Affine(120, 0, 600_000, 0, -120, 7_000_000), (8, 6))
    codes = np.arange(48, dtype=np.int16).reshape(8, 6) % 3
    write_raster(tmp_path / "codes.tif", codes, coarse)
    wanted = np.full((16, 16), 255)
    wanted[:, :12] = np.kron(codes, np.ones((2, 2), int))
    masks = rules(patterns=(), band="labels", values={"1": "damage", "2": "water"})
    from_file = Layer(str(tmp_path / "codes.tif"), 1, coarse, 1.0, 0.0, None, None)
    from_cube = Layer("cube.nc", 1, coarse, 1.0, 0.0, None, None, read=lambda window: codes[window.rows, window.cols])
    for layer in (from_file, from_cube):
        labels, names, _ = draw(tmp_path, masks, labels={"labels": layer})
        assert (labels == wanted).all()
        assert names == ("s:labels",)
    with pytest.raises(MaskError, match=r"s:labels holds the value 2 in 64 pixels, which no class has"):
        draw(tmp_path, rules(patterns=(), band="labels", values={"1": "damage"}), labels={"labels": from_cube})


def test_pattern_that_finds_nothing():
    with pytest.raises(MaskError, match=r"'\*\.none' finds no file below .*; put the masks there"):
        read_mask_files(rules(patterns=("*.none",)), Path("/tmp"))


def test_sidecars_are_no_masks(tmp_path):
    write_picture(tmp_path / "m.png", np.zeros((1, 16, 16), np.uint8))
    world_file(tmp_path / "m.pgw")
    (file,) = read_mask_files(rules(patterns=("m.*",), crs="EPSG:32720"), tmp_path)
    assert file.name == "m.png"
    before = file.identity
    world_file(tmp_path / "m.pgw", Grid(GRID.crs_wkt, GRID.transform @ Affine.translation(1, 0), (16, 16)))
    (moved,) = read_mask_files(rules(patterns=("m.*",), crs="EPSG:32720"), tmp_path)
    assert moved.identity != before


@pytest.mark.parametrize("pattern", ["/etc/*", "../*.tif"])
@pytest.mark.parametrize("key", ["patterns", "area"])
def test_pattern_must_stay_below_its_folder(key, pattern, tmp_path):
    with pytest.raises(ParamsError, match=rf"masks\.{key}: .* leaves masks\.input"):
        read_mask_files(rules(**{key: (pattern,) if key == "patterns" else pattern}), tmp_path)


@pytest.mark.parametrize("pattern", ["", ".", "**.tif"])
def test_what_is_no_pattern(tmp_path, pattern):
    with pytest.raises(ParamsError, match=r"is no pattern; give one such as"):
        read_mask_files(rules(patterns=(pattern,)), tmp_path)


def test_nodata_of_a_float_mask_is_what_its_tag_says(tmp_path):
    """The tag is kept with eight bytes, the values with four."""
    least = float(np.finfo(np.float32).min)
    values = np.full((16, 16), least, np.float32)
    values[:4], values[4:8] = 0.9, 0.1
    write_raster(tmp_path / "m.tif", values, nodata=least)
    labels, _, _ = draw(tmp_path, rules(threshold=0.5, values={"1": "damage"}))
    assert (labels == np.repeat([1, 0, 255, 255], 4)[:, None]).all()


def test_a_grey_mask_among_coloured_ones(tmp_path):
    write_raster(tmp_path / "m.tif", np.full((16, 16), 7, np.uint8))
    with pytest.raises(MaskError, match=r"m\.tif has one band of codes .* but masks\.values lists nothing but colours"):
        draw(tmp_path, rules(values={"#ff0000": "damage"}, other="background"))


def test_what_a_virtual_raster_is_made_of_decides(tmp_path):
    import rasterio.shutil

    write_raster(tmp_path / "src/m.tif", np.full((16, 16), 255, np.uint8))
    rasterio.shutil.copy(tmp_path / "src/m.tif", tmp_path / "src/inner.vrt", driver="VRT")
    rasterio.shutil.copy(tmp_path / "src/inner.vrt", tmp_path / "m.vrt", driver="VRT")
    (before,) = read_mask_files(rules(patterns=("*.vrt",)), tmp_path)
    (again,) = read_mask_files(rules(patterns=("*.vrt",)), tmp_path)
    assert again.identity == before.identity
    write_raster(tmp_path / "src/m.tif", np.zeros((16, 16), np.uint8))
    (after,) = read_mask_files(rules(patterns=("*.vrt",)), tmp_path)
    assert after.identity != before.identity
