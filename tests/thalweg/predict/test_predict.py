"""A model directory alone maps any image: the same pixels as the stage's, or one sentence that says why not."""

import shutil

import numpy as np
import pytest
import rasterio
from ensemble_builder import make_ensemble
from image_builder import BANDS, LEGEND, World, call, make_model, make_raster
from map_builder import make_chips
from scene_builder import make_scene

from thalweg import params
from thalweg.ensemble import build_map
from thalweg.errors import ArchiveError, CardError, ContractError, DegradedDataWarning, ImageError
from thalweg.manifest.card import read_card, write_card
from thalweg.manifest.chips import PARTS
from thalweg.maps import PROB_NODATA
from thalweg.params.classes import Classes
from thalweg.preprocess import plan_scenes


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> World:
    """One world for tests that only read it."""
    return World(tmp_path_factory.mktemp("world"), scl=(0, 1, 3, 8, 9, 10))


def read(path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read()


def layers(folder) -> dict[str, np.ndarray]:
    return {name: read(folder / f"{name}.tif") for name in ("probs", "classes", "uncertainty")}


def test_a_product_is_mapped_as_the_stage_maps_its_scene(shared, tmp_path):
    said = call("predict", shared.model, shared.safe, "--out", tmp_path / "map", "--device", "cpu")
    assert f"mapped 1 image by one; open {tmp_path / 'map' / 'classes.tif'}" in said
    assert not list(tmp_path.glob(".map*")), "what was on the way is gone"
    make_chips(shared.root / "split", "g", {"elsewhere": np.full((2, 2), PARTS["train"])})
    build_map(
        "m", make_ensemble(grid="g", threshold="argmax"), Classes(legend=LEGEND), models=shared.root / "models",
        scenes_root=grids(shared), split=shared.root / "split", map_dir=tmp_path / "stage", card_dir=tmp_path / "card",
        metrics_path=tmp_path / "metrics.json", device="cpu")  # fmt: skip
    for name, made in layers(tmp_path / "map").items():
        np.testing.assert_array_equal(made, layers(tmp_path / "stage")[name], err_msg=name)
    assert (layers(tmp_path / "map")["probs"] != PROB_NODATA).any()
    assert {"classes.qml", "classes.tif.aux.xml"} <= {path.name for path in (tmp_path / "map").iterdir()}


def grids(world: World):
    """`build/scenes`, with the grid's folder below."""
    home = world.root / "grids"
    if not home.exists():
        home.mkdir()
        (home / "g").symlink_to(world.root / "scenes")
    return home


def test_tags_tell_model_and_products(shared, tmp_path):
    call("predict", shared.model, shared.safe, "--out", tmp_path / "map")
    with rasterio.open(tmp_path / "map" / "classes.tif") as dataset:
        tags = dataset.tags()
    assert tags["PRODUCTS"] == shared.scene.record.product
    assert tags["MEMBERS"].startswith("one:")
    assert tags["WEIGHTS"].startswith("one:")
    assert {"THALWEG_VERSION", "GIT_COMMIT", "PARAMS_SHA256"} <= set(tags)
    assert str(tmp_path) not in str(tags)


def test_a_scene_folder_a_raster_and_the_product_give_one_map(shared, tmp_path):
    call("predict", shared.model, shared.safe, "--out", tmp_path / "product")
    call("predict", shared.model, shared.scene.folder, "--out", tmp_path / "scene")
    image = tmp_path / "plain.tif"
    shutil.copy(shared.scene.folder / "image.tif", image)
    with pytest.warns(DegradedDataWarning, match="plain brings no scene classes"):
        call("predict", shared.model, image, "--out", tmp_path / "raster")
    product, scene, raster = (layers(tmp_path / name)["probs"] for name in ("product", "scene", "raster"))
    np.testing.assert_array_equal(product, scene)
    seen = product[0] != PROB_NODATA
    assert seen.all() or (raster[0] != PROB_NODATA).sum() >= seen.sum()
    np.testing.assert_array_equal(raster[:, seen], product[:, seen])


def test_bands_scale_and_offset_are_said_where_a_raster_does_not(shared, tmp_path):
    image = np.asarray(shared.scene.image)
    planes = np.where(image.transpose(2, 0, 1) == -32768, 0, image.transpose(2, 0, 1) + 1000).astype(np.uint16)
    origin = (shared.scene.record.transform[2], shared.scene.record.transform[5])
    path = make_raster(tmp_path / "numbers.tif", planes[::-1], crs=shared.scene.record.crs, origin=origin, pixel=60.0)
    with pytest.raises(ImageError, match=r"no band named B02, B03, B04, B8A, .*say which is which by --bands B02=1"):
        call("predict", shared.model, path, "--out", tmp_path / "no")
    bands = "B8A=1,B04=2,B03=3,B02=4"
    with pytest.raises(ImageError, match=r"holds uint16 without a scale, but the model reads reflectance; say --scale"):
        call("predict", shared.model, path, "--out", tmp_path / "no", "--bands", bands)
    with pytest.warns(DegradedDataWarning, match="brings no scene classes"):
        call("predict", shared.model, path, "--out", tmp_path / "map", "--bands", bands, "--scale", "0.0001",
             "--offset", "-1000", "--nodata", "0")  # fmt: skip
    call("predict", shared.model, shared.scene.folder, "--out", tmp_path / "scene")
    found, wanted = (layers(tmp_path / name)["probs"] for name in ("map", "scene"))
    seen = wanted[0] != PROB_NODATA
    np.testing.assert_array_equal(found[:, seen], wanted[:, seen])


@pytest.mark.filterwarnings("ignore::thalweg.errors.DegradedDataWarning")
@pytest.mark.parametrize("resolution_m", [60, None])
@pytest.mark.parametrize("crs", ["EPSG:32720", "EPSG:4326"])
def test_another_resolution_is_an_error_or_resampled_when_asked(tmp_path, resolution_m, crs):
    world = World(tmp_path)
    card = world.card.model_copy(update={"preparation": world.card.preparation | {"resolution_m": resolution_m}})
    write_card(card, world.model)
    fine = np.kron(np.random.default_rng(0).integers(500, 3000, (4, 20, 20)), np.ones((6, 6))).astype(np.uint16)
    place = {"pixel": 10.0} if crs == "EPSG:32720" else {"pixel": 10 / 111_320, "origin": (-60.0, -1.0)}
    path = make_raster(tmp_path / "fine.tif", fine, crs=crs, **place)
    said = ("--bands", "B02=1,B03=2,B04=3,B8A=4", "--scale", "0.0001")
    with pytest.raises(
        ContractError,
        match=r"has pixels of (9\.9\d*|10\.?\d*) m, but member 'one' was trained on 59.9 to 60.1 m; give --resample",
    ):
        call("predict", world.model, path, "--out", tmp_path / "no", *said)
    call("predict", world.model, path, "--out", tmp_path / "map", *said, "--resample")
    with rasterio.open(tmp_path / "map" / "probs.tif") as dataset:
        assert dataset.crs.is_projected
        assert dataset.res == pytest.approx((60, 60), abs=0.1)
        assert abs(dataset.width - 20) <= 1
        assert (dataset.read(1) != PROB_NODATA).mean() > 0.9


def test_only_ground_inside_an_area_is_mapped(shared, tmp_path):
    import geopandas
    import shapely

    west, south, east, north = shared.scene.grid.bounds
    inside = shapely.box(west + 600, south + 600, east - 600, north - 600)
    path = tmp_path / "area.geojson"
    geopandas.GeoDataFrame(geometry=[inside], crs=shared.scene.record.crs).to_crs(4326).to_file(path)
    call("predict", shared.model, shared.scene.folder, "--out", tmp_path / "some", "--aoi", path)
    call("predict", shared.model, shared.scene.folder, "--out", tmp_path / "all")
    some, whole = (layers(tmp_path / name)["probs"] for name in ("some", "all"))
    wanted = np.zeros(some.shape[1:], bool)
    wanted[10:-10, 10:-10] = True
    seen = some[0] != PROB_NODATA
    assert (seen == (wanted & (whole[0] != PROB_NODATA))).all(), "complete to its edge, and nothing outside"
    assert (np.abs(some[:, seen].astype(int) - whole[:, seen]) <= 1).all()


def test_a_dry_run_counts_windows_and_writes_nothing(shared, tmp_path):
    said = call("predict", shared.model, shared.safe, "--out", tmp_path / "map", "--dry-run", "--device", "cpu")
    # 32 × 32 pixels are one window of 32
    assert "32 × 32 pixels, 1 windows of 32 in batches of" in said
    assert "GiB beside the model" in said
    assert "in all about 0 s of prediction" in said
    assert call("predict", shared.model, shared.scene.folder, "--dry-run").startswith(f"one on {shared.scene.name}")
    assert not (tmp_path / "map").exists()


def test_headers_alone_say_where_scenes_will_lie(shared):
    grid = params.parse(type_of_grid(), shared.card.preparation | {"products": "*", "pack": 1}, "g", shared.root)
    assert plan_scenes(shared.root / "raw", grid) == {shared.scene.name: shared.scene.grid}


def type_of_grid():
    from thalweg.params.grids import GridParams

    return GridParams


def test_each_image_has_a_map_of_its_own_where_asked(shared, tmp_path):
    other = make_scene(tmp_path / "g", "far", channels=BANDS, origin=(900_000.0, 7_000_000.0), mask=None)
    call("predict", shared.model, shared.scene.folder, other.folder, "--each", "--out", tmp_path / "maps")
    assert {path.name for path in (tmp_path / "maps").iterdir()} == {shared.scene.name, "far"}


def test_globs_and_what_they_do_not_find(shared, tmp_path, monkeypatch):
    monkeypatch.chdir(shared.root)
    assert "mapped 1 image" in call("predict", shared.model, "raw/*.SAFE", "--out", tmp_path / "map")
    with pytest.raises(ImageError, match=r"raw/\*\.tif finds nothing .*name an image"):
        call("predict", shared.model, "raw/*.tif", "--out", tmp_path / "no")
    with pytest.raises(ImageError, match=r"raw/x.tif is not there"):
        call("predict", shared.model, "raw/x.tif", "--out", tmp_path / "no")
    with pytest.raises(ImageError, match="map is there already; remove it"):
        call("predict", shared.model, "raw/*.SAFE", "--out", tmp_path / "map")


def test_what_is_no_model_is_one_sentence(shared, tmp_path):
    (tmp_path / "card.json").write_text('{"a": 1}')
    for path, said in (
        (tmp_path / "none", "holds no card.json, so it is no model"),
        (tmp_path, "is the card of neither"),
    ):
        with pytest.raises(CardError, match=said):
            call("predict", path, shared.safe)
    (tmp_path / "card.json").write_text("{")
    with pytest.raises(CardError, match="is no JSON"):
        call("predict", tmp_path, shared.safe)
    with pytest.raises(ArchiveError, match="is missing; make it by `thalweg bundle`"):
        call("predict", tmp_path / "x.zip", shared.safe)


def test_an_ensemble_needs_the_models_it_was_made_of(shared, tmp_path):
    (tmp_path / "ensembles" / "main").mkdir(parents=True)
    (tmp_path / "ensembles" / "main" / "card.json").write_text('{"members": {"one": {"card_sha256": "0"}}}')
    with pytest.raises(CardError, match=r"is of the model one, but .* holds none; keep ensembles/ and models/"):
        call("predict", tmp_path / "ensembles" / "main", shared.safe)
    shutil.copytree(shared.model, tmp_path / "models" / "one")
    with pytest.raises(CardError, match=r"is not the model that .* was made of"):
        call("predict", tmp_path / "ensembles" / "main", shared.safe)


def test_old_cards_predict_scenes_and_say_what_they_lack_for_products(shared, tmp_path):
    import json

    old = tmp_path / "old"
    shutil.copytree(shared.model, old)
    data = json.loads((old / "card.json").read_text())
    for key in ("calibration", "preparation", "deciles", "shares", "pixel_m_range"):
        del data[key]
    (old / "card.json").write_text(json.dumps(data | {"schema_version": 1, "pixel_m": 60.0}))
    call("predict", old, shared.scene.folder, "--out", tmp_path / "old_map")
    call("predict", shared.model, shared.scene.folder, "--out", tmp_path / "new_map")
    np.testing.assert_array_equal(layers(tmp_path / "old_map")["probs"], layers(tmp_path / "new_map")["probs"])
    with pytest.raises(ImageError, match=r"card of member 'one' \(of an older Thalweg\) does not say how its scenes"):
        call("predict", old, shared.safe, "--out", tmp_path / "no")


def test_a_scene_of_other_bands_is_refused_by_the_contract(shared, tmp_path):
    other = make_scene(tmp_path / "g", "other", channels=("B02", "B03"))
    with pytest.raises(ContractError, match="member 'one' was trained on channels B02, B03, B04, B8A, but scene"):
        call("predict", shared.model, other.folder, "--out", tmp_path / "no")


def test_two_images_of_one_name_are_refused(shared, tmp_path):
    copies = [tmp_path / name / shared.safe.name for name in "ab"]
    for path in copies:
        shutil.copytree(shared.safe, path)
    with pytest.raises(ImageError, match=r"have one name, .*; rename one"):
        call("predict", shared.model, *copies, "--out", tmp_path / "no")
    scenes = [make_scene(tmp_path / name, "s", channels=BANDS).folder for name in "cd"]
    with pytest.raises(ImageError, match="are scenes of one name"):
        call("predict", shared.model, *scenes, "--out", tmp_path / "no")


def test_pictures_without_a_place_are_not_on_one_map(shared, tmp_path):
    from thalweg.manifest.scene import write_scene_record

    folders = []
    for name in "ab":
        scene = make_scene(tmp_path / "g", name, channels=BANDS)
        write_scene_record(scene.record.model_copy(update={"georeferenced": False}), scene.folder)
        folders.append(scene.folder)
    with pytest.raises(ImageError, match=r"a is a picture without georeference, .*; give --each"):
        call("predict", shared.model, *folders, "--out", tmp_path / "no")
    call("predict", shared.model, *folders, "--each", "--out", tmp_path / "maps")


def test_folders_of_files_and_bad_band_lists(shared, tmp_path):
    folder = tmp_path / "bands"
    image = np.asarray(shared.scene.image).transpose(2, 0, 1).astype(np.int16)
    origin = (shared.scene.record.transform[2], shared.scene.record.transform[5])
    for plane, name in zip(image, BANDS, strict=True):
        make_raster(
            folder / f"{name}.tif", plane[None], crs=shared.scene.record.crs, origin=origin, pixel=60.0, nodata=-32768
        )
    with pytest.raises(ImageError, match="is a folder, but no SAFE product and no scene; say which file is which band"):
        call("predict", shared.model, folder, "--out", tmp_path / "no")
    with pytest.raises(ImageError, match="--bands should be B02=1,B03=2,…, got 'B02'; correct it"):
        call("predict", shared.model, folder, "--bands", "B02")
    with pytest.warns(DegradedDataWarning, match="brings no scene classes"):
        call("predict", shared.model, folder, "--out", tmp_path / "map", "--scale", "0.0001", "--bands",
             ",".join(f"{name}={name}.tif" for name in BANDS))  # fmt: skip
    call("predict", shared.model, shared.scene.folder, "--out", tmp_path / "scene")
    found, wanted = (layers(tmp_path / name)["probs"] for name in ("map", "scene"))
    seen = wanted[0] != PROB_NODATA
    np.testing.assert_array_equal(found[:, seen], wanted[:, seen])


def test_tta_is_the_mean_of_the_eight_views(shared, tmp_path):
    call("predict", shared.model, shared.scene.folder, "--out", tmp_path / "plain")
    call("predict", shared.model, shared.scene.folder, "--out", tmp_path / "turned", "--tta")
    plain, turned = (layers(tmp_path / name)["probs"] for name in ("plain", "turned"))
    assert (plain != turned).any()
    assert read_card(shared.model).temperature == 1.5


def test_models_on_the_season_are_told_the_date(tmp_path):
    world = World(tmp_path, channels=("month_sin",))
    assert make_model(tmp_path / "models" / "two", world.scene).channels[-1].name == "month_sin"
    image = tmp_path / "plain.tif"
    shutil.copy(world.scene.folder / "image.tif", image)
    call("predict", world.model, image, "--out", tmp_path / "map", "--date", "2025-10-03")
    call("predict", world.model, world.safe, "--out", tmp_path / "product")
    np.testing.assert_array_equal(layers(tmp_path / "map")["probs"], layers(tmp_path / "product")["probs"])
