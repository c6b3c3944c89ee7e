"""Preprocess against merely decoding the same bands: wall time, CPU time, peak memory, scaling over cores, bytes.

One full-tile product of the embedded sample at 20 m, 10 bands (5490²); for memory also its 60 m grid (1830²) and 10 m
(10 980²: the 20 m images, repeated and roughened, as R10m). Limits: 1.25 times the decoder's wall time with the same
number of threads (median of alternating repeats in one run); 1.5 GiB at its peak, at 1830² as at 10 980²; scaling from
one thread to two no worse than the decoder's own.
The products are made once, into .cache/bench/preprocess (some minutes, 1 GB); `--home` puts them elsewhere.
"""

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from thalweg import raster, sample
from thalweg.grid import Window
from thalweg.manifest.products import Product
from thalweg.params.classes import Classes
from thalweg.params.grids import GridParams
from thalweg.params.masks import Masks
from thalweg.preprocess import pixels
from thalweg.preprocess.channels import formulas_of
from thalweg.products import Delivery, Layer, Wanted
from thalweg.products.safe import open_safe

LIMIT_RATIO, LIMIT_GIB = 1.25, 1.5
BANDS = {
    60: ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12"),
    20: ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12"),
    10: ("B02", "B03", "B04", "B08", "B01", "B05", "B06", "B07", "B8A", "B11"),
}
SCL = (0, 1, 3, 8, 9, 10)


def product_of(home: Path) -> Product:
    """The sample's full tile, made where it is missing, with images at 10 m."""
    folder = home / "products"
    safe = next(folder.glob("*.SAFE"), None)
    if safe is None:  # not in the process whose memory is measured: the report makes it first
        safe = sample.make_product(
            folder, tile="T20KNA", date="2025-10-03", baseline="05.11", seed=3, size_60m_px=1830, cloud_cover=0.1
        )
    make_10m(safe)
    return Product(name=safe.stem, form="safe", path=safe.name, files=(), bands={}, scale=1.0, offset=0.0, nodata=None,
                   date=None)  # fmt: skip


def make_10m(safe: Path) -> None:
    """R10m from R20m: each pixel four times, roughened by a few digital numbers, in tiles of 1024 as real ones."""
    rng = np.random.default_rng(3)
    for band, like in (("B02", "B02"), ("B03", "B03"), ("B04", "B04"), ("B08", "B8A")):
        source = next(safe.rglob(f"*_{like}_20m.jp2"))
        target = source.parents[1] / "R10m" / source.name.replace(f"_{like}_20m", f"_{band}_10m")
        if target.exists():
            continue
        target.parent.mkdir(exist_ok=True)
        with rasterio.open(source) as dataset:
            numbers, profile = dataset.read(1), dataset.profile
        fine = np.repeat(np.repeat(numbers, 2, 0), 2, 1)
        fine = np.where(fine == 0, 0, fine + rng.integers(0, 8, fine.shape, np.uint16)).astype(np.uint16)
        options = {"QUALITY": "100", "REVERSIBLE": "YES", "YCBCR420": "NO", "blockxsize": 1024, "blockysize": 1024}
        place = {
            "height": fine.shape[0],
            "width": fine.shape[1],
            "transform": profile["transform"] * profile["transform"].scale(0.5),
        }
        partial = target.with_name("part.jp2")
        with rasterio.open(partial, "w", **{**profile, **options, **place}) as dataset:
            dataset.write(fine, 1)
        partial.rename(target)


def opened(home: Path, metres: int) -> tuple[Delivery, pixels.Settings]:
    """The product on one grid."""
    product = product_of(home)
    grid = GridParams.model_validate_json(json.dumps({
        "products": "*", "resolution_m": metres, "bands": BANDS[metres], "resampling": "bilinear", "channels": [],
        "further": [], "dtype": "int16", "series": None, "pack": 1,
        "valid": {"scl": SCL, "product_masks": False, "cloud_probability": None, "cloud_buffer_m": 0},
    }))  # fmt: skip
    delivery = open_safe(product, home / "products", Wanted(grid.bands, ("SCL",), metres))
    masks: Any = Masks.model_construct()
    classes: Any = Classes.model_construct()
    return delivery, pixels.Settings("bench", grid, masks, classes, formulas_of(grid))


def decode(layer: Layer) -> None:
    """All blocks of a file, in stripes of whole blocks, and nothing else."""
    height, width = layer.grid.shape_yx
    rows = raster.block_rows(layer.path)
    for row in range(0, height, rows):
        raster.read_window(layer.path, Window(row, 0, min(rows, height - row), width))


def bare(delivery: Delivery, threads: int) -> None:
    """The decoder alone, one thread per file: the bands, and the SCL that says what is valid."""
    layers = [*delivery.bands.values(), *delivery.labels.values()]
    with ThreadPoolExecutor(threads) as workers:
        list(workers.map(decode, layers))


def full(delivery: Delivery, settings: pixels.Settings, threads: int, home: Path) -> None:
    """What preprocess does for one scene: checksums, image.tif, valid.tif."""
    target = home / "scene"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    pixels.WORKERS = threads
    if "R10m" not in str(delivery.bands):  # the images at 10 m are not in the manifest
        delivery.verify()
    pixels.write_pixels(delivery, settings, target)


def timed(act: Callable[[], None]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure_memory(home: Path, metres: int, decoder: bool) -> dict[str, float]:
    """Peak memory and bytes written of one scene in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.preprocess", "--home", str(home), "--memory", str(metres)]
    done = subprocess.run([*command, *(("--decoder",) if decoder else ())], check=True, capture_output=True, text=True)
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def memory(home: Path, metres: int, decoder: bool) -> dict[str, float]:
    """Runs in the process that is measured."""
    delivery, settings = opened(home, metres)
    before = written()
    if decoder:
        bare(delivery, 2)
    else:
        full(delivery, settings, 2, home)
    size = sum(path.stat().st_size for path in (home / "scene").glob("*")) if not decoder else 0
    return {
        "gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "written": written() - before,
        "size": size,
    }


def written() -> int:
    """Bytes that this process made the system write."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("write_bytes")))


def report(home: Path, repeats: int) -> bool:
    """Prints the table; whether all limits are kept."""
    delivery, settings = opened(home, 20)
    medians: dict[tuple[str, int], tuple[float, float]] = {}
    for threads in (1, 2):
        runs: dict[str, list[tuple[float, float]]] = {"decode": [], "preprocess": []}
        for _ in range(repeats):
            runs["decode"].append(timed(lambda threads=threads: bare(delivery, threads)))
            runs["preprocess"].append(timed(lambda threads=threads: full(delivery, settings, threads, home)))
        for name, seen in runs.items():
            walls, cpus = zip(*seen, strict=True)
            medians[name, threads] = statistics.median(walls), statistics.median(cpus)
    print("| 5490² × 10, median of", repeats, "alternating repeats | wall s | CPU s |\n|---|---|---|")
    for (name, threads), (wall, cpu) in medians.items():
        print(f"| {name}, {threads} thread(s) | {wall:.1f} | {cpu:.1f} |")
    ratios = {n: medians["preprocess", n][0] / medians["decode", n][0] for n in (1, 2)}
    cpus = {n: medians["preprocess", n][1] / medians["decode", n][1] for n in (1, 2)}
    speedup = {name: medians[name, 1][0] / medians[name, 2][0] for name in ("decode", "preprocess")}
    print(f"ratio of wall {ratios[1]:.3f} and {ratios[2]:.3f}, of CPU {cpus[1]:.3f} and {cpus[2]:.3f} (1, 2 threads)")
    print(f"speed-up of a second thread: decode {speedup['decode']:.2f}, preprocess {speedup['preprocess']:.2f}")
    peaks = {}
    print("| grid | peak GiB | of the decoder alone | written MB | scene MB |\n|---|---|---|---|---|")
    for metres in (60, 20, 10):
        ours, theirs = measure_memory(home, metres, False), measure_memory(home, metres, True)
        peaks[metres] = ours["gib"]
        sizes = f"{ours['written'] / 1e6:.0f} | {ours['size'] / 1e6:.0f}"
        print(f"| {109800 // metres}² × 10 | {ours['gib']:.2f} | {theirs['gib']:.2f} | {sizes} |")
    scales = speedup["preprocess"] >= 0.95 * speedup["decode"]  # a twentieth is the noise of this machine
    return max(ratios.values()) <= LIMIT_RATIO and max(peaks.values()) <= LIMIT_GIB and scales


def main() -> None:
    """Runs the whole, or one measurement in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=Path(".cache/bench/preprocess"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", type=int)
    parser.add_argument("--decoder", action="store_true")
    given = parser.parse_args()
    if given.memory:
        print(json.dumps(memory(given.home, given.memory, given.decoder)))
        return
    sys.exit(0 if report(given.home, given.repeats) else 1)


if __name__ == "__main__":
    main()
