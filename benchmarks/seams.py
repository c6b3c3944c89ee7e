"""Do maps show where windows met? The step of probabilities across the borders of windows over the step elsewhere.

Run: python -m benchmarks.seams PROJECT [--members 'unet*'] [--scenes '*'] [--limit-scenes 8] [--pictures FOLDER]

PROJECT holds `models/` and `build/scenes/` of a run. Every scene that needs several windows is predicted by every
member, once per way: the five blends with an overlap of a quarter, and two ways of peers: *max*, torchbearer's merge of
the same windows by their maximum, and *no overlap*, windows side by side, Raster Vision's default. A step is the
absolute difference of the probabilities of two neighbouring pixels, mean over classes. At the lines where a window
begins or ends (of *crop*: where one is cut) the mean step is divided by that *elsewhere*, and by that *nearby*, 2 to
6 px off, on much the same ground. 1 is no seam; the limits are 0.9…1.1 nearby, mean over maps, for hann, cosine and
linear.

With --pictures, each map's probabilities of the last class as PNG, and below them how far each way is from hann.
"""

import argparse
import itertools
import statistics
import sys
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from thalweg.grid import cut, iter_windows
from thalweg.infer import Predictor
from thalweg.infer.scene import How, predict_scene
from thalweg.manifest.scene import NODATA, Scene, read_scenes
from thalweg.maps import PROB_NODATA, PROB_SCALE

OVERLAP = 0.25
BLENDS = ("hann", "cosine", "linear", "crop", "none")
JUDGED, LEAST, MOST = ("hann", "cosine", "linear"), 0.9, 1.1
BESIDE_PX = range(2, 7)
GAP = 2


class Remembering:
    """A member that predicts each window once, however many ways ask for it."""

    def __init__(self, predictor: Predictor, window_px: int | None) -> None:
        self.card = predictor.card.model_copy(update={"window_px": window_px or predictor.card.window_px})
        self.device = predictor.device
        self.identity = predictor.identity
        self._predictor = predictor
        self._known: dict[bytes, np.ndarray] = {}

    def predict(self, batch: np.ndarray) -> np.ndarray:
        """As the predictor."""
        keys = [sha256(window.tobytes()).digest() for window in batch]
        new = [number for number, key in enumerate(keys) if key not in self._known]
        if new:
            found = self._predictor.predict(batch[new])
            self._known |= {keys[number]: probs for number, probs in zip(new, found, strict=True)}
        return np.stack([self._known[key] for key in keys])

    def forget(self) -> None:
        """Frees memory between scenes."""
        self._known.clear()


def main() -> int:
    """Measures, prints a table, draws."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path)
    parser.add_argument("--members", default="unet*")
    parser.add_argument("--scenes", default="*")
    parser.add_argument("--limit-scenes", type=int, default=8)
    parser.add_argument("--window-px", type=int, default=None, help="Instead of the member's own.")
    parser.add_argument("--pictures", type=Path, default=None)
    given = parser.parse_args()
    ways = (*BLENDS, "no overlap", "max")
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for predictor, scene in iter_cases(given):
        maps = {way: predict(predictor, scene, way) for way in ways}
        for way, probs in maps.items():
            found[way].append(ratios(probs, *lines(predictor, scene, way)))
        if given.pictures:
            draw(maps, given.pictures / f"{scene.name}_{predictor.card.member}.png")
    if not found["hann"]:
        sys.exit(f"{given.project} has no scene larger than a window; give --window-px")
    print(f"{len(found['hann'])} maps")
    print(f"{'way':<12}{'over elsewhere (least, most)':>30}{'over nearby (least, most)':>30}")
    for way, pairs in found.items():
        columns = [
            f"{statistics.mean(each):.3f} ({min(each):.3f}, {max(each):.3f})" for each in zip(*pairs, strict=True)
        ]
        print(f"{way:<12}{columns[0]:>30}{columns[1]:>30}")
    kept = all(LEAST <= statistics.mean(nearby for _, nearby in found[way]) <= MOST for way in JUDGED)
    print(f"limits {LEAST}…{MOST} nearby for {', '.join(JUDGED)}: {'kept' if kept else 'MISSED'}")
    return int(not kept)


def iter_cases(given: argparse.Namespace) -> Iterator[tuple[Remembering, Scene]]:
    """Members and scenes that have windows to meet."""
    folders = (given.project / "models").iterdir()
    for folder in sorted(path for path in folders if fnmatchcase(path.name, given.members)):
        predictor = Remembering(Predictor.load(folder, "cpu"), given.window_px)
        scenes = read_scenes(given.project / "build/scenes" / predictor.card.grid)
        wanted = [scene for name, scene in scenes.items() if fnmatchcase(name, given.scenes)]
        large = [scene for scene in wanted if min(scene.grid.shape_yx) >= predictor.card.window_px * 5 // 4]
        for scene in large[: given.limit_scenes]:
            yield predictor, scene
            predictor.forget()


def predict(predictor: Remembering, scene: Scene, way: str) -> np.ndarray:
    """(K, H, W) float32, NaN where there is no map."""
    if way == "max":
        return maximum(predictor, scene)
    how = How((0.0,), "none") if way == "no overlap" else How((OVERLAP,), way)
    names = tuple(info.name for info in predictor.card.classes)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "held.tif"
        predict_scene({"one": predictor}, scene, how, names, {"one": target}, memory_gib=2)
        return read(target)


def read(path: Path) -> np.ndarray:
    """Held probabilities as they are meant."""
    import rasterio  # noqa: PLC0415

    with rasterio.open(path) as dataset:
        held = dataset.read()
    return np.where(held == PROB_NODATA, np.nan, held / np.float32(PROB_SCALE)).astype(np.float32)


def maximum(predictor: Remembering, scene: Scene) -> np.ndarray:
    """Windows merged by their maximum, torchbearer's way (but of probabilities)."""
    height, width = scene.grid.shape_yx
    merged = np.zeros((len(predictor.card.classes), height, width), np.float32)
    size = predictor.card.window_px
    for window in iter_windows((height, width), size, stride(size, OVERLAP)):
        [probs] = predictor.predict(cut(scene.image, window, NODATA)[None])
        inside = window.clip((height, width))
        at = merged[:, inside.rows, inside.cols]
        np.maximum(at, probs[:, : inside.height, : inside.width], out=at)
    usable = (scene.valid[:] != 0) & (scene.image[:] != NODATA).any(-1)
    return np.where(usable, merged, np.float32(np.nan))


def stride(size_px: int, overlap: float) -> int:
    """Distance of neighbouring windows."""
    return max(round(size_px * (1 - overlap)), 1)


def lines(predictor: Remembering, scene: Scene, way: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns whose upper or left edge is where the map changes hands: a window begins, ends, or is cut."""
    size = predictor.card.window_px
    step = size if way == "no overlap" else stride(size, OVERLAP)
    windows = list(iter_windows(scene.grid.shape_yx, size, step))
    return tuple(
        borders(sorted({getattr(window, axis) for window in windows}), length, size, way)
        for axis, length in zip(("row", "col"), scene.grid.shape_yx, strict=True)
    )  # type: ignore[return-value]


def borders(starts: list[int], length: int, size: int, way: str) -> np.ndarray:
    """Along one axis; crop changes hands in the middle of each overlap alone."""
    if way == "crop":
        found = {(late + early + size) // 2 for early, late in itertools.pairwise(starts)}
    else:
        found = {*starts, *(start + size for start in starts)}
    return np.array(sorted(edge for edge in found if 8 < edge < length - 8), int)


def ratios(probs: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> tuple[float, float]:
    """The mean step on the lines over that everywhere else, and over that on the lines beside."""
    on, off, near = [], [], []
    for axis, edges in ((1, rows), (2, cols)):
        steps = np.abs(np.diff(probs, axis=axis)).mean(0)  # step k lies between pixels k and k + 1
        profile = np.moveaxis(steps, axis - 1, 0)
        at = np.unique(np.concatenate([edges - 1 + shift for shift in range(-GAP + 1, GAP)]))
        beside = np.unique(np.concatenate([edges - 1 + sign * shift for shift in BESIDE_PX for sign in (-1, 1)]))
        elsewhere = np.setdiff1d(np.arange(len(profile)), at)
        on.append(profile[edges - 1].ravel())
        off.append(profile[elsewhere].ravel())
        near.append(profile[np.setdiff1d(beside, at)].ravel())
    means = [float(np.nanmean(np.concatenate(values))) for values in (on, off, near)]
    return means[0] / means[1], means[0] / means[2]


def draw(maps: dict[str, np.ndarray], path: Path) -> None:
    """Probabilities of the last class by each way, above, and what sets them apart from hann's, below."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(2, len(maps), figsize=(4 * len(maps), 8), layout="constrained")
    for column, (way, probs) in enumerate(maps.items()):
        axes[0, column].imshow(probs[-1], vmin=0, vmax=1, interpolation="nearest")
        axes[0, column].set_title(way)
        steps = np.abs(probs - maps["hann"]).mean(0)
        axes[1, column].imshow(steps, vmin=0, vmax=0.2, cmap="magma", interpolation="nearest")
        axes[1, column].set_title(f"|{way} - hann|")
    for each in axes.ravel():
        each.set_axis_off()
    figure.savefig(path, dpi=80)
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
