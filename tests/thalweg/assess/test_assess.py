"""Samples and estimates against the worked example of Olofsson et al. 2014, section 5, and by counting."""

import json
from pathlib import Path
from xml.etree import ElementTree

import geopandas
import numpy as np
import pandas as pd
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_map import make_map
from typer.testing import CliRunner

from thalweg import cli
from thalweg.assess import design
from thalweg.assess.estimate import Z, assess, estimate
from thalweg.errors import AssessError, DegradedDataWarning, MapError, VectorError
from thalweg.grid import Grid
from thalweg.vectors import read_vectors, write_vectors

NAMES = ("deforestation", "gain", "forest", "other")
PIXELS = np.array([200_000, 150_000, 3_200_000, 6_450_000])
MAPPED_HA = PIXELS * 0.09
COUNTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
STRATA = design.Strata((0, 1, 2, 3), NAMES, PIXELS, MAPPED_HA)
EXPECTED = (0.70, 0.60, 0.90, 0.95)


def test_the_papers_own_example():
    found = estimate(COUNTS, MAPPED_HA, NAMES)
    assert (round(found.overall.value, 2), round(found.overall.margin, 2)) == (0.95, 0.02)
    loss = found.classes["deforestation"]
    assert (round(loss.area.value), round(loss.area.margin)) == (21158, 6158)
    assert loss.mapped_ha == pytest.approx(18_000)
    users = {name: (round(each.users.value, 2), round(each.users.margin, 2)) for name, each in found.classes.items()}
    assert users == {"deforestation": (0.88, 0.07), "gain": (0.73, 0.10), "forest": (0.93, 0.04), "other": (0.96, 0.02)}
    assert (round(loss.producers.value, 2), round(loss.producers.margin, 2)) == (0.75, 0.21)
    areas = [(round(each.area.value), round(each.area.margin)) for each in found.classes.values()]
    assert areas == [(21158, 6158), (11686, 3756), (285770, 15510), (581386, 16282)]
    assert [round(each.producers.value, 2) for each in found.classes.values()] == [0.75, 0.85, 0.93, 0.96]
    # Table 9, the error matrix in shares of area.
    assert np.round(found.shares, 4).tolist() == [
        [0.0176, 0, 0.0013, 0.0011], [0, 0.0110, 0.0016, 0.0024], [0.0019, 0, 0.2967, 0.0213],
        [0.0040, 0.0020, 0.0179, 0.6212]]  # fmt: skip
    assert np.round(np.sum(found.shares, 0), 4).tolist() == [0.0235, 0.0130, 0.3175, 0.6460]


def test_producers_intervals_by_linearisation():
    # The variance of any smooth function of the rows' shares, by its numeric slopes.
    rows, weights = COUNTS.sum(1), np.array([0.02, 0.015, 0.32, 0.645])
    found = estimate(COUNTS, MAPPED_HA, NAMES)

    def producers(shares: np.ndarray, k: int) -> float:
        return weights[k] * shares[k, k] / (weights @ shares[:, k])

    shares, step = COUNTS / rows[:, None], 1e-6
    for k, name in enumerate(NAMES):
        slopes = np.zeros((4, 4))
        for at in np.ndindex(4, 4):
            moved = shares.copy()
            moved[at] += step
            slopes[at] = (producers(moved, k) - producers(shares, k)) / step
        variance = (((slopes**2 * shares).sum(1) - (slopes * shares).sum(1) ** 2) / (rows - 1)).sum()
        assert found.classes[name].producers.margin == pytest.approx(1.96 * variance**0.5, rel=1e-3)


def test_the_same_by_another_way_of_reckoning():
    # Area of deforestation, number by number: Σ W_i n_i1 / n_i. and its variance of four strata.
    weights = (0.02, 0.015, 0.32, 0.645)
    parts = (66 / 75, 0 / 75, 1 / 165, 2 / 325)
    share = sum(w * p for w, p in zip(weights, parts, strict=True))
    error = sum(w**2 * p * (1 - p) / (n - 1) for w, p, n in zip(weights, parts, (75, 75, 165, 325), strict=True)) ** 0.5
    found = estimate(COUNTS, MAPPED_HA, NAMES).classes["deforestation"].area
    assert found.value == pytest.approx(share * 900_000)
    assert found.margin == pytest.approx(1.96 * error * 900_000)


def test_producers_intervals_hold_what_they_say():
    # Draw many samples of a population whose error matrix is known: 95 % of the intervals must hold the truth.
    random = np.random.default_rng(0)
    truth = np.array([[0.20, 0.05], [0.10, 0.65]])
    weights, names, held = truth.sum(1), ("a", "b"), {"producers": 0, "area": 0, "overall": 0}
    for _ in range(600):
        counts = np.stack([random.multinomial(150, row / row.sum()) for row in truth])
        found = estimate(counts, weights * 1000, names)
        each = found.classes["a"]
        held["producers"] += abs(each.producers.value - 2 / 3) <= each.producers.margin
        held["area"] += abs(each.area.value - 300) <= each.area.margin
        held["overall"] += abs(found.overall.value - 0.85) <= found.overall.margin
    assert all(0.92 <= count / 600 <= 0.98 for count in held.values()), held


@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_shares_sum_to_one_and_areas_to_the_whole(seed, classes):
    random = np.random.default_rng(seed)
    counts = random.integers(0, 30, (classes, classes)) + 2 * np.eye(classes, dtype=int)
    mapped = random.random(classes) * 1000 + 1
    found = estimate(counts, mapped, [f"c{k}" for k in range(classes)])
    assert np.sum(found.shares) == pytest.approx(1)
    assert sum(each.area.value for each in found.classes.values()) == pytest.approx(mapped.sum())
    assert 0 <= found.overall.value <= 1
    right = estimate(np.eye(classes, dtype=int) * 10, mapped, [f"c{k}" for k in range(classes)])
    assert (right.overall.value, right.overall.margin) == (pytest.approx(1), 0)
    assert [each.area.value for each in right.classes.values()] == pytest.approx(mapped.tolist())


def test_classes_that_are_nowhere_have_no_accuracy():
    found = estimate(np.array([[8, 2, 0], [0, 0, 0], [0, 0, 9]]), np.array([10.0, 0, 10]), ("a", "b", "c"))
    assert found.classes["b"].users is None
    assert found.classes["b"].producers.value == 0
    assert found.classes["b"].area.value == pytest.approx(2.0)
    none = estimate(np.array([[8, 0], [2, 0]]), np.array([10.0, 10.0]), ("a", "b"))
    assert none.classes["b"].producers is None
    with pytest.raises(AssessError, match=r"class b has 1 interpreted points, but a standard error needs 2"):
        estimate(np.array([[8, 0], [1, 0]]), np.array([10.0, 10.0]), ("a", "b"))


def test_sample_size_and_allocations_of_the_paper():
    # Section 5.1.1: Σ W S = 0.2531, target 0.01 → 641 points.
    assert design.sample_size(STRATA, EXPECTED, 0.01) == 641
    # "Alloc2": 75 points for each of the rare classes, the others in proportion to area: 165 and 325, as rounded there.
    counts = design.allocate(STRATA, 640, "proportional", 75)
    assert counts.tolist()[:2] == [75, 75]
    assert counts.sum() == 640
    np.testing.assert_allclose(counts[2:], (165, 325), atol=3)
    assert design.allocate(STRATA, 640, "equal", 50).tolist() == [160] * 4
    # Unaided proportional: 12.8, 9.6, 204.8, 412.8.
    assert design.allocate(STRATA, 640, "proportional", 2).tolist() == [13, 9, 205, 413]


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_allocation_beats_the_optimal_one(seed):
    random = np.random.default_rng(seed)
    users = random.uniform(0.5, 0.97, 4)
    best, _ = design.expected_errors(STRATA, design.allocate(STRATA, 2000, "optimal", 2, users), users)
    for how in ("proportional", "equal"):
        other, _ = design.expected_errors(STRATA, design.allocate(STRATA, 2000, how, 2), users)
        assert best <= other * 1.005


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=6), st.integers(2, 500), st.integers(2, 40))
def test_allocations_keep_their_sum_and_their_least(areas, points, least):
    strata = design.Strata(tuple(range(len(areas))), tuple("abcdef"[: len(areas)]), np.full(len(areas), 10**6),
                           np.array(areas))  # fmt: skip
    counts = design.allocate(strata, points, "proportional", least)
    assert counts.min() >= least
    assert counts.sum() == max(points, least * len(areas))


def make_labels(shape=(700, 90)) -> np.ndarray:
    labels = np.zeros(shape, np.uint8)
    labels[100:600, 20:40] = 1
    labels[300:340, 60:80] = 2
    labels[:, :5] = 255
    return labels


def test_strata_and_points_of_a_map(tmp_path: Path):
    labels = make_labels()
    files = make_map(tmp_path / "map", labels)
    strata = design.read_strata(files)
    assert strata.names == ("background", "channel", "water")
    assert strata.pixels.tolist() == [(labels == k).sum() for k in range(3)]
    # 10 m pixels near the central meridian's edge of zone 20: the ground is larger than the plane by under 0.1 %.
    np.testing.assert_allclose(strata.area_ha, strata.pixels * 0.01, rtol=1e-3)
    points = design.draw(files, strata, np.array([40, 30, 20]), seed=1)
    assert list(points.columns) == ["id", "stratum", "map_class", "geometry"]
    assert sorted(points["id"]) == list(range(1, 91))
    assert points["stratum"].value_counts().to_dict() == {0: 40, 1: 30, 2: 20}
    assert points["stratum"].tolist() != sorted(points["stratum"]), "classes come mixed"
    rows = ((7_000_000 - points.geometry.y) // 10).astype(int)
    cols = ((points.geometry.x - 600_000) // 10).astype(int)
    assert (labels[rows, cols] == points["stratum"]).all()
    assert not points.geometry.duplicated().any()
    assert points.equals(design.draw(files, strata, np.array([40, 30, 20]), seed=1))
    assert not points.equals(design.draw(files, strata, np.array([40, 30, 20]), seed=2))
    everything = design.draw(files, strata, strata.pixels, seed=0)
    assert len(everything) == strata.pixels.sum() == len(set(map(tuple, everything.get_coordinates().to_numpy())))


def test_every_pixel_is_drawn_alike_often(tmp_path: Path):
    labels = np.zeros((20, 20), np.uint8)
    labels[5:15, 5:15] = 1
    files = make_map(tmp_path / "map", labels)
    strata = design.read_strata(files)
    seen = np.zeros((20, 20))
    for seed in range(200):
        points = design.draw(files, strata, np.array([2, 10]), seed)
        here = points[points["stratum"] == 1]
        np.add.at(
            seen,
            (((7_000_000 - here.geometry.y) // 10).astype(int), ((here.geometry.x - 600_000) // 10).astype(int)),
            1,
        )
    # 200 × 10 of 100 pixels: 20 each, standard deviation 4.2.
    assert abs(seen[5:15, 5:15].mean(1) - 20).max() < 6
    assert seen[5:15, 5:15].min() > 3


def test_a_map_in_degrees_has_ground_area_by_row(tmp_path: Path):
    grid = Grid("EPSG:4326", Affine(0.01, 0, 10, 0, -0.01, 60), (1000, 4))
    strata = design.read_strata(make_map(tmp_path / "map", np.zeros((1000, 4)), grid=grid))
    # On a sphere of 6371 km: R² Δλ (sin 60° − sin 50°).
    expected = 6371.0**2 * np.radians(0.04) * (np.sin(np.radians(60)) - np.sin(np.radians(50))) * 100
    assert strata.area_ha[0] == pytest.approx(expected, rel=5e-3)


def interpreted(path: Path) -> dict[str, geopandas.GeoDataFrame]:
    """The layers of a sample with every reference as the map has it."""
    layers = {name: read_vectors(path, name) for name in ("points", "pixels", "drawn", "strata")}
    said = layers["drawn"].set_index("id")["map_class"]
    layers["points"]["reference"] = said.loc[layers["points"]["id"]].to_numpy(object)
    return layers


def test_from_a_map_to_its_areas_by_command(tmp_path: Path):
    make_map(tmp_path / "map", make_labels())
    out = tmp_path / "points.gpkg"
    arguments = ["assess", "sample", str(tmp_path / "map"), "--points", "120", "--least", "20", "--out", str(out), "--expect",
                 "background=0.9", "--expect", "channel=0.8", "--expect", "water=0.7"]  # fmt: skip
    first = CliRunner().invoke(cli.app, arguments)
    assert first.exit_code == 0, first.output
    assert "expected standard errors: overall 0." in first.stdout
    assert list(read_vectors(out, "points").columns) == ["id", "reference", "note", "geometry"], "blind"
    assert read_vectors(out, "points")["reference"].isna().all()
    with pytest.raises(AssessError, match=r"has no point with a reference"):
        assess(out)
    layers = interpreted(out)
    points, classes = layers["points"], layers["drawn"]["map_class"].to_numpy()
    points.loc[np.flatnonzero(classes == "channel")[0], "reference"] = "background"
    points.loc[np.flatnonzero(classes == "water")[0], "reference"] = " "
    write_vectors(out, layers)
    with pytest.warns(DegradedDataWarning, match=r"1 of 120 points of .* have no reference and are left out"):
        second = CliRunner().invoke(cli.app, ["assess", "estimate", str(out), "--out", str(tmp_path / "a.json")])
    assert second.exit_code == 0, second.output
    found = json.loads((tmp_path / "a.json").read_text())
    channel = int((classes == "channel").sum())
    assert found["classes"]["channel"]["users"]["value"] == pytest.approx(1 - 1 / channel)
    assert found["classes"]["channel"]["area"]["value"] == pytest.approx(
        found["classes"]["channel"]["mapped_ha"] * (1 - 1 / channel)
    )
    assert (found["points"], found["left_out"]) == (119, 1)
    assert "overall accuracy 0.9" in second.stdout
    again = CliRunner().invoke(cli.app, arguments)
    assert isinstance(again.exception, AssessError)
    assert "may hold interpreted points" in str(again.exception)


def test_the_interpreter_sees_the_map_only_if_asked(tmp_path: Path):
    make_map(tmp_path / "map", make_labels())
    arguments = ["assess", "sample", str(tmp_path / "map"), "--points", "90", "--least", "20", "--out"]
    assert CliRunner().invoke(cli.app, [*arguments, str(tmp_path / "shown.gpkg"), "--show-class"]).exit_code == 0
    assert CliRunner().invoke(cli.app, [*arguments, str(tmp_path / "blind.gpkg")]).exit_code == 0
    shown, blind = (read_vectors(tmp_path / f"{name}.gpkg", "points") for name in ("shown", "blind"))
    assert list(shown.columns) == ["id", "map_class", "reference", "note", "geometry"]
    assert list(blind.columns) == ["id", "reference", "note", "geometry"]
    drawn = read_vectors(tmp_path / "blind.gpkg", "drawn")
    assert (shown["map_class"] == drawn["map_class"]).all()
    form = ElementTree.fromstring(read_vectors(tmp_path / "blind.gpkg", "layer_styles")["styleQML"][0])
    assert [each.get("value") for each in form.iter("Option") if each.get("name") in ("background", "channel", "water", "road")] == [
        "background", "channel", "water", "road"]  # fmt: skip
    pixels = read_vectors(tmp_path / "blind.gpkg", "pixels")
    assert pixels.area.to_numpy() == pytest.approx(100)
    assert pixels.contains(blind.geometry).all()
    assert (pixels.bounds["minx"] % 10 == 0).all(), "on the map's lattice"
    assert read_vectors(tmp_path / "blind.gpkg", "strata")["points"].tolist()[3] == 0


def test_points_that_were_added_copied_or_deleted_are_told(tmp_path: Path):
    make_map(tmp_path / "map", make_labels())
    out = tmp_path / "p.gpkg"
    assert CliRunner().invoke(cli.app, ["assess", "sample", str(tmp_path / "map"), "--points", "90", "--out", str(out),
                                        "--least", "20"]).exit_code == 0  # fmt: skip
    layers = interpreted(out)
    points = layers["points"]

    def with_points(changed: geopandas.GeoDataFrame) -> Path:
        write_vectors(out, layers | {"points": changed})
        return out

    one = points.iloc[[0]]
    with pytest.raises(AssessError, match=rf"has a point {one['id'].iloc[0]} twice"):
        assess(with_points(pd.concat([points, one])))
    with pytest.raises(AssessError, match=r"has the point 777, which was never drawn"):
        assess(with_points(pd.concat([points, one.assign(id=777)])))
    with pytest.raises(AssessError, match=r"has a point without an id"):
        assess(with_points(pd.concat([points, one.assign(id=None)])))
    with pytest.warns(
        DegradedDataWarning, match=r"7 of 90 points of .* have no reference \(7 were deleted\) and are left"
    ):
        assert assess(with_points(points.iloc[7:])).left_out == 7


def test_where_pixels_differ_in_area_every_hectare_is_as_likely(tmp_path: Path):
    # 0° to 60° north in degrees: a pixel at 60° has half the ground of one at the equator.
    grid = Grid("EPSG:4326", Affine(0.05, 0, 10, 0, -0.05, 60), (1200, 60))
    files = make_map(tmp_path / "map", np.zeros((1200, 60)), grid=grid)
    points = design.draw(files, design.read_strata(files), np.array([6000]), seed=3)
    north = float((points.geometry.y > 30).mean())
    # On a sphere the northern half in degrees has (sin 60° − sin 30°) / sin 60° = 0.4226 of the ground, s.e. 0.0064.
    assert north == pytest.approx(0.4226, abs=0.02)
    assert not points.geometry.duplicated().any()
    few = Grid("EPSG:4326", Affine(0.05, 0, 10, 0, -0.05, 60), (1200, 1))
    all_of_them = make_map(tmp_path / "few", np.zeros((1200, 1)), grid=few)
    assert len(design.draw(all_of_them, design.read_strata(all_of_them), np.array([1200]), 0)) == 1200


def test_what_cannot_be_assessed_says_so(tmp_path: Path):
    files = make_map(tmp_path / "map", make_labels())
    strata = design.read_strata(files)
    with pytest.raises(AssessError, match=r"class water has 800 pixels on the map, but 1000 points are wanted"):
        design.allocate(strata, 3000, "equal", 2)
    with pytest.raises(AssessError, match=r"allocation 'optimal' needs the expected user's accuracy"):
        design.allocate(strata, 300, "optimal", 2)
    with pytest.raises(AssessError, match=r"holds no class anywhere"):
        design.read_strata(make_map(tmp_path / "none", np.full((8, 8), 255)))
    with pytest.raises(MapError, match=r"holds the value 3, but its tags name 2 classes"):
        design.read_strata(make_map(tmp_path / "strange", np.full((8, 8), 3), names=("a", "b")))
    with pytest.raises(MapError, match=r"has no tags CLASS_0"):
        make_map(tmp_path / "nameless", np.zeros((8, 8)), names=())
    for arguments, said in (((), "say how many points"), (("--points", "9", "--expect", "channel=1"), "--expect names"),
                            (("--points", "9", "--out", str(tmp_path / "a.txt")), "should end in .gpkg")):  # fmt: skip
        result = CliRunner().invoke(
            cli.app, ["assess", "sample", str(tmp_path / "map"), "--out", str(tmp_path / "p.gpkg"), *arguments]
        )
        assert said in str(result.exception)
    points = design.draw(files, strata, np.array([2, 2, 2]), 0)
    counts = np.array([2, 2, 2])
    layers = {"points": points.assign(reference="fen"), "drawn": points, "strata": strata.table(files.names, counts)}
    write_vectors(tmp_path / "p.gpkg", layers)
    with pytest.raises(
        AssessError, match=r"has the reference 'fen', but the classes are background, channel, water, road"
    ):
        assess(tmp_path / "p.gpkg")


def test_vector_files_are_whole_the_same_twice_and_in_degrees_as_geojson(tmp_path: Path):
    points = geopandas.GeoDataFrame(
        {"id": [1]}, geometry=geopandas.points_from_xy([600_000], [7_000_000]), crs="EPSG:32720"
    )
    for name in ("a.gpkg", "b.gpkg", "a.parquet", "a.geojson"):
        write_vectors(tmp_path / name, {"points": points})
    assert (tmp_path / "a.gpkg").read_bytes() == (tmp_path / "b.gpkg").read_bytes()
    assert geopandas.read_parquet(tmp_path / "a.parquet").crs == points.crs
    lon, lat = json.loads((tmp_path / "a.geojson").read_text())["features"][0]["geometry"]["coordinates"]
    # UTM zone 20 south, 100 km east of its middle meridian, 3 000 km south of the equator: −62° and −27°, about.
    assert (round(lon), round(lat)) == (-62, -27)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.geojson", "a.gpkg", "a.parquet", "b.gpkg"]
    with pytest.raises(VectorError, match=r"takes one layer, but there are a, b"):
        write_vectors(tmp_path / "c.geojson", {"a": points, "b": points})
    with pytest.raises(VectorError, match=r"is no folder; make it first"):
        write_vectors(tmp_path / "no" / "c.gpkg", {"a": points})
    with pytest.raises(VectorError, match=r"has no layer 'strata', but points"):
        read_vectors(tmp_path / "a.gpkg", "strata")
    with pytest.raises(VectorError, match=r"is missing"):
        read_vectors(tmp_path / "z.gpkg", "strata")
    (tmp_path / "bad.gpkg").write_text("no")
    with pytest.raises(VectorError, match=r"cannot be read"):
        read_vectors(tmp_path / "bad.gpkg", "strata")


def test_z_is_of_95_percent():
    assert pytest.approx(1.959964, abs=1e-3) == Z
