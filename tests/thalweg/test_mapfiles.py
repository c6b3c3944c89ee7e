"""A map as files: its ground area, its scaled values, and that nothing reads it whole."""

from pathlib import Path

import numpy as np
import pytest
from plain_map import make_map

from thalweg import raster
from thalweg.assess import design
from thalweg.centrelines import LineRules, build_lines
from thalweg.errors import MapError
from thalweg.grid import Window
from thalweg.mapfiles import read_map, read_scaled
from thalweg.polygons import Rules, build_polygons


@pytest.fixture
def read_px(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Pixels of each window that is read from a raster."""
    sizes: list[int] = []
    real = raster.to_rio

    def noted(window: Window):
        sizes.append(window.height * window.width)
        return real(window)

    monkeypatch.setattr(raster, "to_rio", noted)
    return sizes


def test_no_map_is_ever_read_whole(tmp_path: Path, read_px: list[int]):
    labels = np.zeros((1200, 300), np.uint8)
    labels[:, 100:104] = labels[600, :] = 1
    probs = np.stack([1.0 - labels, labels.astype(float)])
    files = make_map(tmp_path / "map", labels, ("a", "b"), probs=probs, uncertainty=labels * 0.5)
    read_px.clear()
    design.draw(files, strata := design.read_strata(files), np.array([9, 9]), 0)
    assert len(strata.names) == 2
    build_polygons(files, Rules(("a", "b"), 0, 0, 0), rows=100)
    assert max(read_px) <= 256 * 300, "stripes of the file's blocks"
    read_px.clear()
    assert len(build_lines(files, LineRules("b", 60.0, 2.0, 0.0, 0.0), block_px=64)) == 4
    assert max(read_px) <= (64 + 2 * (2 * 6 + 1 + 8)) ** 2, "windows and their rims"


def test_values_come_by_their_scale_whatever_holds_them(tmp_path: Path):
    probs = np.array([[[0.25, np.nan]], [[0.75, np.nan]]])
    files = make_map(tmp_path / "map", np.zeros((1, 2)), ("a", "b"), probs=probs, uncertainty=np.array([[0.5, np.nan]]))
    both = read_scaled(files.probs, files.grid.full, (2, 1))
    np.testing.assert_allclose(both[:, 0, 0], (0.75, 0.25), atol=1e-5)
    assert np.isnan(both[:, 0, 1]).all()
    assert read_scaled(files.uncertainty, files.grid.full, (1,))[0, 0, 0] == pytest.approx(0.5, abs=2e-3)
    with pytest.raises(MapError, match=r"probs.tif has 2 bands, but band 3 is wanted"):
        read_scaled(files.probs, files.grid.full, (3,))


def test_what_is_no_map_says_so(tmp_path: Path):
    files = make_map(tmp_path / "map", np.zeros((4, 4)))
    raster.write(tmp_path / "float.tif", np.zeros((4, 4), np.float32), files.grid, nodata=255)
    with pytest.raises(MapError, match=r"float.tif should be uint8 with nodata 255, got float32 with 255"):
        read_map(tmp_path / "float.tif")
