"""Parcels by hand: a map of 1 × 10 m pixels, fields drawn on it, truth and parts beneath."""

from pathlib import Path

import geopandas
import h5py
import numpy as np
import pandas as pd
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from map_builder import make_parts
from plain_map import make_grid, make_map
from scene_builder import make_scene
from series_builder import make_patch
from typer.testing import CliRunner

from thalweg import cli, params, raster
from thalweg.errors import ParcelError
from thalweg.grid import Grid, Window
from thalweg.manifest.chips import PARTS
from thalweg.parcels import assess_parcels, write_assessed
from thalweg.parcels.ground import Ground
from thalweg.parcels.inside import to_inner
from thalweg.parcels.sources import RasterParcels, Regions, VectorParcels, open_parcels

NAMES = ("background", "channel", "water")
NO = 255
WEST, NORTH = 600_000.0, 7_000_000.0


def write_numbers(path: Path, numbers, grid=None, dtype=np.int32, nodata=None) -> Path:
    numbers = np.asarray(numbers, dtype)
    raster.write(path, numbers, grid or make_grid(numbers.shape), nodata=nodata)
    return path


def field(row, col, height, width, pixel=10.0):
    """The box of some pixels."""
    return shapely.box(WEST + col * pixel, NORTH - (row + height) * pixel, WEST + (col + width) * pixel, NORTH - row * pixel)  # fmt: skip


def write_fields(path: Path, shapes, crs="EPSG:32720", **columns) -> Path:
    geopandas.GeoDataFrame(columns, geometry=list(shapes), crs="EPSG:32720").to_crs(crs).to_file(path, driver="GPKG")
    return path


def voted(folder, labels, numbers, border_m=0.0, probs=None, **more):
    labels = np.asarray(labels, np.uint8)
    files = make_map(folder, labels, NAMES, probs=probs)
    parcels = RasterParcels([write_numbers(folder / "numbers.tif", numbers)], files.grid, "")
    return assess_parcels(files, parcels, None, border_m, **more).parcels.set_index("id")


def test_two_parcels_vote(tmp_path):
    """Parcel 7: three of channel, one of water; parcel 9: two of water, one pixel without a map."""
    found = voted(tmp_path, [[1, 1, 2, 2], [1, 2, 2, NO]], [[7, 7, 9, 9], [7, 7, 0, 9]])
    assert found["label"].to_dict() == {7: "channel", 9: "water"}
    assert found["share"].to_dict() == {7: 0.75, 9: 1.0}
    assert found["pixels"].to_dict() == {7: 4, 9: 3}
    assert found["voting_px"].to_dict() == {7: 4, 9: 2}
    np.testing.assert_allclose(found["area_m2"], [400, 300], rtol=2e-3)  # UTM: a pixel is 10 m within the scale factor
    assert found["mean_prob"].isna().all()
    assert found["part"].isna().all()


def test_a_tie_goes_to_the_higher_mean_probability_and_else_to_the_first(tmp_path):
    """Two votes each; channel has (0.5 + 0.5 + 0.2 + 0.2) / 4 = 0.35, water (0.1 + 0.1 + 0.7 + 0.7) / 4 = 0.4."""
    probs = np.array([[[0.4, 0.4, 0.1, 0.1]], [[0.5, 0.5, 0.2, 0.2]], [[0.1, 0.1, 0.7, 0.7]]])
    with_probs = voted(tmp_path / "a", [[1, 1, 2, 2]], [[3, 3, 3, 3]], probs=probs).loc[3]
    assert (with_probs["label"], with_probs["share"]) == ("water", 0.5)
    assert with_probs["mean_prob"] == pytest.approx(0.4, abs=1e-3)
    assert voted(tmp_path / "b", [[1, 1, 2, 2]], [[3, 3, 3, 3]]).loc[3, "label"] == "channel"


def test_vote_and_mean_probability_may_differ(tmp_path):
    """Two of three pixels say channel, by a hair; the third is sure of water."""
    probs = np.array([[[0.0, 0.0, 0.0]], [[0.52, 0.52, 0.0]], [[0.48, 0.48, 1.0]]])
    found = voted(tmp_path, [[1, 1, 2]], [[1, 1, 1]], probs=probs).loc[1]
    assert (found["label"], found["prob_label"]) == ("channel", "water")
    assert found["mean_prob"] == pytest.approx(1.04 / 3, abs=1e-3)
    assert found["prob"] == pytest.approx(1.96 / 3, abs=1e-3)


def test_a_parcel_without_map_has_no_label_but_its_row(tmp_path):
    found = voted(tmp_path, [[NO, NO, 1]], [[5, 5, 6]]).loc[5]
    assert found[["label", "prob_label", "truth"]].isna().all()
    assert np.isnan(found["share"])
    assert (found["pixels"], found["voting_px"], found["narrow"]) == (2, 0, False)


def test_pixels_near_the_edge_do_not_vote(tmp_path):
    """A field of 5 × 5 pixels of 10 m in a larger map: 10 m off its edge are the 3 × 3 pixels whose centres are 15 m in."""
    labels, numbers = np.full((9, 9), 2), np.zeros((9, 9), int)
    numbers[2:7, 2:7] = 1
    labels[3:6, 3:6] = 1
    assert voted(tmp_path / "all", labels, numbers).loc[1, ["label", "voting_px"]].tolist() == ["water", 25]
    for border_m, voting in ((4.9, 25), (5.1, 9), (14.9, 9), (15.1, 1)):
        found = voted(tmp_path / f"{border_m}", labels, numbers, border_m).loc[1]
        assert (found["voting_px"], found["narrow"]) == (voting, False)
        assert found["label"] == ("water" if voting == 25 else "channel")


def test_a_parcel_too_narrow_for_its_border_is_judged_whole_and_says_so(tmp_path):
    found = voted(tmp_path, np.full((6, 6), 1), [[0] * 6, [0, 4, 4, 4, 4, 0], *[[0] * 6] * 4], border_m=10).loc[4]
    assert found[["label", "voting_px", "narrow"]].tolist() == ["channel", 4, True]


def test_the_border_is_in_ground_metres():
    """In EPSG:3857 at 60° N a pixel of 20 projected metres is 10 m on the ground."""
    grid = Grid("EPSG:3857", Affine(20.0, 0, 0.0, 0, -20.0, 8_399_737.0), (9, 9))
    assert grid.pixel_m_yx[1] == pytest.approx(10, rel=0.01)
    numbers = np.zeros((9, 9), int)
    numbers[2:7, 2:7] = 1
    inner = to_inner(numbers, 9.0, grid, grid.full) & (numbers == 1)
    assert inner.sum() == 9  # the outer pixels are 5 m in; were metres projected ones, they would be 10 m in


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 7.0, 12.0, 25.0]))
def test_distances_to_the_edge_are_exact(seed, border_m):
    """Against every pixel's distance to every pixel of another parcel, as squares."""
    random = np.random.default_rng(seed)
    numbers = random.integers(0, 3, (4, 4)).repeat(3, 0).repeat(3, 1)[: 10, : 11]  # fmt: skip
    grid = make_grid(numbers.shape)
    edge_m = np.array(grid.pixel_m_yx)
    rows, cols = np.mgrid[: numbers.shape[0], : numbers.shape[1]]
    expected = np.ones(numbers.shape, bool)
    for row, col in np.ndindex(*numbers.shape):
        other = numbers != numbers[row, col]
        off = [np.maximum(np.abs(axis - at) - 0.5, 0) * edge for axis, at, edge in zip((rows, cols), (row, col), edge_m, strict=True)]  # fmt: skip
        expected[row, col] = not other.any() or np.hypot(*off)[other].min() >= border_m - 1e-6
    np.testing.assert_array_equal(to_inner(numbers, border_m, grid, grid.full), expected)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.sampled_from([0.0, 10.0]))
def test_a_parcel_cut_by_windows_is_whole(tmp_path_factory, seed, block_px, border_m):
    random = np.random.default_rng(seed)
    folder = tmp_path_factory.mktemp("cut")
    labels = random.integers(0, 3, (11, 13))
    numbers = random.integers(0, 4, (3, 4)).repeat(4, 0).repeat(4, 1)[:11, :13]
    probs = random.dirichlet(np.ones(3), labels.shape).transpose(2, 0, 1)
    whole = voted(folder / "w", labels, numbers, border_m, probs)
    cut = voted(folder / "c", labels, numbers, border_m, probs, block_px=block_px)
    pd.testing.assert_frame_equal(whole, cut, rtol=1e-9)


def test_a_raster_of_another_grid_is_looked_up(tmp_path):
    """Numbers at 20 m, a map at 10 m that begins one pixel further in."""
    files = make_map(tmp_path, np.ones((2, 4), np.uint8), NAMES)
    coarse = Grid("EPSG:32720", Affine(20, 0, WEST - 10, 0, -20, NORTH), (2, 3))
    parcels = RasterParcels([write_numbers(tmp_path / "p.tif", [[8, 5, 6], [9, 9, 9]], coarse)], files.grid, "")
    np.testing.assert_array_equal(parcels.numbers(Window(0, 0, 2, 4)), [[2, 0, 0, 1], [2, 0, 0, 1]])
    assert parcels.ids == [5, 6, 8, 9]


def test_several_rasters_and_nodata(tmp_path):
    """The same number in two files is two parcels; nodata and 0 are none."""
    files = make_map(tmp_path, np.ones((1, 4), np.uint8), NAMES)
    one = write_numbers(tmp_path / "one.tif", [[3, 3, 99, 0]], nodata=99)
    two = write_numbers(tmp_path / "two.tif", [[3, 0, 3, 0]], dtype=np.float32, nodata=np.nan)
    parcels = open_parcels([one, two], files.grid)
    assert (parcels.ids, parcels.sources) == ([3, 3], ["one.tif", "two.tif"])
    np.testing.assert_array_equal(parcels.numbers(Window(0, 0, 1, 4)), [[0, 0, 1, -1]])


def test_parcels_of_a_sen4agrinet_patch(tmp_path):
    """The raster of parcels lies in a group of its own; its place is told by that of the labels."""
    path = make_patch(tmp_path / "2019_31TCJ_patch_20_29.nc", {}, lambda *_: np.zeros(1))
    with h5py.File(path, "r+") as file:
        file["parcels/parcels"][2:4, 5:7] = 77
    grid = Grid("EPSG:32631", Affine(10.0, 0, 300_000.0, 0, -10.0, 4_600_020.0), (36, 36))
    parcels = open_parcels([path], grid)
    numbers = parcels.numbers(grid.full)
    assert parcels.ids == [77]
    assert np.argwhere(numbers == 0).tolist() == [[2, 5], [2, 6], [3, 5], [3, 6]]
    assert (numbers == -1).sum() == 36 * 36 - 4


def test_outlines_in_any_crs_keep_their_geometry_names_and_truth(tmp_path):
    """A field of 2 × 2 pixels and one of two parts, in degrees; the third lies elsewhere, and has its row."""
    files = make_map(tmp_path, np.array([[1, 1, 2, 2, 0, 1]] * 2, np.uint8), NAMES)
    shapes = [field(0, 0, 2, 2), shapely.MultiPolygon([field(0, 2, 2, 1), field(0, 5, 2, 1)]), field(500, 500, 2, 2)]
    path = write_fields(tmp_path / "f.gpkg", shapes, "EPSG:4326", code=["A", "B", "C"], crop=["channel", None, "water"])
    found = assess_parcels(files, VectorParcels(path, files.grid, None, "code", "crop"), None, 0.0).parcels
    assert found["id"].tolist() == ["A", "B", "C"]
    assert found["pixels"].tolist() == [4, 4, 0]
    assert found["label"].tolist()[:2] == ["channel", "channel"]  # B: two of water, two of channel
    assert pd.isna(found["label"].iloc[2])
    assert [None if pd.isna(value) else value for value in found["truth"]] == ["channel", None, "water"]
    assert found.crs == "EPSG:4326"
    assert found.geometry.iloc[0].equals(geopandas.read_file(path).geometry.iloc[0])


@pytest.fixture
def judged(tmp_path):
    """A map of 4 × 12 pixels; test ground are columns 6 on, training ground the others; fields of 4 × 3 pixels."""
    truth = np.repeat([[0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2]], 4, 0).astype(np.uint8)
    labels = truth.copy()
    labels[0, 6:9] = 2  # of field 3 a quarter is wrong
    labels[1:, 9:] = 1  # of field 4 three quarters are
    labels[0, 0] = NO
    parts = np.full((4, 12), PARTS["train"], np.uint8)
    parts[:, 6:] = PARTS["test"]
    mask = truth.copy()
    mask[3, 11] = NO
    scene = make_scene(tmp_path / "build/scenes/g10", "a", pixel=10.0, shape=(4, 12), mask=mask)
    make_parts(tmp_path / "build/split", scene, parts)
    files = make_map(tmp_path / "maps/main", labels, NAMES)
    return files, Ground([scene], tmp_path / "build/split", files.grid)


def test_scores_are_of_test_ground_alone(judged, tmp_path):
    """Fields 3 (channel, right) and 4 (water, called channel). 23 labelled test pixels: 9 + 3 right, 3 + 8 wrong."""
    files, ground = judged
    path = write_fields(tmp_path / "f.gpkg", [field(0, col, 4, 3) for col in (0, 3, 6, 9)])
    found = assess_parcels(files, VectorParcels(path, files.grid), ground, 0.0)
    assert found.parcels["part"].tolist() == ["train", "train", "test", "test"]
    assert found.parcels["truth"].tolist() == ["background", "channel", "channel", "water"]
    assert found.parcels["label"].tolist() == ["background", "channel", "channel", "channel"]
    assert found.parcels["scene"].tolist() == ["a"] * 4
    scores = found.scores["scores"].set_index("level")
    assert scores["count"].to_dict() == {"pixels": 23, "inner_pixels": 23, "parcels": 2, "parcels_by_prob": 0}
    assert scores.loc["pixels", "accuracy"] == pytest.approx(12 / 23)
    assert scores.loc["parcels", "accuracy"] == 0.5
    classes = found.scores["classes"].set_index(["level", "class"])
    assert classes.loc[("parcels", "channel"), ["true", "found", "precision", "recall", "iou"]].tolist() == [
        1,
        2,
        0.5,
        1,
        0.5,
    ]
    assert classes.loc[("pixels", "water"), ["true", "found", "recall"]].tolist() == [11, 6, pytest.approx(3 / 11)]
    confusion = found.scores["confusion"].set_index(["level", "true"])
    assert confusion.loc[("pixels", "water"), ["channel", "water"]].tolist() == [8, 3]
    assert confusion.loc[("pixels", "background")].sum() == 0


def test_a_parcel_that_straddles_parts_is_no_ones(judged, tmp_path):
    """One pixel of training ground suffices, though the border leaves it without a vote; its test pixels still count."""
    files, ground = judged
    path = write_fields(tmp_path / "f.gpkg", [field(0, 5, 4, 4), field(0, 9, 4, 3)])
    found = assess_parcels(files, VectorParcels(path, files.grid), ground, 0.0)
    assert found.parcels["part"].tolist() == ["mixed", "test"]
    counts = found.scores["scores"].set_index("level")["count"]
    assert (counts["parcels"], counts["pixels"], counts["inner_pixels"]) == (1, 23, 23)


def test_border_pixels_are_no_inner_pixels(judged, tmp_path):
    """Of one field over all of the test ground, 4 × 6 pixels, 2 × 4 are 15 m in."""
    files, ground = judged
    path = write_fields(tmp_path / "f.gpkg", [field(0, 6, 4, 6)])
    found = assess_parcels(files, VectorParcels(path, files.grid), ground, 10.0)
    assert found.scores["scores"].set_index("level")["count"].to_dict()["inner_pixels"] == 8


def test_scores_per_region_and_patch(judged, tmp_path):
    """Two regions split the test ground; of the outer one no name is known twice."""
    files, ground = judged
    fields = write_fields(tmp_path / "f.gpkg", [field(0, 6, 4, 3), field(0, 9, 4, 3)])
    areas = write_fields(tmp_path / "r.gpkg", [field(0, 0, 4, 9), field(0, 9, 4, 3)], name=["near", "far"])
    found = assess_parcels(files, VectorParcels(fields, files.grid), ground, 0.0, Regions(areas, files.grid))
    assert found.parcels["region"].tolist() == ["near", "far"]
    table = found.scores["regions"].set_index(["region", "level"])
    assert table.loc[("near", "pixels"), ["count", "accuracy"]].tolist() == [12, 0.75]
    assert table.loc[("far", "pixels"), ["count", "accuracy"]].tolist() == [11, pytest.approx(3 / 11)]
    assert table.loc[("far", "parcels"), ["count", "accuracy"]].tolist() == [1, 0]
    assert found.scores["patches"]["scene"].unique().tolist() == ["a"]


def test_truth_may_be_an_attribute(judged, tmp_path):
    files, ground = judged
    shapes = [field(0, 6, 4, 3), field(0, 9, 4, 3)]
    path = write_fields(tmp_path / "f.gpkg", shapes, crop=["channel", "channel"])
    found = assess_parcels(files, VectorParcels(path, files.grid, truth_field="crop"), ground, 0.0)
    assert found.scores["scores"].set_index("level").loc["parcels", "accuracy"] == 1.0
    path = write_fields(tmp_path / "e.gpkg", shapes, crop=["channel", ""])  # nothing is said of the second
    found = assess_parcels(files, VectorParcels(path, files.grid, truth_field="crop"), ground, 0.0)
    assert found.scores["scores"].set_index("level").loc["parcels", "count"] == 1
    path = write_fields(tmp_path / "g.gpkg", shapes, crop=["channel", "maize"])
    with pytest.raises(
        ParcelError, match=r"a parcel's truth is 'maize', but the map's classes are background, channel"
    ):
        assess_parcels(files, VectorParcels(path, files.grid, truth_field="crop"), ground, 0.0)


def test_ground_that_scenes_disagree_on_is_no_test_ground(judged, tmp_path):
    """A second scene calls the last field's ground training ground; the first to label a pixel says its truth."""
    files, _ = judged
    scenes = [make_scene(tmp_path / "build/scenes/g10", name, pixel=10.0, shape=(4, 12), mask=np.full((4, 12), k, np.uint8))
              for k, name in enumerate(("b", "c"))]  # fmt: skip
    for scene, last in zip(scenes, ("test", "train"), strict=True):
        parts = np.full((4, 12), PARTS["test"], np.uint8)
        parts[:, 9:] = PARTS[last]
        make_parts(tmp_path / "build/split", scene, parts)
    here = Ground(scenes, tmp_path / "build/split", files.grid).read(Window(0, 0, 4, 12))
    assert (here.truth == 0).all()
    assert (here.scenes == 0).all()
    assert here.scored[:, :9].all()
    assert not here.scored[:, 9:].any()
    path = write_fields(tmp_path / "f.gpkg", [field(0, 6, 4, 3), field(0, 9, 4, 3)])
    found = assess_parcels(
        files, VectorParcels(path, files.grid), Ground(scenes, tmp_path / "build/split", files.grid), 0.0
    )
    assert found.parcels["part"].tolist() == ["test", "mixed"]


def test_an_unusable_pixel_has_no_truth(tmp_path):
    """A cloud in the scene that is labelled, and a map of a finer grid that lies a little off it."""
    valid = np.ones((4, 12), np.uint8)
    valid[:, 6:9] = 0
    scene = make_scene(
        tmp_path / "build/scenes/g10", "d", pixel=10.0, shape=(4, 12), valid=valid, mask=np.ones((4, 12), np.uint8)
    )
    make_parts(tmp_path / "build/split", scene, np.full((4, 12), PARTS["test"], np.uint8))
    fine = Grid("EPSG:32720", Affine(5, 0, WEST + 1, 0, -5, NORTH - 1), (8, 30))
    here = Ground([scene], tmp_path / "build/split", fine).read(Window(0, 0, 8, 30))
    assert here.scored[0].tolist() == [True] * 12 + [False] * 6 + [True] * 6 + [False] * 6  # past the scene is nothing


def test_what_cannot_be_read_is_said(tmp_path):
    grid = make_grid((1, 4))
    fields = write_fields(tmp_path / "f.gpkg", [field(0, 0, 1, 1)], code=["A"])
    numbers = write_numbers(tmp_path / "n.tif", [[1, 2, 3, 4]])
    (tmp_path / "broken.gpkg").write_text("no")
    points = write_fields(tmp_path / "p.gpkg", [shapely.Point(WEST, NORTH)])
    shares = write_numbers(tmp_path / "s.tif", [[0.5, 1, 1, 1]], dtype=np.float32)
    for paths, more, says in (
        ([tmp_path / "broken.gpkg"], {}, r"broken.gpkg cannot be read as a layer of outlines"),
        ([fields], {"id_field": "name"}, r"f.gpkg has no field 'name', but code; correct it"),
        ([fields], {"layer": "other"}, r"cannot be read as a layer of outlines"),
        ([fields, numbers], {}, r"2 files of parcels were given, not all rasters; give rasters, or one layer"),
        ([numbers], {"truth_field": "crop"}, r"is a raster, which has no layer and no fields"),
        ([points], {}, r"p.gpkg has no polygon"),
        ([shares], {}, r"s.tif holds values that are no whole numbers"),
    ):
        with pytest.raises(ParcelError, match=says):
            open_parcels(paths, grid, **more)


def test_the_same_parcels_are_the_same_bytes(judged, tmp_path):
    files, ground = judged
    path = write_fields(tmp_path / "f.gpkg", [field(0, 6, 4, 3), field(0, 9, 4, 3)])
    written = []
    for out in (tmp_path / "one", tmp_path / "two"):
        paths = write_assessed(assess_parcels(files, VectorParcels(path, files.grid), ground, 0.0), out)
        written.append({each.name: each.read_bytes() for each in paths})
    assert set(written[0]) == {
        "parcels.gpkg",
        "parcels.csv",
        "scores.csv",
        "classes.csv",
        "confusion.csv",
        "patches.csv",
    }
    assert written[0] == written[1]


@pytest.mark.usefixtures("judged")
def test_the_command(tmp_path, monkeypatch):
    from shutil import copy

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(params, "_loaded", {})
    (tmp_path / "build/split/blocks.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    copy(Path(__file__).parents[3] / "recipes/sample.yaml", "params.yaml")
    write_fields(tmp_path / "f.gpkg", [field(0, 6, 4, 3), field(0, 9, 4, 3)])

    def run(*arguments):
        return CliRunner().invoke(cli.app, ["parcels", "main", "--parcels", "f.gpkg", "--out", "out", *arguments])

    assert "but params.yaml has background, palaeochannel" in str(run().exception)
    text = Path("params.yaml").read_text()
    text = text.replace("palaeochannel", "channel")
    head, rest = text.split("    - {name: channel", 1)
    Path("params.yaml").write_text(f"{head}    - {{name: channel{rest.split(chr(10), 1)[0]}\n    - {{name: water, color: '#000000'}}\n{rest.split(chr(10), 1)[1]}")  # fmt: skip
    params._loaded.clear()
    done = run("--border-m", "0")
    assert done.exit_code == 0, done.exception
    assert "wrote out with 2 parcels, 2 on the map" in done.stdout
    assert "parcels                   2  accuracy 0.500" in done.stdout
    assert "there is no grid 'x' in build/split, but g10" in str(run("--grid", "x").exception)
    assert "nowhere.gpkg is missing" in str(run("--regions", "nowhere.gpkg").exception)
    (tmp_path / "build/split").rename(tmp_path / "build/gone")
    assert "nothing is scored: there is no build/split" in run().stdout
