"""Map throughput: against the bare forward pass of the same network, and beside Raster Vision and torchbearer's way.

Run: python -m benchmarks.map_throughput [--pairs 5] [--size-px 1408] [--peers] [--threads 1]

The U-Net of the default params, 10 bands, 2 classes (--classes), windows of 256 px that overlap by 64. *Bare* is the
network, `eval` and `inference_mode`, over the very windows of one sweep, as stored values, batched and in memory
beforehand. *Raster* is the scene on disk to a georeferenced raster of held probabilities on disk: reading, softmax,
blending, quantising, compressing. *Map* is the whole map of one member: that, the doubts, scores on held-out pixels,
COGs with overviews, styles. All run by turns in one process. The ratio is bare's time over theirs, median (least, most)
over turns. CPU time counts all threads, so that nothing hides in an idle core; wall time is what overlapping is for,
and means something on a machine that nobody else uses. Exits 1 where *raster* is below 0.9 of wall time.

`--peers` maps one scene, with the same weights and windows, by Thalweg, by Raster Vision 0.31.1 (its sliding-window
dataset, learner, smooth labels and label store, which write labels.tif and scores.tif) and by torchbearer's way (an
in-memory raster per window, merged by `rasterio.merge` with max), by turns, each in a process of its own; its time
begins with the model loaded and ends with the files on disk. `--rv-python` is the Python of an environment with
`rastervision_pytorch_learner==0.31.1` and what Thalweg needs (its wheels go beside torch 2.14; albumentations 1.4.14).
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import project
from thalweg.grid import cut, iter_windows
from thalweg.infer import Predictor
from thalweg.infer.scene import How, predict_scene
from thalweg.manifest.scene import NODATA, Scene
from thalweg.params.ensembles import Ensemble

LIMIT = 0.9
WINDOW_PX, OVERLAP, STRIDE_PX = 256, 0.25, 192
BATCH = 4
HERE = Path(__file__).parent


def main() -> int:
    """Measures against the bare network, or against peers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--size-px", type=int, default=1408, help="Edge of the scene; 256 + 192 n has no odd window.")
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="Of torch.")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--rv-python", type=Path, default=None)
    parser.add_argument("--work", type=Path, default=None, help="Scratch folder; the system's if not given.")
    parser.add_argument("--runner", choices=("bare", "raster", "map"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.runner:
        return run_alone(given)
    with tempfile.TemporaryDirectory(dir=given.work) as folder:
        root = Path(folder)
        scene = project.make_scene(root, (given.size_px, given.size_px), given.classes)
        project.make_member(root, "one", scene, given.classes, project.default_options(), WINDOW_PX)
        return peers(root, given) if given.peers else against_bare(root, given)


def against_bare(root: Path, given: argparse.Namespace) -> int:
    """Prints the ratios; 1 where the limit is missed."""
    scene = Scene(project.scene_folder(root))
    predictor = Predictor.load(root / "models" / "one", "cpu")
    batches = list(iter_batches(scene))
    made = project.ensemble(("one",))  # reads params
    ways: dict[str, Callable[[], None]] = {
        "bare": lambda: forward(predictor, batches),
        "raster": lambda: to_raster(predictor, scene, given.classes, root / "held.tif"),
        "map": lambda: to_map(root, given.classes, made),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in range(given.pairs + 1):
        for name in ways if turn % 2 else reversed(ways):
            found[name].append(timed(ways[name]))
    windows = sum(len(batch) for batch in batches)
    print(f"{scene.grid.shape_yx} px, {given.classes} classes, {windows} windows of {WINDOW_PX} px, "
          f"torch threads {torch.get_num_threads()}")  # fmt: skip
    print(f"{'':<8}{'CPU s':>8}{'wall s':>8}{'windows/s':>11}{'ratio, CPU':>26}{'ratio, wall':>26}")
    ratios = {}
    for name, seconds in found.items():
        kept, base = seconds[1:], found["bare"][1:]  # the first turn warms up
        cpu, wall = ([theirs[k] / ours[k] for theirs, ours in zip(base, kept, strict=True)] for k in range(2))
        ratios[name] = statistics.median(wall)
        medians = [statistics.median(each) for each in zip(*kept, strict=True)]
        rate = windows / medians[1]
        print(f"{name:<8}{medians[0]:>8.2f}{medians[1]:>8.2f}{rate:>11.1f}{spread(cpu):>26}{spread(wall):>26}")
    print(f"limit {LIMIT} for raster: {'kept' if ratios['raster'] >= LIMIT else 'MISSED'}")
    return int(ratios["raster"] < LIMIT)


def iter_batches(scene: Scene) -> Iterator[torch.Tensor]:
    """The windows of one sweep as the network takes them."""
    windows = list(iter_windows(scene.grid.shape_yx, WINDOW_PX, STRIDE_PX))
    for start in range(0, len(windows), BATCH):
        yield torch.from_numpy(
            np.stack([cut(scene.image, window, NODATA) for window in windows[start : start + BATCH]])
        )


@torch.inference_mode()
def forward(predictor: Predictor, batches: list[torch.Tensor]) -> None:
    """The bare network."""
    for batch in batches:
        predictor._network(batch)


def to_raster(predictor: Predictor, scene: Scene, classes: int, target: Path) -> None:
    """What an ensemble does with one member and one scene."""
    target.unlink(missing_ok=True)
    how = How((OVERLAP,), "hann")
    predict_scene({"one": predictor}, scene, how, project.legend(classes).names, {"one": target}, memory_gib=2)


def to_map(root: Path, classes: int, made: Ensemble) -> None:
    """A map of one member, all of it."""
    project.map_project(root, made, classes)


def timed(act: Callable[[], Any]) -> tuple[float, float]:
    """CPU and wall seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    act()
    return time.process_time() - cpu, time.perf_counter() - wall


def spread(ratios: list[float]) -> str:
    """Median (least, most)."""
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f}, {max(ratios):.3f})"


def peers(root: Path, given: argparse.Namespace) -> int:
    """Prints what each way costs in time and memory, and its ratio to Thalweg's."""
    job = {"image": str(project.scene_folder(root) / "image.tif"), "model": str(root / "models/one"),
           "window_px": WINDOW_PX, "stride_px": STRIDE_PX, "batch": BATCH,
           "threads": given.threads, "out": str(root / "out")}  # fmt: skip
    (root / "job.json").write_text(json.dumps(job))
    own = [sys.executable, "-m", "benchmarks.map_throughput", "--work", str(root), "--classes", str(given.classes),
           "--threads", str(given.threads), "--runner"]  # fmt: skip
    replica = [sys.executable, str(HERE / "peers/run_torchbearer.py"), str(root / "job.json")]
    ways = {"bare": [*own, "bare"], "raster": [*own, "raster"], "map": [*own, "map"], "torchbearer": replica}
    if given.rv_python:
        ways["raster vision"] = [str(given.rv_python), str(HERE / "peers/run_rastervision.py"), str(root / "job.json")]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for turn in range(given.pairs):
        for name in ways if turn % 2 else reversed(ways):
            done = subprocess.run(ways[name], check=True, stdout=subprocess.PIPE, text=True)
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
            print(f"turn {turn + 1}: {name} {found[name][-1]}", file=sys.stderr, flush=True)
    print(f"{given.size_px}² px, {given.classes} classes, {len(project.BANDS)} bands, torch threads {given.threads}")
    print(f"{'':<15}{'CPU s':>8}{'wall s':>8}{'peak MiB':>10}{'grown MiB':>11}{'files MB':>10}"
          f"{'CPU / map':>24}{'wall / map':>24}{'peak':>7}{'grown':>7}")  # fmt: skip
    for name, runs in found.items():
        middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        times = [[run[key] / ours[key] for run, ours in zip(runs, found["map"], strict=True)]
                 for key in ("cpu", "wall")]  # fmt: skip
        own_peak, own_grown = (statistics.median(run[key] for run in found["map"]) for key in ("peak", "grown"))
        print(f"{name:<15}{middle['cpu']:>8.1f}{middle['wall']:>8.1f}{middle['peak']:>10.0f}{middle['grown']:>11.0f}"
              f"{middle['bytes'] / 1e6:>10.1f}{spread(times[0]):>24}{spread(times[1]):>24}"
              f"{middle['peak'] / own_peak:>7.2f}{middle['grown'] / own_grown:>7.2f}")  # fmt: skip
    return 0


def run_alone(given: argparse.Namespace) -> int:
    """One map, one raster, or one bare sweep, in this process; prints what it cost."""
    root: Path = given.work
    scene = Scene(project.scene_folder(root))
    predictor = Predictor.load(root / "models" / "one", "cpu")
    batches = list(iter_batches(scene)) if given.runner == "bare" else []
    made = project.ensemble(("one",))
    ways: dict[str, Callable[[], None]] = {
        "bare": lambda: forward(predictor, batches),
        "raster": lambda: to_raster(predictor, scene, given.classes, root / "held.tif"),
        "map": lambda: to_map(root, given.classes, made),
    }
    before = project.held_mib()
    cpu, wall = timed(ways[given.runner])
    made = {"bare": [], "raster": [root / "held.tif"], "map": list((root / "map").glob("*"))}[given.runner]
    peak, size = project.peak_mib(), sum(path.stat().st_size for path in made)
    print(json.dumps({"cpu": cpu, "wall": wall, "peak": peak, "grown": peak - before, "bytes": size}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
