"""Test ground that a rule names, scene by scene, stands in the report's map of the split like any block."""

import re
from pathlib import Path

import numpy as np
import pytest
from scene_builder import make_scene
from split_builder import params, rule, run

from thalweg import raster
from thalweg.blockmap import read_blocks
from thalweg.manifest.chips import PARTS, part_path, read_parts
from thalweg.manifest.scene import Scene, read_scenes
from thalweg.ruled import read_ruled


def write_parts(split: Path, scene: Scene, parts: np.ndarray) -> None:
    path = part_path(split, scene.record.grid, scene.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = raster.create_pixels(path, scene.grid, 1, "uint8", None)
    pixels[:, :, 0] = parts
    pixels.flush()


def area_km2(path: str) -> float:
    """Of an SVG path: rings that turn the other way are holes."""
    rings = [
        [[float(each) for each in point.split()] for point in ring.split("L")] for ring in re.findall("M([^Z]+)Z", path)
    ]
    twice = [
        sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True)) for ring in rings
    ]
    return abs(sum(twice)) / 2


def test_the_ground_of_a_rule_is_drawn_beside_the_blocks(tmp_path: Path):
    make_scene(tmp_path / "g60", "free")  # 3.84 km wide
    make_scene(tmp_path / "g60", "far_test", origin=(603_000, 7_000_000))  # its western 840 m are the free scene's, too
    split = params(rules=[rule("test", "*_test")], fractions={"train": 0.7, "val": 0.3, "test": 0}, yields="test")
    out = run(tmp_path, split)
    members = read_scenes(tmp_path / "g60")
    blocks = read_blocks(out / "blocks.geojson", read_ruled({"g60": tuple(members.values())}, out, split))
    assert blocks is not None
    assert blocks.scenes == {"test": 1}
    assert "test" not in blocks.counts
    [piece] = blocks.pieces  # they touch
    assert set(piece.outlines) == {"train", "val"}
    test_px = (read_parts(out, "g60", "far_test") == PARTS["test"]).sum()
    assert 40 * 64 < test_px < 50 * 64  # 14 columns are shared, and the buffer takes some more
    assert area_km2(piece.ruled["test"]) == pytest.approx(test_px * 0.0036, rel=0.01)


def test_where_rules_alone_decide_there_is_a_map_too(tmp_path: Path):
    for name, east in (("a_train", 600_000), ("b_val", 604_000), ("c_test", 608_000)):
        make_scene(tmp_path / "g60", name, origin=(east, 7_000_000))
    split = params(rules=[rule(part, f"*_{part}") for part in ("train", "val", "test")])
    out = run(tmp_path, split)
    ruled = read_ruled({"g60": tuple(read_scenes(tmp_path / "g60").values())}, out, split)
    blocks = read_blocks(out / "blocks.geojson", ruled)
    assert blocks is not None
    assert blocks.counts == {}
    assert blocks.scenes == {"test": 1, "train": 1, "val": 1}
    [piece] = blocks.pieces
    assert {part: area_km2(path) for part, path in piece.ruled.items()} == {
        part: pytest.approx(3.84 * 3.84, rel=0.01) for part in ("train", "val", "test")
    }


def test_dates_of_a_tile_are_one_ground_and_holes_stay_open(tmp_path: Path):
    parts = np.full((600, 600), PARTS["test"], np.uint8)
    parts[150:450, 150:450] = PARTS["unused"]
    for day in ("1_test", "2_test"):
        scene = make_scene(tmp_path / "g10", day, pixel=10, shape=(600, 600), mask=None)
        write_parts(tmp_path / "split", scene, parts)
    (tmp_path / "split/blocks.geojson").write_text('{"features": []}')
    split = params(rules=[rule("test", "*_test")])
    ruled = read_ruled({"g10": tuple(read_scenes(tmp_path / "g10").values())}, tmp_path / "split", split)
    assert [part for part, _ in ruled.outlines] == ["test"]
    assert ruled.scenes == {"test": 2}
    blocks = read_blocks(tmp_path / "split/blocks.geojson", ruled)
    assert blocks is not None
    assert area_km2(blocks.pieces[0].ruled["test"]) == pytest.approx(36 - 9, rel=0.02)  # squares of 3 pixels


def test_what_is_unused_or_not_split_yet_is_not_drawn(tmp_path: Path):
    scene = make_scene(tmp_path / "g60", "a")
    late = make_scene(tmp_path / "g60", "b")
    write_parts(tmp_path / "split", scene, np.zeros((64, 64), np.uint8))
    split = params(rules=[rule("unused", "a"), rule("test", "b")])
    assert read_ruled({"g60": (scene, late)}, tmp_path / "split", split).outlines == ()
