"""What cannot be mapped as it is said is one sentence before any image is prepared; items point at what stays."""

import json
import shutil

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from image_builder import World, call, make_raster

from thalweg import export
from thalweg.errors import ArchiveError, ContractError, ImageError, ParamsError
from thalweg.maps import PROB_NODATA

SAID = ("--bands", "B02=1,B03=2,B04=3,B8A=4", "--scale", "0.0001")


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> World:
    """One world for tests that only read it."""
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def image(shared):
    """40 × 50 pixels of 60 m, numbers without names or scale."""
    planes = np.random.default_rng(0).integers(500, 3000, (4, 40, 50)).astype(np.uint16)
    return make_raster(shared.root / "plain.tif", planes, crs="EPSG:32720", origin=(500_000.0, 7e6), pixel=60.0)


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (("--bands", "B02=1,B02=2"), ImageError, "names a band twice"),
        (("--bands", "B02=1,B03=2"), ImageError, "says nothing of B04, B8A, which the model reads; add B04="),
        (("--bands", "B02=1,B03=2,B04=3,B8A=9"), ImageError, "says B8A=9, but .* is one raster of 4 bands; give a num"),
        (("--bands", "B02=a.tif,B03=2,B04=3,B8A=4"), ImageError, "says B02=a.tif, but .* is one raster of 4 bands"),
        (("--scale", "0"), ImageError, "--scale 0 makes every pixel the same"),
        (("--scale", "nan"), ImageError, "--scale nan makes every pixel the same"),
        (("--offset", "inf"), ImageError, "--offset inf"),
        (("--pixel-m", "0"), ImageError, "--pixel-m is 0"),
        ((*SAID, "--nodata", "70000"), ImageError, r"--nodata 70000 is no value that .* can hold \(uint16\)"),
        ((*SAID, "--nodata", "nan"), ImageError, "--nodata nan is no value"),
        (("--date", "yesterday"), ImageError, "--date should be a day such as 2025-10-03, got 'yesterday'"),
        (("--device", "gpu"), ParamsError, "'gpu' is no device that torch knows; give one of auto, cpu"),
        (("--device", "cuda:77"), ParamsError, "there is no device 'cuda:77' for torch on this machine"),
        (("--blend", "foo"), ParamsError, "cannot be blended by 'foo'"),
    ],
)
def test_what_is_said_wrongly_is_one_sentence_and_leaves_no_map(shared, image, tmp_path, words, error, said):
    for more in ((), ("--dry-run",)):
        with pytest.raises(error, match=said):
            call("predict", shared.model, image, "--out", tmp_path / "map", *words, *more)
    assert not (tmp_path / "map").exists()


def test_a_folder_below_a_file_is_refused(shared, image, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ImageError, match=r"x cannot be made, because .*file is a file; give another --out"):
        call("predict", shared.model, image, *SAID, "--out", tmp_path / "file" / "x")


def test_a_picture_without_georeference_is_told_what_to_say(shared, tmp_path):
    path = tmp_path / "picture.tif"
    profile = {"driver": "GTiff", "count": 4, "height": 40, "width": 40, "dtype": "uint16"}
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning), rasterio.open(path, "w", **profile) as dataset:
        dataset.write(np.full((4, 40, 40), 900, np.uint16))
    with (
        pytest.warns(rasterio.errors.NotGeoreferencedWarning),
        pytest.raises(ImageError, match=r"has no CRS.*or say --pixel-m for a picture that shall have none"),
    ):
        call("predict", shared.model, path, *SAID, "--out", tmp_path / "map")


def test_degrees_of_the_models_own_resolution_are_brought_to_metres_where_asked(shared, tmp_path):
    planes = np.full((4, 40, 40), 900, np.uint16)
    path = make_raster(tmp_path / "deg.tif", planes, crs="EPSG:4326", origin=(-60.0, -1.0), pixel=60 / 111_320)
    with pytest.raises(ContractError, match=r"lies turned or in degrees \(EPSG:4326\), .*; give --resample"):
        call("predict", shared.model, path, *SAID, "--out", tmp_path / "map")
    call("predict", shared.model, path, *SAID, "--out", tmp_path / "map", "--resample")
    with rasterio.open(tmp_path / "map" / "probs.tif") as dataset:
        assert dataset.crs.to_epsg() == 32721
        assert dataset.res == pytest.approx((60, 60))
        assert (dataset.read(1) != PROB_NODATA).mean() > 0.9


def area(path, *bounds):
    geopandas.GeoDataFrame(geometry=[shapely.box(*bounds)], crs="EPSG:32720").to_crs(4326).to_file(path)
    return path


def test_an_area_elsewhere_is_an_error_and_a_dry_run_counts_its_windows(shared, image, tmp_path):
    far = area(tmp_path / "far.gpkg", 700_000, 6_900_000, 701_000, 6_901_000)
    with pytest.raises(ImageError, match=r"far\.gpkg, the area of interest, touches none of the images \(plain\)"):
        call("predict", shared.model, image, *SAID, "--out", tmp_path / "map", "--aoi", far)
    corner = area(tmp_path / "corner.gpkg", 500_060, 6_999_400, 500_600, 6_999_940)  # pixels 1…10 of rows and columns
    whole = call("predict", shared.model, image, *SAID, "--dry-run", "--overlap", "0")
    some = call("predict", shared.model, image, *SAID, "--dry-run", "--overlap", "0", "--aoi", corner)
    assert "40 × 50 pixels, 4 windows of 32" in whole
    assert "40 × 50 pixels, 2 windows of 32" in some  # rows from 0 and from 8, columns from 0 but not from 18


def test_maps_of_each_image_need_names_and_go_on_after_a_kill(shared, image, tmp_path, monkeypatch):
    copies = [tmp_path / name / "plain.tif" for name in "ab"]
    for path in copies:
        path.parent.mkdir()
        shutil.copy(image, path)
    with pytest.raises(ImageError, match=r"2 images have 1 different names \(plain\)"):
        call("predict", shared.model, *copies, *SAID, "--each", "--out", tmp_path / "maps")
    second = copies[1].rename(tmp_path / "second.tif")
    words = ("predict", shared.model, copies[0], second, *SAID, "--each", "--out", tmp_path / "maps")
    from thalweg.predict import run

    real = run.predict

    def killed(order, *rest):
        if order.images[0] == second:
            raise KeyboardInterrupt
        return real(order, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(run, "predict", killed)
        with pytest.raises((KeyboardInterrupt, SystemExit, AssertionError)):
            call(*words)
    assert {path.name for path in (tmp_path / "maps").iterdir() if not path.name.startswith(".")} == {"plain"}
    said = call(*words)
    assert f"{tmp_path / 'maps' / 'plain'} was finished by the run before" in said
    assert {path.name for path in (tmp_path / "maps").iterdir()} == {"plain", "second"}
    assert not list(tmp_path.glob(".maps*"))
    with pytest.raises(ImageError, match="plain is there already; remove it"):
        call(*words)


def hrefs(folder) -> dict[str, str]:
    [path] = folder.glob("*.json")
    found = {key: asset["href"] for key, asset in json.loads(path.read_text())["assets"].items()}
    assert all((folder / href).exists() for href in found.values()), found
    return found


def test_every_link_of_an_item_is_there_after_predict(shared, image, tmp_path):
    call("bundle", shared.model, "--out", tmp_path / "one.zip")
    shutil.copytree(shared.model, tmp_path / "renamed")
    onnx = tmp_path / "one.onnx"
    deployed, card = export.load(shared.model)
    chips, _ = export.read_chips(card, shared.root / "scenes", needed=True)
    export.write_onnx(deployed, export.trace(deployed, card, chips), card, chips, onnx)
    wanted = {"one.zip": "../one.zip", "one.onnx": "../one.onnx", "renamed": "../renamed/weights.safetensors"}
    for name, href in wanted.items():
        call("predict", tmp_path / name, image, *SAID, "--out", tmp_path / f"map_{name}")
        assert hrefs(tmp_path / f"map_{name}")["weights/one"] == href


def test_bundles_have_the_suffix_that_predict_knows_them_by(shared, tmp_path):
    with pytest.raises(ArchiveError, match=r"b\.tar should end in \.zip"):
        call("bundle", shared.model, "--out", tmp_path / "b.tar")
    with pytest.raises(ArchiveError, match="none is no folder; make it first"):
        call("bundle", shared.model, "--out", tmp_path / "none" / "b.zip")
    (tmp_path / "cut.zip").write_bytes(b"PK\x03\x04")
    with pytest.raises(ArchiveError, match=r"cut\.zip is no whole zip; copy the bundle again"):
        call("predict", tmp_path / "cut.zip", shared.safe)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--values", "junk"), "--values should be VALUE=CLASS,… such as 255=channel, got 'junk'"),
        (("--values", "255=channel", "--zero", "foo"), "--zero should be background or unlabelled, got 'foo'"),
    ],
)
def test_evaluate_says_what_is_wrong_with_labels(shared, image, words, said):
    with pytest.raises(ImageError, match=said):
        call("evaluate", shared.model, image, *SAID, "--masks", image, *words)
