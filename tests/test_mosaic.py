"""Placing scenes on one map."""

from typing import NamedTuple

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Transformer
from scipy.ndimage import binary_erosion
from scipy.ndimage import label as connected

from thalweg import raster
from thalweg.errors import EnsembleError
from thalweg.grid import Grid, Window, iter_blocks
from thalweg.maps import PROB_NODATA
from thalweg.mosaic import footprint, iter_mosaic, map_grid


def grid(
    row: int = 0, col: int = 0, shape: tuple[int, int] = (8, 10), crs: str = "EPSG:32720", pixel: float = 60.0
) -> Grid:
    return Grid(crs, Affine(pixel, 0, 600_000 + col * pixel, 0, -pixel, 7_000_000 - row * pixel), shape)


@given(row=st.integers(-500, 500), col=st.integers(-500, 500))
def test_a_moved_grid_lies_where_it_was_moved(row, col) -> None:
    assert footprint(grid(), grid(row, col)) == Window(row, col, 8, 10)
    assert grid().offset_px(grid(row, col)) == (row, col)


def test_other_lattices_have_no_offset() -> None:
    half = Grid("EPSG:32720", Affine(60, 0, 600_030, 0, -60, 7_000_000), (8, 10))
    for other in (half, grid(pixel=20.0), grid(crs="EPSG:32721")):
        assert grid().offset_px(other) is None
    assert grid().offset_px(Grid(grid().crs.to_wkt(), grid().transform, (8, 10))) == (0, 0)


def test_the_map_covers_all_scenes_on_the_first_ones_lattice() -> None:
    covering = map_grid([grid(), grid(-3, 4), grid(5, -2)])
    assert covering.shape_yx == (16, 16)
    assert covering.transform @ (0, 0) == (600_000 - 2 * 60, 7_000_000 + 3 * 60)


def test_a_scene_of_the_next_zone_is_covered_as_well() -> None:
    other = Grid("EPSG:32721", Affine(60, 0, 200_000, 0, -60, 7_000_000), (30, 30))
    near = Grid("EPSG:32720", Affine(60, 0, 790_000, 0, -60, 7_000_000), (30, 30))
    covering = map_grid([near, other])
    window = footprint(covering, other)
    assert window.clip(covering.shape_yx) == window
    assert window.height >= 30


def test_scenes_of_two_continents_are_no_map() -> None:
    far = Grid("EPSG:32633", Affine(60, 0, 500_000, 0, -60, 5_000_000), (8, 10))
    with pytest.raises(EnsembleError, match=r"all 2 scenes would have .* pixels, more than 4e\+09; narrow 'scenes'"):
        map_grid([grid(pixel=10.0), far])


def layer(path, where: Grid, values: np.ndarray):
    raster.write(path, values.astype(np.uint16), where, nodata=PROB_NODATA)
    return where, path


def test_overlapping_scenes_are_averaged_and_lone_ones_pass_unchanged(tmp_path) -> None:
    one, two = np.full((2, 8, 10), 100), np.full((2, 8, 10), 201)
    one[:, 7, 9] = PROB_NODATA
    scenes = [layer(tmp_path / "a.tif", grid(), one), layer(tmp_path / "b.tif", grid(6, 8), two)]
    covering = map_grid([where for where, _ in scenes])
    [(window, held)] = list(iter_mosaic(covering, scenes))
    assert window == covering.full
    expected = np.full((14, 18), PROB_NODATA)
    expected[:8, :10], expected[6:, 8:] = 100, 201
    expected[6:8, 8:10] = 150  # 150.5 to the even neighbour
    expected[7, 9] = 201
    assert (held == expected).all()


def test_empty_windows_are_left_out(tmp_path) -> None:
    values = np.full((1, 8, 10), 7)
    scenes = [layer(tmp_path / "a.tif", grid(), values), layer(tmp_path / "b.tif", grid(3000, 3000), values)]
    covering = map_grid([where for where, _ in scenes])
    assert len(list(iter_mosaic(covering, scenes))) < 6 < len(list(iter_blocks(covering.shape_yx, 512)))


@given(height=st.integers(1, 40), width=st.integers(1, 40), size=st.integers(1, 50))
def test_blocks_cover_every_pixel_once(height, width, size) -> None:
    seen = np.zeros((height, width), int)
    for window in iter_blocks((height, width), size):
        seen[window.rows, window.cols] += 1
    assert (seen == 1).all()


class Onto(NamedTuple):
    """As params.yaml gives it."""

    crs: str
    resolution_m: float


def ramp(xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Held values that rise by 40 per 60 m of zone 20's easting and fall by 20 to the north."""
    return 30_000 + (xs - 797_000) / 60 * 40 - (ys - 7_010_000) / 60 * 20


def zones(tmp_path, values) -> list:
    """Two scenes of neighbouring zones that meet at 60° west, each some 20 km wide and 3 km over the border."""
    scenes = []
    for name, crs, col in (("a", "EPSG:32720", 0), ("b", "EPSG:32721", 1)):
        to_zone = Transformer.from_crs(4326, crs, always_xy=True)
        border, north = to_zone.transform(-60, -27)
        west = round(border / 60) * 60 - (20_000 // 60 * 60 if col == 0 else 2_940)
        where = Grid(crs, Affine(60, 0, west, 0, -60, round(north / 60) * 60), (200, 380))
        rows, cols = np.mgrid[:200, :380] + 0.5
        xs, ys = west + cols * 60, where.transform.f - rows * 60
        onto_map = Transformer.from_crs(crs, "EPSG:32720", always_xy=True)
        scenes.append(layer(tmp_path / f"{name}.tif", where, values(*onto_map.transform(xs, ys))[None]))
    return scenes


@pytest.mark.parametrize("metres", [60.0, 50.0, 120.0])
@pytest.mark.parametrize("crs", ["EPSG:32720", "EPSG:32721", "ESRI:102033"])
def test_two_zones_have_no_seam(tmp_path, crs, metres) -> None:
    """rasterio's merge wants one CRS; here neighbouring zones meet on either's grid or a third (Albers, equal area)."""
    for number, values in enumerate((lambda xs, _: np.full(xs.shape, 31_000), lambda xs, ys: np.rint(ramp(xs, ys)))):
        folder = tmp_path / str(number)
        folder.mkdir()
        scenes = zones(folder, values)
        covering = map_grid([where for where, _ in scenes], Onto(crs, metres))
        assert {(covering.transform.c / metres) % 1, (covering.transform.f / metres) % 1} == {0}
        assert covering.transform.a == -covering.transform.e == metres
        whole = np.full(covering.shape_yx, PROB_NODATA, np.uint16)
        for window, held in iter_mosaic(covering, scenes):
            whole[window.rows, window.cols] = held[0]
        rows, cols = np.nonzero(whole != PROB_NODATA)
        xs = covering.transform.c + (cols + 0.5) * metres
        ys = covering.transform.f - (rows + 0.5) * metres
        found = whole[rows, cols].astype(float)
        expected = values(*Transformer.from_crs(crs, "EPSG:32720", always_xy=True).transform(xs, ys))
        inside = inner(whole != PROB_NODATA)[rows, cols]
        if number == 0:
            assert (found == 31_000).all()
        off = np.abs(found - expected)[inside]
        # The outermost pixels of a scene lack a neighbour, so they are off by up to half a pixel (30 of a ramp of 40 and
        # 20 a pixel), which the other scene halves.
        assert off.max() <= 15 * max(metres / 60, 1) + 2, "also over the border and where the scenes overlap"
        assert np.quantile(off, 0.98) <= 5
        _, outsides = connected(np.pad(whole == PROB_NODATA, 1, constant_values=True))
        assert outsides == 1, "what is not mapped all hangs together outside: no gap"


def inner(there: np.ndarray) -> np.ndarray:
    """Pixels more than two away from anything without a value."""
    return binary_erosion(there, np.ones((5, 5)))


@pytest.mark.parametrize(("crs", "message"), [
    ("EPSG:4326", r"onto.crs in params.yaml is EPSG:4326 \(WGS 84\), whose unit is not the metre"),
    ("EPSG:2263", r"whose unit is not the metre .*; give a projected CRS in metres"),
    ("UTM20", r"onto.crs in params.yaml is 'UTM20', which PROJ cannot read; give e.g. EPSG:32633"),
])  # fmt: skip
def test_a_map_is_in_metres(crs, message) -> None:
    with pytest.raises(EnsembleError, match=message):
        map_grid([grid()], Onto(crs, 20.0))
