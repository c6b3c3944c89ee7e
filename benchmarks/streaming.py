"""Chips per second of one core: packed, memory-mapped scenes against a streaming archive (litdata) of the same chips.

800 chips of 64 px, 10 bands, int16 (66 MB), batches of 32 in one process, all files in the page cache: in random
order over everything, which ours always gives, and as litdata shuffles (within chunks of 16 MB). Each is opened once
and read three times ten epochs; the best counts. Seconds are of the processor, all threads and worker processes, so
that what else runs on the machine has little say. litdata is no dependency: `pip install --no-deps --target
.cache/bench/site litdata`, then `PYTHONPATH=.cache/bench/site python -m benchmarks.streaming`. See docs/adr/0012.
"""

import resource
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine

from thalweg import raster
from thalweg.grid import Grid
from thalweg.manifest.scene import read_scenes
from thalweg.params.classes import Classes
from thalweg.prepare import Said, find_images, no_labels
from thalweg.repack.pack import Order, derived_grid, pack

HOME = Path(".cache/bench/streaming")
CHIPS, CHIP_PX, BATCH, ROUNDS, EPOCHS = 800, 64, 32, 3, 10
BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12")
SAID = Said(bands={name: number for number, name in enumerate(BANDS, 1)}, scale=1e-4, offset=0.0)


Batches = Callable[[int], Iterable[np.ndarray]]
"""Of a seed."""


def make_chips(folder: Path) -> None:
    """Smooth reflectance with noise, as GeoTIFFs: what a data set of chips is handed round as."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(CHIPS):
        ramp = np.add.outer(np.arange(CHIP_PX), np.arange(CHIP_PX)) * random.uniform(0, 20)
        planes = (ramp + random.normal(1500, 120, (len(BANDS), CHIP_PX, CHIP_PX))).astype(np.int16)
        grid = Grid("EPSG:32633", Affine(10, 0, 500_000 + 640 * number, 0, -10, 5_000_000), (CHIP_PX, CHIP_PX))
        raster.write(folder / f"chip{number:05}.tif", planes, grid, None)


def packed(chips: Path, out: Path) -> None:
    """Our packs, without the check that builds some twice."""
    images = tuple(find_images([str(chips / "*.tif")]))
    classes = Classes.model_validate_json('{"legend": [{"name": "background", "color": "#000000"}, '
                                          '{"name": "other", "color": "#ffffff"}]}')  # fmt: skip
    pack(Order(images, SAID, "g", derived_grid(images[0], SAID, 300), no_labels(HOME), classes), out, False, 0)


def read_chip(path: str) -> dict[str, Any]:
    """One sample of the archive, (C, H, W) to (H, W, C) as ours."""
    with raster.opened(path) as dataset:
        return {"image": np.ascontiguousarray(np.moveaxis(dataset.read(), 0, -1))}


def archived(chips: Path, out: Path) -> None:
    """The archive."""
    import litdata  # noqa: PLC0415 - no dependency

    litdata.optimize(read_chip, [str(path) for path in sorted(chips.glob("*.tif"))], str(out), chunk_bytes="16MB",
                     num_workers=1, verbose=False)  # fmt: skip


def open_packed(out: Path) -> Batches:
    """Batches of all chips in random order."""
    images = [raster.plain(scene.image) for scene in read_scenes(out).values()]

    def batches(seed: int) -> Iterator[np.ndarray]:
        order = np.random.default_rng(seed).permutation(len(images))
        for start in range(0, len(order), BATCH):
            yield np.stack([images[number] for number in order[start : start + BATCH]])

    return batches


def open_archived(out: Path) -> Batches:
    """Batches as litdata's own dataset shuffles them."""
    import litdata  # noqa: PLC0415 - no dependency

    def batches(seed: int) -> Iterator[np.ndarray]:
        batch = []
        for sample in litdata.StreamingDataset(str(out), shuffle=True, seed=seed):
            batch.append(sample["image"])
            if len(batch) == BATCH:
                yield np.stack(batch)
                batch = []

    return batches


def open_indexed(out: Path) -> Batches:
    """Batches of the archive in a random order over everything."""
    import litdata  # noqa: PLC0415 - no dependency

    dataset = litdata.StreamingDataset(str(out))

    def batches(seed: int) -> Iterator[np.ndarray]:
        order = np.random.default_rng(seed).permutation(len(dataset)).tolist()
        for start in range(0, len(order), BATCH):
            yield np.stack([dataset[number]["image"] for number in order[start : start + BATCH]])

    return batches


def rate(batches: Batches) -> float:
    """Chips per second of the best round."""
    found = []
    for turn in range(ROUNDS):
        began, count, total = cpu_s(), 0, 0
        for epoch in range(EPOCHS):
            for batch in batches(turn * EPOCHS + epoch):
                count += len(batch)
                total += int(batch[0, 0, 0, 0])
        found.append(count / (cpu_s() - began))
    return max(found)


def cpu_s() -> float:
    """Seconds of the processor that this process and its ended workers took."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def size_mb(folder: Path) -> float:
    """Bytes on disk, 10⁶."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def timed(make: Callable[[Path, Path], None], chips: Path, out: Path) -> float:
    """Seconds to write."""
    shutil.rmtree(out, ignore_errors=True)
    began = cpu_s()
    make(chips, out)
    return cpu_s() - began


def main() -> None:
    """Prints a table."""
    chips = HOME / "chips"
    if not chips.is_dir():
        make_chips(chips)
    shuffles = (("its own shuffle", open_archived), ("random", open_indexed))
    rows = [("packed scenes", packed, HOME / "packed", (("random", open_packed),)),
            ("litdata", archived, HOME / "archive", shuffles)]  # fmt: skip
    print(f"{CHIPS} chips, GeoTIFFs {size_mb(chips):.0f} MB", flush=True)
    for name, make, out, readers in rows:
        seconds = timed(make, chips, out)
        print(f"{name}: written in {seconds:.1f} s, {size_mb(out):.0f} MB, {len([*out.rglob('*')])} files", flush=True)
        for order, opened in readers:
            print(f"  {order}: {rate(opened(out)):,.0f} chips/s", flush=True)


if __name__ == "__main__":
    main()
