"""Tiles and pixels of a map before the server: level 0 is the raster, others its overviews, and nothing else is served."""

import io
import json
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest
import rasterio
from explorer_builder import explored, make_below, make_explored
from PIL import Image
from report_builder import LEGEND
from scene_builder import make_scene

from thalweg.errors import ViewError
from thalweg.explorer.find import find_sources
from thalweg.explorer.ground import Ground
from thalweg.explorer.held import HeldMap
from thalweg.explorer.serve import Viewer
from thalweg.explorer.tiles import Source


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Source:
    shown, ground = explored(tmp_path_factory.mktemp("map"), (300, 600))
    return Source("main", ground, shown)


@pytest.fixture(scope="module")
def served(source):
    with Viewer({"main": source}, lambda: "<p>data</p>") as viewer:
        threading.Thread(target=viewer.run, daemon=True).start()
        yield viewer
        viewer.shutdown()


def pixels(tile) -> np.ndarray:
    with Image.open(io.BytesIO(tile.content)) as image:
        return np.array(image.convert("RGBA"))


def labels_of(source) -> np.ndarray:
    with rasterio.open(source.shown.files.classes) as dataset:
        return dataset.read(1)


def test_level_0_shows_every_pixel(source):
    labels = labels_of(source)
    palette = np.zeros((256, 4), np.uint8)
    palette[:3] = [(230, 224, 212, 255), (31, 111, 180, 255), (0, 120, 60, 255)]
    for row, col in ((0, 0), (1, 2)):
        expected = np.full((256, 256), 255, np.uint8)
        part = labels[row * 256 : row * 256 + 256, col * 256 : col * 256 + 256]
        expected[: part.shape[0], : part.shape[1]] = part
        drawn = pixels(source.tile("classes", 0, row, col))
        assert np.array_equal(drawn[expected != 255], palette[expected][expected != 255])
        assert (drawn[expected == 255][:, 3] == 0).all()


def test_scenes_that_lie_apart_are_parts_to_go_to(tmp_path):
    """A map of 40 × 400 pixels with 40 × 40 of scene at either end."""
    files = make_explored(tmp_path, (40, 400))
    ends = [make_scene(tmp_path / "build/scenes/g10", name, origin=files.grid.transform @ (col, 0), pixel=10.0,
                       shape=(40, 40), channels=("B02", "B03", "B04")) for name, col in (("A", 0), ("B", 360))]  # fmt: skip
    apart = Source("main", Ground(ends, files.grid), HeldMap("main", files))
    assert apart.describe()["pieces"] == [[0, 0, 40, 40], [0, 360, 40, 40]]
    assert Source("main", Ground([], files.grid), HeldMap("main", files)).describe()["pieces"] == [[0, 0, 40, 400]]


def test_the_last_level_shows_all_in_one_tile(source):
    assert source.levels == 3  # 600 columns: 256, 512, 1024
    drawn = pixels(source.tile("classes", 2, 0, 0))
    assert (drawn[75:, :, 3] == 0).all()  # 300 rows are 75 of them
    assert (drawn[:, 150:, 3] == 0).all()
    assert drawn[20:75, 30:150, 3].all()


def test_every_layer_has_tiles(source):
    for look in source.looks():
        assert pixels(source.tile(look.key, 1, 0, 0)).shape == (256, 256, 4)


def test_the_mask_is_the_scenes(source):
    drawn = pixels(source.tile("mask", 0, 0, 0))
    assert (drawn[source.ground.scenes[0].mask[:256, :256] == 1] == (31, 111, 180, 255)).all()


def test_a_pixels_values_are_those_of_the_rasters(source):
    labels = labels_of(source)
    with rasterio.open(source.shown.files.probs) as dataset:
        probs = dataset.read()
    told = {each["title"]: each for each in source.values(200, 333)}
    assert told["class"]["value"] == labels[200, 333]
    assert told["probability of the class said"]["value"] == probs[labels[200, 333], 200, 333]
    assert told["mask"]["value"] == source.ground.scenes[0].mask[200, 333]
    assert {each["value"] for each in source.values(0, 0) if each["title"] != "mask"} == {None}


@pytest.mark.parametrize("at", [("classes", 3, 0, 0), ("classes", 0, 2, 0), ("classes", 0, 0, 3)])
def test_a_tile_off_the_map_is_named(source, at):
    with pytest.raises(ViewError, match=r"main has no tile .*; its levels are 0 to 2"):
        source.tile(*at)


def test_an_unknown_layer_and_pixel_are_named(source):
    with pytest.raises(ViewError, match=r"main has no layer 'roads', but image-0, .*classes; open the page anew"):
        source.tile("roads", 0, 0, 0)
    with pytest.raises(ViewError, match=r"main has no picture 'image-7'"):
        source.tile("image-7", 0, 0, 0)
    with pytest.raises(ViewError, match=r"main has no pixel 300, 0; it has 300 rows and 600 columns"):
        source.values(300, 0)


def get(viewer, path: str, **headers: str) -> tuple[int, str, bytes]:
    request = urllib.request.Request(viewer.address + path.lstrip("/"), headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read()


def test_pages_tiles_and_values_are_served(served, source):
    status, kind, page = get(served, "/")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert b'data-config="explorer-config"' in page
    status, kind, tile = get(served, "/at/main/tile/classes/1/0/0")
    assert (status, kind, tile) == (200, "image/png", source.tile("classes", 1, 0, 0).content)
    assert get(served, "/at/main/tile/image-0/1/0/0")[1] == "image/webp"
    assert json.loads(get(served, "/at/main/value?row=200&col=333")[2]) == source.values(200, 333)
    assert get(served, "/data")[2] == b"<p>data</p>"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/etc/passwd", "there is no page /etc/passwd"),
        ("/at/main/../../etc/passwd", "there is no page"),
        ("/at/main/tile/classes/-1/0/0", "should be a whole number, got '-1'"),
        ("/at/main/value?row=1", "should be a whole number, got ''"),
        ("/at/other/", "there is no page /at/other/"),
        ("/at/main/tile/classes/9/0/0", "has no tile 9/0/0"),
    ],
)
def test_anything_else_is_not_found_in_one_sentence(served, path, said):
    status, _, text = get(served, path)
    assert status == 404
    assert said in text.decode()


def test_another_name_of_this_machine_is_refused(served):
    """A page of the web could otherwise point its own name here and read what is shown."""
    assert get(served, "/", Host="maps.example")[0] == 403


def test_it_listens_to_this_machine_alone(served):
    assert served.server_address[0] == "127.0.0.1"


def test_a_port_that_is_taken_is_named(served, source):
    with pytest.raises(ViewError, match=r"port \d+ of 127\.0\.0\.1 is taken .*; give another by --port"):
        Viewer({"main": source}, port=served.server_address[1])


def test_a_projects_maps_come_first_and_then_its_scenes(tmp_path):
    files = make_explored(tmp_path, (40, 50))
    make_below(tmp_path, files)
    found = find_sources(None, tmp_path, LEGEND)
    assert list(found) == ["main", "g10/A"]
    assert [scene.name for scene in found["main"].ground.scenes] == ["A"]
    assert [look.key for look in found["g10/A"].looks()] == ["image-0", "image-1", "mask"]
    assert find_sources(tmp_path / "maps/main/classes.tif", tmp_path, ()).keys() == {"classes.tif"}
    [scene] = find_sources(tmp_path / "build/scenes/g10/A", tmp_path, ()).values()
    assert [look.key for look in scene.looks()] == ["image-0", "image-1"]  # no names of classes: no mask


def test_scenes_far_from_the_map_are_not_below_it(tmp_path):
    files = make_explored(tmp_path, (40, 50))
    make_below(tmp_path, files, shift_px=500)
    assert find_sources(tmp_path / "maps/main", tmp_path, ())["main"].ground.scenes == ()


def test_what_is_neither_map_nor_scene_is_named(tmp_path):
    with pytest.raises(
        ViewError, match=r"holds neither classes\.tif nor scene\.json; name the folder of a map or of a"
    ):
        find_sources(tmp_path, tmp_path, ())
    with pytest.raises(
        ViewError, match=r"has no map in maps/ and no scene in build/scenes; name one, or run `dvc repro`"
    ):
        find_sources(None, tmp_path, ())


def test_a_map_of_one_tile_has_one_level(tmp_path):
    files = make_explored(tmp_path, (40, 50))
    assert Source("main", Ground([], files.grid)).levels == 1


@pytest.mark.parametrize(("fault", "told"), [(BrokenPipeError(32, "Broken pipe"), False), (ValueError("odd"), True)])
def test_a_browser_that_went_away_is_no_fault_and_any_other_is(served, capsys, fault, told):
    try:
        raise fault
    except (BrokenPipeError, ValueError):
        served.handle_error(None, ("127.0.0.1", 1))
    assert ("Traceback" in capsys.readouterr().err) is told
