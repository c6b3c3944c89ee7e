"""Suggestions: which blocks, in which order and why; and how what is drawn in one flows back."""

import json
from pathlib import Path
from xml.etree import ElementTree

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_builder import delivery, features, write_vectors
from round_builder import DRAWN_COLS, FirstRound, make_truth
from split_builder import CLASSES
from typer.testing import CliRunner

from thalweg import cli
from thalweg.errors import MapError, SuggestError
from thalweg.guard import Drawn, Guard, scenes_of
from thalweg.manifest.chips import PARTS, scene_parts
from thalweg.preprocess.masks import find_masks, write_mask
from thalweg.split.blocks import Lattice, block_name, encode
from thalweg.suggest.rank import Weights, features_of, rank, typical
from thalweg.suggest.suggest import APART, SUGGESTIONS, Ground, Wish, suggest
from thalweg.suggest.tally import DOUBT, EDGE, FREE, HELD, MAPPED, tally_maps, tally_scenes
from thalweg.vectors import read_vectors

EVERYTHING = Weights(1, 1, 1, 1)


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> FirstRound:
    return FirstRound(tmp_path_factory.mktemp("first"))


def ground_of(first: FirstRound, grid: str = "g60") -> Ground:
    scenes = scenes_of(first.root / "scenes", first.folder)
    return Ground(scenes, grid, first.folder, first.split.block_m, first.split.buffer_m, None)


def find(
    first: FirstRound, weights: Weights = EVERYTHING, name: str = "main", **changes
) -> dict[str, geopandas.GeoDataFrame]:
    wish = {"weights": weights, "count": 50, "by": "entropy", "least": 0.25} | changes
    return suggest([first.root / "maps" / name], Wish(**wish), ground_of(first))


def pixel_blocks(first: FirstRound) -> np.ndarray:
    """(96, 96) names of the blocks of the map's pixels, one by one."""
    lattice, grid = Lattice(first.split.block_m), first.map.grid
    rows, cols = lattice.cells(grid, grid.full)
    return np.vectorize(block_name)(rows, cols)


def test_sums_of_blocks_are_those_of_their_pixels(first):
    doubtful = np.random.default_rng(0).uniform(0.5, 1, (96, 96))
    files = first.make_map("doubtful", first.truth, doubtful)
    scenes = scenes_of(first.root / "scenes", first.folder)
    guard = Guard(scenes, first.folder, 120.0)
    lattice = Lattice(first.split.block_m)
    tally = tally_maps([files], lattice, guard, Drawn(scenes, None), "entropy")
    parts = np.asarray(scene_parts(first.folder, first.scene))
    fine = np.asarray(scene_parts(first.folder, first.fine))[1::3, 1::3]  # the 20 m pixel under each centre
    held = np.isin(parts, (PARTS["val"], PARTS["test"])) | np.isin(fine, (PARTS["val"], PARTS["test"]))
    free = (first.drawn == 255) & ~guard.near(files.grid, files.grid.full)
    p = np.round(doubtful * 65534) / 65534
    entropy = -(p * np.log2(np.maximum(p, 1e-12)) + (1 - p) * np.log2(np.maximum(1 - p, 1e-12)))
    edge = np.zeros((96, 96))
    edge[:, :-1] += first.truth[:, :-1] != first.truth[:, 1:]
    edge[:-1] += first.truth[:-1] != first.truth[1:]
    codes = encode(*lattice.cells(files.grid, files.grid.full))
    for code, sums in zip(tally.codes, tally.sums, strict=True):
        here = codes == code
        pixel_m2 = sums[MAPPED] / here.sum()
        assert pixel_m2 == pytest.approx(3600, rel=2e-3)
        assert sums[FREE] == pytest.approx((here & free).sum() * pixel_m2, rel=1e-4)
        assert sums[HELD] == pytest.approx((here & held).sum() * pixel_m2, rel=1e-4)
        assert sums[DOUBT] == pytest.approx((entropy * (here & free)).sum() * pixel_m2, rel=1e-3)
        assert sums[EDGE] == pytest.approx(np.pi / 4 * 60 * edge[here & free].sum(), rel=2e-3)


def test_stripes_do_not_change_the_sums(first, monkeypatch):
    scenes = scenes_of(first.root / "scenes", first.folder)
    said = []
    for rows in (96, 13):
        whole = type(first.map).iter_stripes
        monkeypatch.setattr(type(first.map), "iter_stripes", lambda self, rows=rows, whole=whole: whole(self, rows))
        monkeypatch.setattr("thalweg.suggest.tally._BAND_PX", rows)
        lattice = Lattice(900)
        guard = Guard(scenes, first.folder, 120.0)
        both = tally_scenes(scenes["g20"].values(), lattice, lambda scene: scene_parts(first.folder, scene))
        said.append((tally_maps([first.map], lattice, guard, Drawn(scenes, None), "entropy"), *both))
        monkeypatch.undo()
    for one, other in zip(*said, strict=True):
        assert (one.codes == other.codes).all()
        np.testing.assert_allclose(one.sums, other.sums, rtol=1e-6)


def test_held_out_blocks_are_never_ranked(first):
    layers = find(first, count=500)
    names, parts = pixel_blocks(first), np.asarray(scene_parts(first.folder, first.scene))
    held = set(names[np.isin(parts, (PARTS["val"], PARTS["test"]))].tolist())
    assert held
    assert not held & set(layers[SUGGESTIONS]["block"])
    assert held <= set(layers[APART]["block"])
    blocks = json.loads((first.folder / "blocks.geojson").read_text())["features"]
    of_table = {each["properties"]["name"] for each in blocks if each["properties"]["part"] in ("val", "test")}
    assert set(layers[APART]["block"]) == of_table
    # Nor are neighbours of a held-out block that are free left out for it.
    free = set(names[:, DRAWN_COLS + 8 :].ravel().tolist()) - held
    assert len(free & set(layers[SUGGESTIONS]["block"])) > 5


def test_a_block_is_suggested_for_each_reason_alone(first):
    doubtful = np.full((96, 96), 0.99)
    names = pixel_blocks(first)
    every = set(find(first)[SUGGESTIONS]["block"])
    target = sorted(every)[3]
    doubtful[names == target] = 0.55
    first.make_map("one", first.truth, doubtful)
    by_doubt = find(first, Weights(1, 0, 0, 0), "one")[SUGGESTIONS]
    assert by_doubt["block"][0] == target
    assert by_doubt["score"].is_monotonic_decreasing
    assert "number 1 of" in by_doubt["reason"][0]
    by_cost = find(first, Weights(0, 0, 0, 1))[SUGGESTIONS]
    assert by_cost["cost"].is_monotonic_increasing
    by_novelty = find(first, Weights(0, 1, 0, 0))[SUGGESTIONS]
    assert by_novelty["novelty"].is_monotonic_decreasing, "k-centre greedy: each distance is at most the one before"
    assert by_novelty["novelty"][0] == pytest.approx(1)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 25), st.integers(0, 5))
def test_novelty_alone_is_k_centre_greedy(seed, count, taught):
    random = np.random.default_rng(seed)
    features_, centres = random.normal(size=(count, 3)), random.normal(size=(taught, 3))
    found = rank(random.random(count), random.random(count), features_, centres, Weights(0, 1, 0, 0), count)
    assert sorted(found.order.tolist()) == list(range(count))
    known = list(centres)
    for number, picked in enumerate(found.order):
        if known:
            apart = np.array([min(np.linalg.norm(each - centre) for centre in known) for each in features_])
            left = found.order[number:]
            if number or taught:
                assert apart[picked] == pytest.approx(apart[left].max())
        known.append(features_[picked])


def test_the_list_is_not_ten_neighbours():
    # Nine very doubtful blocks that look alike, and one that is half as doubtful and looks different.
    features_ = np.concatenate([np.zeros((9, 2)), [[3.0, 0.0]]])
    doubt = np.concatenate([np.full(9, 0.8), [0.4]])
    found = rank(doubt, np.zeros(10), features_, np.array([[0.5, 0.0]]), Weights(1, 1, 0, 0), 3)
    assert found.order[0] == 9
    assert found.novelty[0] == pytest.approx(1)
    # Beside 0.5: distance 0.5 of 2.5; once one of them is drawn, the others are no news.
    assert found.novelty[1:] == pytest.approx([0.2, 0.0])


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_scores_and_typicality_are_shares(seed, count):
    random = np.random.default_rng(seed)
    features_ = random.normal(size=(count, 4))
    found = rank(random.random(count), random.random(count), features_, random.normal(size=(2, 4)), EVERYTHING, 10)
    assert ((found.score >= 0) & (found.score <= 1)).all()
    assert len(found.order) == min(count, 10) == len(set(found.order.tolist()))
    assert ((typical(features_) >= 0) & (typical(features_) <= 1)).all()


def test_an_outlier_is_not_typical():
    crowd = np.random.default_rng(0).normal(size=(30, 2))
    found = typical(np.concatenate([crowd, [[50.0, 50.0]]]))
    assert found[-1] == 0
    assert found[:-1].mean() > 0.3


def test_features_by_hand():
    # One channel: 1 and 3 (mean 2, spread 1) on the free block, 5 and 5 (5, 0) on the taught one.
    free, taught = features_of(np.array([[2, 4.0, 10.0]]), np.array([[2, 10.0, 50.0]]))
    # Means 2 and 5: ∓1 standard deviation; spreads 1 and 0: ±1; over √2.
    np.testing.assert_allclose(free, [[-(2**-0.5), 2**-0.5]])
    np.testing.assert_allclose(taught, [[2**-0.5, -(2**-0.5)]])


def make_project(first: FirstRound, home: Path) -> None:
    (home / "build").mkdir()
    (home / "build/scenes").symlink_to(first.root / "scenes")
    (home / "build/split").symlink_to(first.folder)
    (home / "masks").mkdir()
    (home / "masks/first.yaml").write_text("# none\n")
    grid = {"products": "*", "resolution_m": 60, "bands": ["B04"], "resampling": "bilinear", "channels": [], "further": [],
            "dtype": "int16", "valid": {"scl": [], "product_masks": False, "cloud_probability": None, "cloud_buffer_m": 0},
            "series": None, "pack": 1}  # fmt: skip
    sections = {"split": json.loads(first.split.model_dump_json()), "round": {"input": "masks/first.yaml"},
                "grids": {"g60": grid, "g20": grid | {"resolution_m": 20}}}  # fmt: skip
    (home / "params.yaml").write_text(json.dumps(sections))


def test_by_command_with_a_style_for_qgis(first, tmp_path, monkeypatch):
    make_project(first, tmp_path)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli.app, ["suggest", str(first.root / "maps/main"), "--count", "4", "--apart"])
    assert done.exit_code == 0, done.output
    ranked, apart = read_vectors(Path("suggestions.gpkg"), SUGGESTIONS), read_vectors(Path("suggestions.gpkg"), APART)
    assert ranked["rank"].tolist() == [1, 2, 3, 4]
    assert f"wrote suggestions.gpkg with 4 blocks and apart from them {len(apart)} held-out ones" in done.stdout
    assert ranked.crs == "EPSG:4326"
    assert ranked.to_crs(32720).area.to_numpy() == pytest.approx(900**2, rel=0.02)
    looks = read_vectors(Path("suggestions.gpkg"), "layer_styles").set_index("f_table_name")
    assert looks.loc[SUGGESTIONS, "useAsDefault"]
    style = ElementTree.fromstring(looks.loc[SUGGESTIONS, "styleQML"])
    renderer = style.find("renderer-v2")
    assert renderer.get("attr") == "score"
    uppers = [float(each.get("upper")) for each in renderer.iter("range")]
    assert uppers == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert {each.get("symbol") for each in renderer.iter("range")} == {
        each.get("name") for each in renderer.iter("symbol")
    }
    assert style.find(".//text-style").get("fieldName") == "rank"
    plain = CliRunner().invoke(cli.app, ["suggest", str(first.root / "maps/main"), "--out", "b.gpkg"])
    assert plain.exit_code == 0, plain.output
    assert "held_out" not in geopandas.list_layers("b.gpkg")["name"].tolist()
    again = CliRunner().invoke(cli.app, ["suggest", str(first.root / "maps/main"), "--out", "c.gpkg"])
    assert again.stdout.replace("c.gpkg", "b.gpkg") == plain.stdout
    assert Path("b.gpkg").read_bytes() == Path("c.gpkg").read_bytes()


def test_what_cannot_be_ranked_says_so(first):
    with pytest.raises(SuggestError, match=r"all weights are 0"):
        find(first, Weights(0, 0, 0, 0))
    with pytest.raises(SuggestError, match=r"there is no grid 'g10' in build/split, but g20, g60"):
        suggest([first.root / "maps/main"], Wish(EVERYTHING, 5, "entropy", 0.25), ground_of(first, "g10"))
    with pytest.raises(SuggestError, match=r"none of the \d+ blocks of the maps is free to draw by a share of 1"):
        find(first, least=1.0)
    with pytest.raises(MapError, match=r"but none of mutual"):
        find(first, by="mutual")
    drawn = first.make_map("drawn", np.where(np.arange(96) < DRAWN_COLS, make_truth(), 255), 0.9)
    assert drawn.probs is not None
    with pytest.raises(SuggestError, match=r"is free to draw"):
        find(first, name="drawn")


def test_what_is_drawn_in_a_suggested_block_flows_back_as_a_partial_mask(first, tmp_path):
    """The annotator draws one polygon in the best block, and says by the block's outline where they looked."""
    best = find(first, count=1)[SUGGESTIONS].to_crs(32720)
    block = best.geometry[0]
    polygon = block.buffer(-200)
    write_vectors(tmp_path / "drawn.gpkg", [polygon], "EPSG:32720")
    write_vectors(tmp_path / "looked.gpkg", [block], "EPSG:32720")
    masks = features(patterns=("drawn.gpkg",), values={"1": "channel"}, area="looked.gpkg")
    found = find_masks(masks, CLASSES, tmp_path, {"a": first.scene.grid})["a"]
    (tmp_path / "out").mkdir()
    write_mask("a", delivery(first.scene.grid), found, tmp_path / "out")
    with rasterio.open(tmp_path / "out/mask.tif") as dataset:
        labels = dataset.read(1)
    xs, ys = first.scene.grid.transform @ (np.indices((96, 96))[::-1] + 0.5)
    inside = shapely.contains_xy(polygon, xs, ys)
    looked = shapely.contains_xy(block, xs, ys)
    assert (labels[inside] == 1).all()
    assert (labels[looked & ~inside] == 0).all()
    assert (labels[~looked] == 255).all(), "unlabelled, not background"
    assert 30 < inside.sum() < looked.sum() < 300
