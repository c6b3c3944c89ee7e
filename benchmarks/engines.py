"""Engines of data stages: scenes and predicted pixels per second by one and two workers, and what a unit costs.

Run: `OMP_NUM_THREADS=1 python -m benchmarks.engines` (some minutes; Markdown). Every engine does the same work, and its
bytes are compared with those of this process. Scenes: eight of 610² pixels at 60 m, 4 bands, out of one product of the
sample. Prediction: a small U-Net over 4096 × 256 pixels in windows of 128. Workers are warm: they have done a unit
of the kind before. One thread each, so that a second worker has a core of its own. A unit that does nothing says what
the engine costs; `bare` is Dask's own executor, without what hands units over again.
"""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import project
from thalweg import params, sample
from thalweg.executor import open_executor
from thalweg.executor.choice import SETTING
from thalweg.manifest.products import Product, write_products
from thalweg.params.classes import Classes
from thalweg.params.grids import GridParams
from thalweg.params.masks import Masks
from thalweg.preprocess import build_scenes
from thalweg.sources import describe_files

ROOT = Path(__file__).parents[1]
HOME = Path(".cache/bench/engines")
SCENES, SIZE_PX = 8, 610
SHAPE, WINDOW_PX, CLASSES = (4096, 256), 128, 2
UNITS = 500
BANDS = ("B02", "B03", "B04", "B8A")


def nothing(number: int) -> int:
    """A unit."""
    return number


@contextmanager
def dask(workers: int) -> Iterator[str]:
    """A scheduler and workers on the loopback, as processes; its setting."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]),
    }
    own = ["worker", address, "--nthreads", "1", "--no-dashboard", "--memory-limit", "0", "--local-directory", "/tmp"]
    calls = [["scheduler", "--host", "127.0.0.1", "--port", address.rpartition(":")[2], "--no-dashboard"],
             *[own] * workers]  # fmt: skip
    running = [subprocess.Popen([sys.executable, "-m", "dask", *words], env=env, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL) for words in calls]  # fmt: skip
    try:
        wait_for(address, workers)
        yield f"dask:{address}"
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait()


def wait_for(address: str, workers: int) -> None:
    """Until the scheduler answers and knows its workers."""
    from distributed import Client  # noqa: PLC0415 - an extra

    for _ in range(60):
        try:
            with Client(address, timeout=2, set_as_default=False) as client:
                client.wait_for_workers(workers, timeout=60)
                return
        except OSError:
            time.sleep(0.5)


@contextmanager
def engines() -> Iterator[Iterator[tuple[str, str]]]:
    """Name and setting of each, one after another."""

    def each() -> Iterator[tuple[str, str]]:
        yield "this process", "local"
        for count in (1, 2):
            yield f"local:{count}", f"local:{count}"
        for count in (1, 2):
            with dask(count) as setting:
                yield f"Dask, {count} worker{'s' * (count - 1)}", setting

    yield each()


def digest(folder: Path) -> str:
    """Of all bytes below."""
    said = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        said.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return said.hexdigest()


def grid() -> GridParams:
    """Of the scenes: the sample recipe's first, with few bands."""
    block = next(iter(params.read_yaml(ROOT / "recipes/sample.yaml")["grids"].values()))
    changes = {"products": "*", "resolution_m": 60, "bands": BANDS, "channels": (), "further": (), "series": None}
    return GridParams.model_validate_json(json.dumps(block | changes))


def make_products(raw: Path) -> None:
    """One product under eight names."""
    if raw.exists():
        return
    safe = sample.make_product(raw, tile="T20KNA", date="2025-10-03", baseline="05.11", seed=3, size_60m_px=SIZE_PX,
                               cloud_cover=0.2)  # fmt: skip
    product = Product(name="p00", form="safe", path=safe.relative_to(raw).as_posix(), files=describe_files(safe, raw),
                      bands={}, scale=1e-4, offset=0.0, nodata=0.0, date=None)  # fmt: skip
    write_products([product.model_copy(update={"name": f"p{number:02}"}) for number in range(SCENES)], raw)


def scenes(executor: Executor | None, out: Path) -> float:
    """Millions of pixels, of one band, per second."""
    recipe = params.read_yaml(ROOT / "recipes/sample.yaml")
    masks = Masks.model_validate_json(json.dumps(recipe["masks"] | {"patterns": [], "band": None}))
    classes = Classes.model_validate_json(json.dumps(recipe["classes"]))
    begun = time.perf_counter()
    build_scenes(HOME / "raw", HOME / "masks", "g", grid(), masks, classes, out / "scenes", out / "store",
                 executor=executor)  # fmt: skip
    return SCENES * SIZE_PX**2 * len(BANDS) / 1e6 / (time.perf_counter() - begun)


def prediction(executor: Executor | None, out: Path) -> float:
    """Millions of pixels per second."""
    from thalweg.infer import Predictor  # noqa: PLC0415 - the other half does without torch
    from thalweg.infer.elsewhere import Members, Order, predict_scenes  # noqa: PLC0415
    from thalweg.infer.scene import How, predict_scene  # noqa: PLC0415
    from thalweg.manifest.scene import Scene  # noqa: PLC0415

    scene, how, names = Scene(HOME / "map/scenes" / project.GRID / project.SCENE), How((0.25,), "hann"), ("a", "b")
    out.mkdir(parents=True)
    begun, models, target = time.perf_counter(), HOME / "map/models", {"unet": out / "probs.tif"}
    if executor is None:
        predict_scene({"unet": Predictor.load(models / "unet", "cpu")}, scene, how, names, target, memory_gib=2)
    else:
        members = Members(models, ("unet",), "cpu", 1, (1.0,))
        predict_scenes([Order.of(members, scene, how, names, None, 2, out.with_name(f"{out.name}-state"), target)],
                       executor, iter)  # fmt: skip
    return SHAPE[0] * SHAPE[1] / 1e6 / (time.perf_counter() - begun)


def make_map() -> None:
    """A scene and a member."""
    if (HOME / "map/models").exists():
        return
    scene = project.make_scene(HOME / "map", SHAPE, CLASSES)
    project.make_member(HOME / "map", "unet", scene, CLASSES, project.default_options(), WINDOW_PX)


def overhead(executor: Executor | None) -> float:
    """Milliseconds per unit that does nothing."""
    each: Callable[..., Any] = map if executor is None else executor.map
    list(each(nothing, range(20)))
    begun = time.perf_counter()
    list(each(nothing, range(UNITS)))
    return (time.perf_counter() - begun) / UNITS * 1e3


def bare(setting: str) -> float:
    """The same of Dask's own executor."""
    from distributed import Client  # noqa: PLC0415

    with Client(setting.partition(":")[2], set_as_default=False) as client:
        executor = client.get_executor(pure=False)
        begun = time.perf_counter()
        for future in [executor.submit(nothing, number) for number in range(UNITS)]:
            future.result()
        return (time.perf_counter() - begun) / UNITS * 1e3


def main() -> None:
    """The table; with `--units`, its last column alone."""
    alone = "--units" in sys.argv[1:]
    for left in HOME.glob("out-*"):
        shutil.rmtree(left)
    HOME.mkdir(parents=True, exist_ok=True)
    if not alone:
        make_products(HOME / "raw")
        make_map()
    print("| engine | scenes, Mpx·bands/s | prediction, Mpx/s | ms per unit |\n|---|---|---|---|")
    wanted: dict[str, str] = {}
    with engines() as found:
        for number, (name, setting) in enumerate(found):
            os.environ[SETTING] = setting
            shown = [] if alone else [f"{measured(kind, number, name, wanted):.3g}" for kind in KINDS]
            with open_executor() as executor:
                print(f"| {name} | {' | '.join(shown or ['', ''])} | {overhead(executor):.2f} |", flush=True)
            if setting.startswith("dask"):
                print(f"| the same, bare | | | {bare(setting):.2f} |", flush=True)


KINDS: dict[str, Callable[[Executor | None, Path], float]] = {"scenes": scenes, "prediction": prediction}


def measured(kind: str, number: int, name: str, wanted: dict[str, str]) -> float:
    """A rate of warm workers, whose bytes are those of the first engine."""
    with open_executor() as executor:
        KINDS[kind](executor, HOME / f"out-{number}-{kind}-cold")
        rate = KINDS[kind](executor, HOME / f"out-{number}-{kind}-warm")
    made = digest(HOME / f"out-{number}-{kind}-warm")
    if made != wanted.setdefault(kind, made):
        sys.exit(f"{kind} by {name} have other bytes than those of this process")
    return rate


if __name__ == "__main__":
    main()
