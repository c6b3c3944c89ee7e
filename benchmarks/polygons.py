"""Polygons of a dense map: CPU time and peak memory, up to a full tile at 10 m.

Run: python -m benchmarks.polygons [--sides 2048 5490 10980] [--min-area-m2 1000] [--tolerance-m 10] [--work /tmp/…].
Exits 1 if a full tile takes 150 CPU seconds or 4 GiB, smaller maps as much per pixel (1 GiB is always free to libraries
and tables), or if the polygons of any map do not fill it.

A map's class is that of the largest of seven smooth fields of noise (smoothed by 3 px), some 75 pixels a
polygon: far denser than land. It is drawn in a process of its own, which counts all of it.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from affine import Affine
from scipy import ndimage

from thalweg import raster
from thalweg.grid import Grid
from thalweg.mapfiles import read_map
from thalweg.polygons import Rules, build_polygons

SIDES = (2048, 5490, 10_980)
CLASSES, GRAIN_PX, PIXEL_M = 7, 3.0, 10.0
LIMIT_S, LIMIT_MIB, FREE_MIB = 150.0, 4096.0, 1024.0
MISSING = 1e-4
"""Share of the ground that may be lost where the tile's own rim is simplified."""


def main() -> int:
    """Measures all sides and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES)
    parser.add_argument("--min-area-m2", type=float, default=1000.0)
    parser.add_argument("--tolerance-m", type=float, default=10.0)
    parser.add_argument("--work", type=Path, default=None, help="Scratch folder; the system's if not given.")
    parser.add_argument("--step", choices=("make", "draw"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step == "make":
        return make(given.work, given.sides[0])
    if given.step == "draw":
        return draw(given.work, given.min_area_m2, given.tolerance_m)
    print(f"{'side':>7} {'polygons':>9} {'points':>11} {'CPU s':>7} {'wall s':>7} {'peak MiB':>9} {'area':>9}")
    kept = [measure(side, given) for side in given.sides]
    return int(not all(kept))


def measure(side: int, given: argparse.Namespace) -> bool:
    """One map; whether it keeps the limits."""
    with tempfile.TemporaryDirectory(dir=given.work) as folder:
        _run("make", folder, side, given)
        found = json.loads(_run("draw", folder, side, given).splitlines()[-1])
    print(f"{side:>7} {found['polygons']:>9} {found['points']:>11} {found['cpu']:>7.1f} {found['wall']:>7.1f} "
          f"{found['peak']:>9.0f} {found['area']:>9.6f}", flush=True)  # fmt: skip
    share = (side / SIDES[-1]) ** 2
    kept = found["cpu"] < LIMIT_S * share and found["peak"] < FREE_MIB + (LIMIT_MIB - FREE_MIB) * share
    return bool(kept and abs(found["area"] - 1) < MISSING)


def _run(step: str, folder: str, side: int, given: argparse.Namespace) -> str:
    command = [sys.executable, "-m", "benchmarks.polygons", "--step", step, "--work", folder, "--sides", str(side),
               "--min-area-m2", str(given.min_area_m2), "--tolerance-m", str(given.tolerance_m)]  # fmt: skip
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def make(folder: Path, side: int) -> int:
    """The map."""
    random = np.random.default_rng(0)
    most, labels = np.full((side, side), -np.inf, np.float32), np.zeros((side, side), np.uint8)
    for label in range(CLASSES):
        field = ndimage.gaussian_filter(random.standard_normal((side, side), np.float32), GRAIN_PX)
        field /= field.std()
        labels[field > most] = label
        np.maximum(most, field, out=most)
    grid = Grid("EPSG:32720", Affine(PIXEL_M, 0, 600_000.0, 0, -PIXEL_M, 7_000_000.0), (side, side))
    tags = {f"CLASS_{label}": f"c{label}" for label in range(CLASSES)}
    raster.write(folder / "classes.tif", labels, grid, nodata=255, tags=tags)
    return 0


def draw(folder: Path, min_area_m2: float, tolerance_m: float) -> int:
    """Draws the map in this process and prints what it took."""
    files = read_map(folder)
    cpu, wall = time.process_time(), time.perf_counter()
    table = build_polygons(files, Rules(files.names, min_area_m2, min_area_m2, tolerance_m))
    found = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall,
             "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
             "polygons": len(table), "points": int(table.count_coordinates().sum()),
             "area": float(table.area.sum()) / (np.prod(files.grid.shape_yx) * PIXEL_M**2)}  # fmt: skip
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
