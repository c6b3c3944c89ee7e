"""Peak memory of whole maps: flat in a scene's height, and at most 2 GiB plus the model for a full tile at 10 m.

Run: python -m benchmarks.map_memory [--full] [--width-px 1024] [--base-px 1024] [--work /tmp/…]. Exits 1 if the peak of
the tallest of three scenes of noise exceeds that of the lowest by more than a fifth.

`--full` maps instead, once, the sample's product at 10 m: 10 980² × 10 bands, 7 classes, made by
`benchmarks.preprocess` where it is missing (3.5 GB, ten minutes on idle cores). Its one member has few weights, so that
reading and writing prevail. Exits 1 above 2 GiB plus the model, that is, its weights.

Each map is made in a process of its own, which counts all of it: libraries (some 0.5 GiB), pages of memory-mapped
files, GDAL's cache.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import preprocess, project
from thalweg import raster
from thalweg.manifest.scene import Scene

HOME = Path(".cache/bench/preprocess")
HEIGHTS = (1, 2, 4)
GROWTH, LIMIT_MIB = 1.2, 2048
OPTIONS = {"widths": [8, 16], "dropout": 0.0, "upsample": "nearest"}
FULL_CLASSES = 7


def main() -> int:
    """Measures all heights, or the full tile, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width-px", type=int, default=1024)
    parser.add_argument("--base-px", type=int, default=1024, help="Height of the lowest scene.")
    parser.add_argument("--full", action="store_true", help="The full tile instead.")
    parser.add_argument("--home", type=Path, default=HOME, help="Where the sample's product at 10 m is kept.")
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--work", type=Path, default=None, help="Scratch folder; the system's if not given.")
    parser.add_argument("--step", choices=("make", "map"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step == "make":
        return make(given.work, (given.base_px, given.width_px), given.classes, given.home if given.full else None)
    if given.step == "map":
        return make_map(given.work, given.classes)
    print(f"{'height':>8} {'width':>8} {'classes':>8} {'image MiB':>10} {'peak MiB':>10} {'seconds':>9}")
    if given.full:
        given.base_px, given.width_px, given.classes = 10_980, 10_980, FULL_CLASSES
        peak, model = measure(1, given)
        print(f"peak {peak:.0f} MiB (limit {LIMIT_MIB} plus the model's {model:.1f})")
        return int(peak > LIMIT_MIB + model)
    peaks = [measure(factor, given)[0] for factor in HEIGHTS]
    growth = peaks[-1] / peaks[0]
    print(f"peak grows by a factor of {growth:.3f} while the scene grows by {HEIGHTS[-1]} (limit {GROWTH})")
    return int(growth > GROWTH)


def measure(factor: int, given: argparse.Namespace) -> tuple[float, float]:
    """Peak memory of the mapping process and size of its model's weights, MiB."""
    height, width = factor * given.base_px, given.width_px
    with tempfile.TemporaryDirectory(dir=given.home if given.full else given.work) as folder:
        _run("make", folder, height, given)
        start = time.perf_counter()
        found = json.loads(_run("map", folder, height, given).splitlines()[-1])
        seconds = time.perf_counter() - start
    image_mib = height * width * len(project.BANDS) * 2 / 2**20
    print(f"{height:>8} {width:>8} {given.classes:>8} {image_mib:>10.0f} {found['peak']:>10.0f} {seconds:>9.1f}",
          flush=True)  # fmt: skip
    return found["peak"], found["model"]


def _run(step: str, folder: str, height: int, given: argparse.Namespace) -> str:
    command = [sys.executable, "-m", "benchmarks.map_memory", "--step", step, "--work", folder, "--base-px",
               str(height), "--width-px", str(given.width_px), "--classes", str(given.classes)]  # fmt: skip
    command += ["--full", "--home", str(given.home)] if given.full else []
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def make(root: Path, shape: tuple[int, int], classes: int, home: Path | None) -> int:
    """The project of one size, or of the sample's product in `home`."""
    scene = sample_scene(root, classes, home) if home else project.make_scene(root, shape, classes)
    for seed, name in enumerate(("one",) if home else ("one", "two")):
        project.make_member(root, name, scene, classes, OPTIONS, window_px=256 if home else 128, seed=seed)
    return 0


def sample_scene(root: Path, classes: int, home: Path) -> Scene:
    """The sample's product at 10 m as preprocess reads it; its pixels stay in `home`, hard-linked."""
    if not (home / "scene_10m/valid.tif").is_file():
        delivery, settings = preprocess.opened(home, 10)
        preprocess.full(delivery, settings, 2, home)
        (home / "scene").rename(home / "scene_10m")
    folder = project.scene_folder(root)
    for name in ("image.tif", "valid.tif"):
        (folder / name).hardlink_to(home / "scene_10m" / name)
    return project.complete(root, raster.read_grid(folder / "image.tif"), classes)


def make_map(root: Path, classes: int) -> int:
    """Prints the peak of making the map in this process."""
    weights = sum(path.stat().st_size for path in (root / "models").rglob("*.safetensors")) / 2**20
    members = tuple(sorted(path.name for path in (root / "models").iterdir()))
    project.map_project(root, project.ensemble(members), classes)
    print(json.dumps({"peak": project.peak_mib(), "model": weights}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
