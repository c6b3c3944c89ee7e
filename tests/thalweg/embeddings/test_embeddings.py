"""Chips as vectors: where each lies on the ground, which are alike, and the files and pictures of it."""

from functools import partial

import geopandas
import numpy as np
import pytest
import shapely
import torch
from engine_builder import Twice
from image_builder import call, make_model
from PIL import Image
from pyproj import Transformer
from scene_builder import make_scene

from thalweg import raster
from thalweg.embeddings import COLUMNS, matrix, read_table
from thalweg.embeddings.build import Wish, embed, outline
from thalweg.embeddings.draw import draw_projection, project
from thalweg.embeddings.similar import chip_at, similar
from thalweg.errors import FeatureError
from thalweg.features.sources import open_encoder
from thalweg.grid import Window
from thalweg.manifest.card import Normalisation
from thalweg.manifest.scene import read_scenes

PLAIN = Normalisation(mean=(), std=())


def table(vectors, boxes=None, dates=None):
    """A table whose chips are unit squares in a row, or the boxes (west, south, east, north)."""
    count = len(vectors)
    boxes = boxes or [(k, 0, k + 1, 1) for k in range(count)]
    columns = {"scene": [f"s{k}" for k in range(count)], "date": dates or ["2025-01-01"] * count, "row": 0, "col": 0,
               "size": 8, "valid_fraction": 1.0, "label": None, "embedding": [np.array(v, np.float32) for v in vectors]}  # fmt: skip
    return geopandas.GeoDataFrame(columns, geometry=[shapely.box(*box) for box in boxes], crs=4326)


def width_of(path):
    with Image.open(path) as picture:
        return picture.size[0]


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Two scenes of 64 px, one with an unusable half, and a member trained on such; no project around."""
    monkeypatch.chdir(tmp_path)
    valid = np.ones((64, 64), np.uint8)
    valid[:, :32] = 0
    one = make_scene(tmp_path / "g", "one", channels=("B04", "B03", "B02"))
    make_scene(
        tmp_path / "g", "two", channels=("B04", "B03", "B02"), seed=1, valid=valid, origin=(610_000.0, 7_000_000.0)
    )
    make_model(tmp_path / "m", one)
    return tmp_path


def test_chips_lie_where_their_pixels_do(world):
    scenes = list(read_scenes(world / "g").values())
    encoder = open_encoder(str(world / "m"), (), PLAIN)
    found = embed(lambda: encoder, scenes, world / "g", Wish(32, 0.5, ("ground", "channel")))
    assert list(found.columns) == [*COLUMNS, "geometry"]
    places = list(zip(found["scene"], found["row"], found["col"], strict=True))
    assert places == [("one", 0, 0), ("one", 0, 32), ("one", 32, 0), ("one", 32, 32), ("two", 0, 32), ("two", 32, 32)]
    assert set(found["date"]) == {"2025-10-03"}
    assert set(found["label"]) == {"ground"}, "seven of ten pixels"
    corner = Transformer.from_crs(32720, 4326, always_xy=True).transform(600_000 + 32 * 60, 7_000_000)
    assert found.geometry.iloc[1].distance(shapely.Point(corner)) < 1e-9
    assert found.to_crs(32720).area.iloc[0] == pytest.approx((32 * 60) ** 2, rel=1e-6)
    seen = encoder.network.normalise(torch.from_numpy(scenes[0].image[:32, 32:].copy())[None])
    np.testing.assert_allclose(found["embedding"].iloc[1], encoder.vectors(seen)[0].numpy(), rtol=1e-4, atol=1e-6)


def noting(noted, name):
    with noted.open("a") as file:
        file.write("opened\n")
    return open_encoder(name, (), PLAIN)


def test_chips_embedded_elsewhere_are_the_same(world):
    scenes = list(read_scenes(world / "g").values())
    executor, noted = Twice(), world / "opened"
    here, there = (embed(partial(noting, noted, str(world / "m")), scenes, world / "g",
                         Wish(32, 0.5, ("ground", "channel")), executor=engine)
                   for engine in (None, executor))  # fmt: skip
    assert executor.units == 1
    assert noted.read_text() == "opened\n" * 3, "here, and twice there: no encoder is opened where none embeds"
    assert there.attrs == here.attrs
    np.testing.assert_array_equal(np.stack(there["embedding"]), np.stack(here["embedding"]))
    assert there.drop(columns="embedding").equals(here.drop(columns="embedding"))


def test_an_outline_across_the_antimeridian_is_small(tmp_path):
    scene = make_scene(tmp_path / "g", "one", crs="EPSG:32601", origin=(346_000.0, 7_000_000.0))
    made = outline(scene.grid, Window(0, 0, 64, 64))
    assert made.bounds[0] < -180 < made.bounds[2]
    assert made.area < 0.01


def test_a_series_has_a_row_per_chip_and_date(tmp_path):
    make_model(tmp_path / "m", make_scene(tmp_path / "h", "single"))
    scene = make_scene(tmp_path / "g", "one", dates=("2025-05-01", "2025-09-01"))
    found = embed(partial(open_encoder, str(tmp_path / "m"), (), PLAIN), [scene], tmp_path / "g", Wish(64, 0.5, ()))
    assert found["date"].tolist() == ["2025-05-01", "2025-09-01"]
    assert found["label"].tolist() == ["class_0", "class_0"]
    assert not np.allclose(*found["embedding"])


def test_a_table_survives_its_file(world):
    out = world / "chips.parquet"
    said = call("embed", world / "m", world / "g", "-o", out, "--chip-px", 32, "--plot", world / "plane.png")
    assert f"wrote {out}: 6 chips of 2 scenes, 8 numbers each" in said
    found = read_table(out)
    assert found.crs.to_epsg() == 4326
    assert found.attrs["encoder"] == str(world / "m")
    assert found.attrs["weights_sha256"] == open_encoder(str(world / "m"), (), PLAIN).weights
    assert width_of(world / "plane.png") > 500


def test_an_angle_is_measured_from_the_mean():
    vectors = [[10, 0], [12, 0], [10, 3], [8, -3]]  # mean (10, 0): (0, 0), (2, 0), (0, 3), (−2, −3)
    np.testing.assert_allclose(matrix(table(vectors)), [[0, 0], [2, 0], [0, 3], [-2, -3]])
    found = similar(table(vectors), 1, 10, same_ground=False)
    assert found["rank"].tolist() == [1, 2, 3]
    assert found["scene"].tolist()[2] == "s3"
    assert found["similarity"].tolist() == pytest.approx([0, 0, -2 / 13**0.5])


def test_exact_search_finds_what_scikit_learn_finds():
    from sklearn.neighbors import NearestNeighbors

    vectors = np.random.default_rng(0).normal(size=(200, 16))
    chips = table(vectors)
    centred = matrix(chips)
    expected = NearestNeighbors(metric="cosine", algorithm="brute").fit(centred).kneighbors(centred[[17]], 11)[1][0]
    assert similar(chips, 17, 10, same_ground=True).index.tolist() == [k for k in expected if k != 17]


def test_other_days_of_the_same_ground_answer_only_where_asked():
    boxes = [(0, 0, 1, 1), (0, 0, 1, 1), (0.5, 0, 1.5, 1), (1, 0, 2, 1)]
    chips = table([[1, 0], [1, 0.1], [1, 0.2], [0, 1]], boxes, ["2025-01-01", "2025-02-01", "2025-01-01", "2025-01-01"])
    assert similar(chips, 0, 10, same_ground=False).index.tolist() == [3], "a common border is no common ground"
    assert similar(chips, 0, 10, same_ground=True).index.tolist()[0] in (1, 2)
    assert len(similar(chips, 0, 10, same_ground=True)) == 3


def test_the_chip_at_a_place_is_the_newest_and_the_nearest():
    boxes = [(0, 0, 1, 1), (0, 0, 1, 1), (0.5, 0, 1.5, 1)]
    chips = table([[1, 0]] * 3, boxes, ["2025-01-01", "2025-02-01", "2025-02-01"])
    assert chip_at(chips, 0.2, 0.5) == 1
    assert chip_at(chips, 0.9, 0.5) == 2
    assert chip_at(chips, 0.9, 0.5, "2025-01-01") == 0
    with pytest.raises(
        FeatureError, match=r"no chip .* holds 7 7 \(longitude first\); the nearest lies at 1.0000 0.5000"
    ):
        chip_at(chips, 7, 7)
    with pytest.raises(FeatureError, match=r"is of 2025-01-01, 2025-02-01, not of 2024-01-01"):
        chip_at(chips, 0.2, 0.5, "2024-01-01")


def test_a_place_on_the_antimeridian_is_found_from_both_sides():
    boxes = [(-180.4, 0, -179.6, 1), (178, 0, 179, 1), (-179.6, 0, -178.8, 1)]
    chips = table([[1, 0]] * 3, boxes)
    assert [chip_at(chips, lon, 0.5) for lon in (179.7, -179.7, 180, -180, -179.5, 180.5)] == [0, 0, 0, 0, 2, 2]
    with pytest.raises(FeatureError, match=r"no chip .* holds 179.3 0.5 .*; the nearest lies at -180.0000 0.5000"):
        chip_at(chips, 179.3, 0.5)


def test_chips_without_a_place_are_at_no_place():
    chips = table([[1, 0]] * 3)
    chips = chips.set_geometry(geopandas.GeoSeries([None] * 3, crs=4326))
    with pytest.raises(FeatureError, match=r"chips lie nowhere on the ground; embed scenes that have a place"):
        chip_at(chips, 7, 7)


def test_principal_components_of_points_on_a_line():
    points, shares = project(table([[0, 0, 1], [3, 4, 1], [6, 8, 1]]))
    np.testing.assert_allclose(np.abs(points[:, 0]), [5, 0, 5], atol=1e-6)
    assert points[2, 0] > 0, "the sign of a component is that of its largest weight"
    assert shares == pytest.approx([1, 0], abs=1e-9)


def test_similar_from_the_command_line(world):
    out = world / "chips.parquet"
    call("embed", world / "m", world / "g", "-o", out, "--chip-px", 32)
    middle = read_table(out).geometry.iloc[0].representative_point()
    answers = world / "similar.geojson"
    said = call("similar", "--chips", out, "-n", 3, "-o", answers, "--show", world / "s.png", "--", middle.x, middle.y)
    lines = said.splitlines()
    assert lines[0] == "asked for: one 2025-10-03 row 0 col 0 class_0"
    assert [line.split()[0] for line in lines[1:4]] == ["1", "2", "3"]
    found = geopandas.read_file(answers)
    assert found["rank"].tolist() == [1, 2, 3]
    assert (np.diff(found["similarity"]) <= 0).all()
    assert width_of(world / "s.png") > 600
    call("project", "--chips", out, "-o", world / "p.png", "--by", "scene")
    raster.release(next(iter(read_scenes(world / "g").values())).image)


def test_what_is_no_table(world, tmp_path):
    with pytest.raises(FeatureError, match=r"is missing; make it by `thalweg embed ENCODER"):
        read_table(tmp_path / "none.parquet")
    (tmp_path / "broken.parquet").write_text("x")
    with pytest.raises(FeatureError, match=r"is no GeoParquet"):
        read_table(tmp_path / "broken.parquet")
    table([[1, 0]]).drop(columns="embedding").to_parquet(tmp_path / "poor.parquet")
    with pytest.raises(FeatureError, match=r"has no column embedding"):
        read_table(tmp_path / "poor.parquet")
    table([[1, 0]]).iloc[:0].to_parquet(tmp_path / "empty.parquet")
    with pytest.raises(FeatureError, match=r"has no row"):
        read_table(tmp_path / "empty.parquet")
    with pytest.raises(FeatureError, match=r"should end in .parquet"):
        call("embed", world / "m", world / "g", "-o", "chips.gpkg")
    with pytest.raises(FeatureError, match=r"2 chips have no plane to lie in"):
        draw_projection(table([[1, 0], [0, 1]]), "label", tmp_path / "p.png")
    with pytest.raises(FeatureError, match=r"coloured by label, scene, date, not by 'size'"):
        draw_projection(table([[1, 0]]), "size", tmp_path / "p.png")
    with pytest.raises(FeatureError, match=r"has no chip of 64 px of which 0.9 are valid"):
        scenes = [read_scenes(world / "g")["two"]]
        embed(partial(open_encoder, str(world / "m"), (), PLAIN), scenes, world / "g", Wish(64, 0.9, ()))
