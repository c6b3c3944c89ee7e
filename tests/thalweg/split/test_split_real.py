"""The official split of the real bark-beetle chips (../shared/data), its leak measured against an independent count."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from scene_builder import make_scene
from scipy.spatial import cKDTree
from split_builder import params, run

from thalweg.manifest.chips import read_stats

HOME = Path(__file__).parents[4] / "shared" / "data" / "s2_barkbeetle_12band"
EVERY = 3
"""Of the chips, for time; all 200 give 149.6 m."""
needs_data = pytest.mark.skipif(not HOME.is_dir(), reason=f"the real bark-beetle chips are not in {HOME}")


def write_scenes(root: Path) -> dict[str, np.ndarray]:
    """Scenes with the chips' own ground and masks; part → earth-centred coordinates of all their pixels."""
    ground: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    (root / "lists").mkdir(parents=True)
    for part, points in ground.items():
        paths = sorted((HOME / f"masks_{part}").glob("*.tif"))[::EVERY]
        (root / "lists" / f"{part}.txt").write_text("\n".join(path.name for path in paths))
        for path in paths:
            with rasterio.open(path) as source:
                mask, affine = source.read(1), source.transform
            make_scene(root / "g60", path.stem, "EPSG:3857", (affine.c, affine.f), affine.a, mask.shape,
                       mask=mask.astype(np.uint8), channels=("B04",))  # fmt: skip
            rows, cols = np.indices(mask.shape).reshape(2, -1) + 0.5
            x, y = affine.c + affine.a * cols, affine.f + affine.e * rows
            to_earth = Transformer.from_crs("EPSG:3857", "EPSG:4978", always_xy=True)
            points.append(np.stack(to_earth.transform(x, y, np.zeros_like(x)), 1))
    return {part: np.concatenate(of) for part, of in ground.items()}


@needs_data
def test_the_official_split_of_the_bark_beetle_chips_is_measured(tmp_path):
    ground = write_scenes(tmp_path)
    lists = {part: f"{part}.txt" for part in ("train", "test")}
    section = {"rules": None, "lists": {**lists, "val": "val.txt"}, "tile_px": None, "swap": False, "keep": {},
               "drop_duplicates": [], "missing": "error"}  # fmt: skip
    names = (tmp_path / "lists" / "train.txt").read_text().split()
    (tmp_path / "lists" / "val.txt").write_text("\n".join(names[::8]))
    (tmp_path / "lists" / "train.txt").write_text("\n".join(name for n, name in enumerate(names) if n % 8))
    split = params(official=section, input=str(tmp_path / "lists"), yields="none", buffer_m=100, block_m=10_000)
    stats = read_stats(run(tmp_path, split), "g60")
    nearest = cKDTree(ground["train"]).query(ground["test"])[0].min()
    assert stats.leak_m == pytest.approx(nearest, abs=0.01)
    assert stats.shown_m == pytest.approx(nearest, abs=0.01)
    assert nearest > 100
    assert stats.hidden_fraction == 0
