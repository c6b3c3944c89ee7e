"""Other forms to packed scenes and back: pixel for pixel, verified, and never at the cost of what stands there."""

import csv
import json

import numpy as np
import pytest
import rasterio
from image_builder import call
from member_builder import make_places
from product_builder import make_raster, make_safe
from scene_builder import make_scene
from series_builder import make_patch

from thalweg import raster
from thalweg.errors import ImageError, RepackError
from thalweg.manifest.scene import NODATA, read_scenes
from thalweg.repack import pack as room
from thalweg.repack.target import FILE

BANDS = "B02=1,B03=2"


@pytest.fixture
def chips(tmp_path):
    """Six chips of 8 × 8 pixels, two bands, stored × 10 000, with a nodata corner."""
    random = np.random.default_rng(0)
    for number in range(6):
        planes = random.integers(1, 9000, (2, 8, 8)).astype(np.int16)
        planes[:, 0, 0] = 0
        make_raster(tmp_path / "chips" / f"chip{number}.tif", planes, origin=(600_000.0 + 480 * number, 7_000_000.0))
    return tmp_path / "chips"


def table_of(folder):
    return list(csv.DictReader((folder / "chips.csv").read_text().splitlines()))


def packing(chips, out, *more):
    return call("repack", "pack", str(chips / "*.tif"), "-o", out, "--bands", BANDS, "--scale", "1e-4", "--nodata", 0,
                "--pack", 4, *more)  # fmt: skip


def test_chips_go_in_and_come_out_as_they_were(chips, tmp_path):
    out, back = tmp_path / "packed", tmp_path / "back"
    assert "packed 6 scenes" in packing(chips, out)
    scenes = read_scenes(out)
    assert sorted(scenes) == [f"chip{number}" for number in range(6)]
    assert all(scene.pack is not None for scene in scenes.values())
    assert len(list(out.glob("*/image.tif"))) < 6
    assert not list(tmp_path.glob(".*")), "nothing is left beside"
    call("repack", "chips", out, "-o", back)
    for number in range(6):
        with (
            rasterio.open(chips / f"chip{number}.tif") as before,
            rasterio.open(back / f"images/chip{number}.tif") as after,
        ):
            there = before.read()
            np.testing.assert_array_equal(after.read(), np.where(there == 0, NODATA, there))
            assert (after.crs, after.transform, after.nodata) == (before.crs, before.transform, NODATA)
            assert (after.descriptions, after.scales) == (("B02", "B03"), (1e-4, 1e-4))
    rows = table_of(back)
    assert [row["image"] for row in rows] == [f"images/chip{number}.tif" for number in range(6)]


def test_a_safe_becomes_what_preprocess_makes_of_it(tmp_path):
    from product_builder import build, grid_params, index

    safe = make_safe(tmp_path / "raw")
    index(tmp_path / "raw", safe)
    expected = next(iter(build(tmp_path, grid_params(bands=("B02", "B8A"))).values()))
    params = {"grids": {"g": grid_params(bands=("B02", "B8A")).model_dump(mode="json")}}
    (tmp_path / "params.yaml").write_text(json.dumps(params))
    call("repack", "pack", safe, "-o", tmp_path / "out", "--grid", "g", "--params", tmp_path / "params.yaml")
    [found] = read_scenes(tmp_path / "out").values()
    np.testing.assert_array_equal(found.image, expected.image)
    np.testing.assert_array_equal(found.valid, expected.valid)
    assert found.record.offsets_applied == expected.record.offsets_applied


def test_cubes_go_in_as_series_and_come_out_as_a_chip_per_date(tmp_path):
    """Two NetCDF patches of two months each; every value is known: 1000 × patch + 100 × band + month."""
    from product_builder import grid_params

    for patch in (1, 2):
        numbers = {"B02": 100, "B03": 200}

        def plane(band, day, shape, patch=patch, numbers=numbers):
            return np.full(shape, 1000 * patch + numbers[band] + int(str(day)[5:7]))

        days = ("2019-05-04", "2019-06-08")
        make_patch(tmp_path / f"cubes/p{patch}.nc", dict.fromkeys(("B02", "B03"), days), plane)
    series = {
        "by": "product",
        "start": "2019-05-01",
        "bins": 2,
        "frequency": "1MS",
        "composite": "median",
        "max_gap": 0,
    }
    grid = grid_params(bands=("B02", "B03"), resolution_m=10).model_dump(mode="json") | {"series": series}
    (tmp_path / "params.yaml").write_text(json.dumps({"grids": {"g": grid}}))
    ask = ("repack", "pack", str(tmp_path / "cubes" / "*.nc"), "-o", tmp_path / "out", "--grid", "g", "--params",
           tmp_path / "params.yaml", "--scale", "1e-4")  # fmt: skip
    assert "packed 2 scenes" in call(*ask)
    assert "all bytes verified (2 scenes)" in call(*ask)
    assert {scene.pack is not None for scene in read_scenes(tmp_path / "out").values()} == {True}
    call("repack", "chips", tmp_path / "out", "-o", tmp_path / "back")
    rows = table_of(tmp_path / "back")
    assert [(row["scene"], row["date"]) for row in rows] == [
        (f"p{patch}", day) for patch in (1, 2) for day in ("2019-05-01", "2019-06-01")
    ]
    for row in rows:
        with rasterio.open(tmp_path / "back" / row["image"]) as image:
            first = 1000 * int(row["scene"][1]) + int(row["date"][5:7])
            assert [set(np.unique(band)) for band in image.read()] == [{first + 100}, {first + 200}]
            assert (image.descriptions, image.crs.to_epsg(), image.transform.c) == (("B02", "B03"), 32631, 300_000)


def test_masks_are_read_as_the_section_says_and_come_out_again(chips, tmp_path):
    from product_builder import make_raster, mask_params

    labels = np.full((1, 8, 8), 9, np.uint8)
    labels[0, :, 4:] = 7
    make_raster(tmp_path / "labels" / "m_chip2.tif", labels, origin=(600_000.0 + 480 * 2, 7_000_000.0))
    masks = mask_params(patterns=("*.tif",), match="name", values={"9": "ground", "7": "channel"}, zero="unlabelled")
    legend = [{"name": "ground", "color": "#000000"}, {"name": "channel", "color": "#ff0000"}]
    (tmp_path / "params.yaml").write_text(
        json.dumps({"masks": masks.model_dump(mode="json"), "classes": {"legend": legend}})
    )
    more = ("--masks", tmp_path / "labels", "--params", tmp_path / "params.yaml")
    packing(chips, tmp_path / "out", *more)
    scenes = read_scenes(tmp_path / "out")
    assert [name for name, scene in scenes.items() if scene.record.labelled] == ["chip2"]
    call("repack", "chips", tmp_path / "out", "-o", tmp_path / "back")
    assert [row["mask"] for row in table_of(tmp_path / "back")] == ["", "", "masks/chip2.tif", "", "", ""]
    wanted = np.where(np.arange(8) < 4, 0, 1) * np.ones((8, 1))
    wanted[0, 0] = 255  # not measured
    with rasterio.open(tmp_path / "back/masks/chip2.tif") as mask:
        np.testing.assert_array_equal(mask.read(1), wanted)
        assert mask.nodata == 255
    labels[0, 0, 5] = 9
    make_raster(tmp_path / "labels" / "m_chip2.tif", labels, origin=(600_000.0 + 480 * 2, 7_000_000.0))
    with pytest.raises(RepackError, match=r"was made of something else \(other mask files\)"):
        packing(chips, tmp_path / "out", *more)


def test_once_more_verifies_and_changes_nothing(chips, tmp_path):
    out = tmp_path / "packed"
    packing(chips, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert "is there already, made of just this; all bytes verified (6 scenes)" in packing(chips, out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_what_stands_there_is_not_destroyed_unasked(chips, tmp_path):
    out = tmp_path / "packed"
    out.mkdir()
    (out / "thesis.txt").write_text("years")
    with pytest.raises(RepackError, match=r"is there already and was not made by `thalweg repack`; give another --out"):
        packing(chips, out)
    assert (out / "thesis.txt").read_text() == "years"
    packing(chips, out, "--force")
    assert not (out / "thesis.txt").exists()
    (chips / "chip5.tif").unlink()
    with pytest.raises(RepackError, match=r"was made of something else \(other images, reading\)"):
        packing(chips, out)
    assert len(read_scenes(out)) == 6
    with pytest.raises(RepackError, match=r"holds pack; give another"):
        call("repack", "chips", out, "-o", out)
    packing(chips, out, "--force")
    assert len(read_scenes(out)) == 5


def test_a_damaged_byte_is_found(chips, tmp_path):
    out = tmp_path / "packed"
    packing(chips, out)
    image = sorted(out.glob("*/image.tif"))[0]
    image.chmod(0o644)
    data = bytearray(image.read_bytes())
    data[-1] ^= 1
    image.write_bytes(data)
    with pytest.raises(
        RepackError, match=r"image.tif is not as it was written \(1 of \d+ files\); give another --out, or"
    ):
        packing(chips, out)
    packing(chips, out, "--force")
    assert "verified" in packing(chips, out)


def test_an_error_leaves_what_stood_there(chips, tmp_path, monkeypatch):
    out = tmp_path / "packed"
    packing(chips, out)
    make_raster(chips / "chip9.tif", np.ones((2, 8, 8), np.int16), origin=(700_000.0, 7_000_000.0))

    def fails(*_):
        raise RepackError("differs")

    monkeypatch.setattr(room, "_compare", fails)
    with pytest.raises(RepackError, match=r"differs"):
        packing(chips, out, "--force")
    assert len(read_scenes(out)) == 6
    assert not list(tmp_path.glob(".*"))


def test_a_pack_that_differs_from_its_scenes_is_refused(tmp_path):
    one, same = (make_scene(tmp_path / name / "g", "s") for name in "ab")
    room._compare(one, same.__class__(same.folder))
    other = make_scene(tmp_path / "c" / "other", "s")
    with pytest.raises(RepackError, match=r"s has another record in s than alone"):
        room._compare(one, other)
    changed = raster.map_pixels(tmp_path / "b" / "g" / "s" / "valid.tif", "r+")
    changed[3, 3] = 0
    changed.flush()
    with pytest.raises(RepackError, match=r"s has another valid in s than alone; check the disk"):
        room._compare(one, same.__class__(same.folder))


def test_chips_of_a_split_with_their_labels(tmp_path):
    places = make_places(tmp_path)
    out = tmp_path / "out"
    call("repack", "chips", places.scenes, "-o", out, "--split", places.split, "--part", "val")
    rows = table_of(out)
    assert {row["part"] for row in rows} == {"val"}
    scenes = read_scenes(places.scenes)
    for row in rows:
        scene, top, left = scenes[row["scene"]], int(row["row"]), int(row["col"])
        with rasterio.open(out / row["mask"]) as mask, rasterio.open(out / row["image"]) as image:
            np.testing.assert_array_equal(mask.read(1), scene.mask[top : top + 16, left : left + 16])
            np.testing.assert_array_equal(
                image.read(), np.moveaxis(scene.image[top : top + 16, left : left + 16], -1, 0)
            )
            assert image.transform.c == 600_000 + 60 * left
    record = json.loads((out / FILE).read_text())
    assert set(record["files"]) == {"chips.csv", *(row["image"] for row in rows), *(row["mask"] for row in rows)}


def test_a_series_is_a_file_per_date_and_edges_are_filled(tmp_path):
    make_scene(tmp_path / "g", "s", shape=(40, 24), dates=("2025-05-01", "2025-09-01"))
    call("repack", "chips", tmp_path / "g", "-o", tmp_path / "out", "--chip-px", 32)
    rows = table_of(tmp_path / "out")
    assert [(row["row"], row["date"]) for row in rows] == [
        ("0", "2025-05-01"),
        ("0", "2025-09-01"),
        ("8", "2025-05-01"),
        ("8", "2025-09-01"),
    ]
    with rasterio.open(tmp_path / "out" / rows[1]["image"]) as image:
        assert (image.read()[:, :, 24:] == NODATA).all()
        scene = next(iter(read_scenes(tmp_path / "g").values()))
        np.testing.assert_array_equal(image.read()[:, :, :24], np.moveaxis(scene.image[:32, :, 2:], -1, 0))


def test_what_cannot_be_repacked(chips, tmp_path):
    with pytest.raises(RepackError, match=r"is no plain raster, so its grid must be said; give --grid"):
        call("repack", "pack", make_safe(tmp_path / "raw"), "-o", tmp_path / "out")
    with pytest.raises(RepackError, match=r"does not name its 2 bands; say which is which by --bands"):
        call("repack", "pack", str(chips / "*.tif"), "-o", tmp_path / "out", "--scale", "1e-4")
    with pytest.raises(RepackError, match=r"nowhere is no folder; make it, or give another --out"):
        packing(chips, tmp_path / "nowhere" / "out")
    with pytest.raises(RepackError, match=r"--part is train, val or test of a --split, got 'val'"):
        call("repack", "chips", chips, "-o", tmp_path / "out", "--part", "val")
    with pytest.raises(RepackError, match=r"--masks should be a folder of masks"):
        packing(chips, tmp_path / "out", "--masks", tmp_path / "none")
    make_raster(tmp_path / "other" / "chip0.tif", np.ones((2, 8, 8), np.int16), origin=(600_000.0, 7_000_000.0))
    with pytest.raises(ImageError, match=r"two images have the name chip0"):
        packing(chips, tmp_path / "out", str(tmp_path / "other" / "chip0.tif"))
    make_scene(tmp_path / "g", "s", valid=np.zeros((64, 64)))
    with pytest.raises(RepackError, match=r"has no such chip; lower --least-valid"):
        call("repack", "chips", tmp_path / "g", "-o", tmp_path / "out", "--least-valid", 0.5)
