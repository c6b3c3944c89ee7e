"""What pre-training is worth where masks are few: test IoU against the share of training labels, with and without it.

Two worlds. *beetle*: real 12-band Sentinel-2 chips of bark-beetle damage (`recipes/barkbeetle.yaml`, its official test
chips); encoders see both dates, September 2019 and 2020, of training ground alone, members learn from 2020. *sample*:
`recipes/pretrain.yaml`. Per world one encoder per method is pre-trained once by the stage `pretrain`; then members of
one architecture are trained per share of the labels (`train_prop`, nested and stratified) and seed, from that encoder
or from fresh weights, all else equal: the same rows, steps and schedule, the last epoch kept. The score is the test
IoU of the class at the threshold that is best on validation, as everywhere in docs/results.md.

Everything that is finished lies in the work folder and is not done again:

    nice -n 5 python -m benchmarks.label_fractions beetle --starts fresh,vicreg --turn 0/2
    nice -n 5 python -m benchmarks.label_fractions beetle --starts fresh,vicreg --turn 1/2
    python -m benchmarks.label_fractions beetle --only-table --plot docs/images/label_fractions_beetle.png
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
CHIPS = ROOT.parent / "shared/data/s2_barkbeetle_12band"
FRACTIONS = (0.01, 0.05, 0.1, 1.0)
SEEDS = (0, 1, 2)
FRESH = "fresh"
ALTER = {"d4": 1, "jitter": 0.15, "gain": 0.1, "haze": 0.02, "noise": 0.05, "band_dropout": 0.1}
HEADS = {"hidden": 512, "projection": 512}
METHODS: dict[str, dict[str, Any]] = {
    "vicreg": {"options": {**HEADS, "invariance": 25.0, "variance": 25.0, "covariance": 1.0, "dense": 0.75,
                           "level": 3}},
    "augmented": {"method": "vicreg", "positives": "augmented",
                  "options": {**HEADS, "invariance": 25.0, "variance": 25.0, "covariance": 1.0, "dense": 0.75,
                              "level": 3}},
    "fine": {"method": "vicreg",
             "options": {**HEADS, "invariance": 25.0, "variance": 25.0, "covariance": 1.0, "dense": 0.75, "level": 2}},
    "longer": {"method": "vicreg", "max_epochs": 36,
               "options": {**HEADS, "invariance": 25.0, "variance": 25.0, "covariance": 1.0, "dense": 0.75,
                           "level": 2}},
    "seasonal": {"options": {"hidden": 256, "projection": 64, "queue": 1024, "temperature": 0.1}},
    "moco_v2": {"options": {"hidden": 256, "projection": 64, "queue": 1024, "temperature": 0.2}},
    "byol": {"options": {"hidden": 512, "projection": 128, "heads": True}},
}  # fmt: skip
"""Heads for some hundred places, far narrower than the papers' for a million pictures. `augmented` is `vicreg` with two
views of one date, `fine` compares cells of half the size, `longer` does so for three times as long."""


class World(NamedTuple):
    """What is measured where."""

    grid: str
    """Of the members."""
    target: str
    """The class whose IoU counts."""
    encoder: dict[str, Any]
    """Of `encoders`, but for the method."""
    member: dict[str, Any]
    """What differs from the recipe's first member."""


WORLDS = {
    "beetle": World(
        "s2_10m", "damage",
        {"grid": "both", "encoder": "resnet18", "depth": 3, "parts": ["train"], "positives": "dates",
         "sites": "masks/none.yaml",
         "crops": {"chip_m": 400.0, "wide_m": [240.0, 400.0], "wide_px": 48, "small_m": None, "small_px": 24,
                   "small": 0},
         "alter": ALTER, "least_valid": 0.4, "chips_per_epoch": 640, "batch_size": 64, "max_epochs": 10, "seed": 3,
         "lr": 2e-3, "weight_decay": 1e-4, "warmup_epochs": 2, "clip_norm": None, "ema": 0.99,
         "collapse": {"std": 0.1, "rank": 4.0, "then": "warn"}},
        {"model": "unetplusplus", "options": {"encoder": "resnet18", "depth": 3, "weights": None},
         "chips_per_epoch": 240, "max_epochs": 3, "patience": 3, "lr": 2e-3, "calibrate": "none", "ema": 0.95},
    ),
    "sample": World(
        "s2_20m", "palaeochannel",
        {"grid": "s2_20m", "encoder": "resnet18", "depth": 4, "parts": ["train"], "positives": "dates",
         "sites": "masks/none.yaml",
         "crops": {"chip_m": 1600.0, "wide_m": [960.0, 1600.0], "wide_px": 64, "small_m": None, "small_px": 32,
                   "small": 0},
         "alter": ALTER, "least_valid": 0.5, "chips_per_epoch": 512, "batch_size": 64, "max_epochs": 12, "seed": 3,
         "lr": 2e-3, "weight_decay": 1e-4, "warmup_epochs": 1, "clip_norm": None, "ema": 0.99,
         "collapse": {"std": 0.1, "rank": 4.0, "then": "warn"}},
        {"chips_per_epoch": 160, "max_epochs": 12, "patience": 12, "lr": 2e-3, "keep": "last", "ema": 0.95},
    ),
}  # fmt: skip


class Run(NamedTuple):
    """One member."""

    start: str
    fraction: float
    seed: int

    @property
    def name(self) -> str:
        """Of its result."""
        return f"{self.start}_{self.fraction:g}_{self.seed}"


def main() -> None:
    """Runs what is not yet there, then prints the table and draws the curves."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("world", choices=WORLDS)
    parser.add_argument("--starts", default=f"{FRESH},vicreg", help="fresh and methods, with commas")
    parser.add_argument("--fractions", default=",".join(f"{each:g}" for each in FRACTIONS))
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)))
    parser.add_argument("--turn", default="0/1", help="which of how many processes this is")
    parser.add_argument("--room", type=Path, default=ROOT / ".cache/bench/label_fractions")
    parser.add_argument("--only-table", action="store_true")
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    world, home = WORLDS[given.world], given.room / given.world
    starts = given.starts.split(",")
    runs = [Run(start, float(fraction), int(seed)) for fraction in given.fractions.split(",")
            for seed in given.seeds.split(",") for start in starts]  # fmt: skip
    if not given.only_table:
        turn, turns = map(int, given.turn.split("/"))
        prepare(given.world, home)
        for start in starts:
            if start != FRESH and turn == 0:
                pretrain(world, home, start)
        for run in runs[turn::turns]:
            train(world, home, run)
    found = {
        run: json.loads(path.read_text()) for run in runs if (path := home / "results" / f"{run.name}.json").is_file()
    }
    show(world, starts, found)
    if given.plot:
        draw(world, starts, found, given.plot)


def prepare(name: str, home: Path) -> None:
    """A project folder with scenes and split, made by the stages."""
    if (home / "build/split").is_dir():
        return
    home.mkdir(parents=True, exist_ok=True)
    for folder in ("src", "masks"):
        if not (home / folder).exists():
            (home / folder).symlink_to(ROOT / folder)
    write_params(home, _beetle(home) if name == "beetle" else _recipe("pretrain"))
    params = YAML(typ="safe").load((home / "params.yaml").read_text())
    stage(home, "fetch")
    for grid in params["grids"]:
        stage(home, "preprocess", grid)
    stage(home, "split")


def _recipe(name: str) -> dict[str, Any]:
    data: dict[str, Any] = YAML(typ="safe").load((ROOT / f"recipes/{name}.yaml").read_text())
    return data


def _beetle(home: Path) -> dict[str, Any]:
    """The recipe with both dates, whose files share their names, linked under names of their own."""
    for date in ("2019-09", "2020-09"):
        folder = home / "data" / date
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted((CHIPS / f"s2_{date}").glob("*.tif")):
            target = folder / f"{date[:4]}_{path.name}"
            if not target.exists():
                target.symlink_to(path)
    data = _recipe("barkbeetle")
    [layout] = data["fetch"]["options"]["products"]
    data["fetch"]["input"] = "data"
    data["fetch"]["options"]["products"] = [
        layout | {"pattern": f"{date}/*.tif", "date": date} for date in ("2019-09", "2020-09")
    ]
    data["masks"]["input"] = str(CHIPS)
    grid = data["grids"]["s2_10m"]
    data["grids"] = {"s2_10m": grid | {"products": "2020_*"}, "both": grid}
    data["split"]["chip_px"] = {"s2_10m": 48, "both": 48}
    return data


def write_params(home: Path, data: dict[str, Any]) -> None:
    """Writes params.yaml."""
    with (home / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(data, file)


def stage(home: Path, *words: str) -> None:
    """One stage in the project folder."""
    env = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", f"stages.{words[0]}", *words[1:]], cwd=home, env=env, check=True)


def pretrain(world: World, home: Path, method: str) -> None:
    """The encoder of a method, by the stage."""
    if (home / "encoders" / method / "card.json").is_file():
        return
    data = YAML(typ="safe").load((home / "params.yaml").read_text())
    data["encoders"] = {**data.get("encoders", {}), method: world.encoder | {"method": method} | METHODS[method]}
    write_params(home, data)
    began = time.monotonic()
    stage(home, "pretrain", method)
    print(f"{method} pre-trained in {time.monotonic() - began:.0f} s", flush=True)


def train(world: World, home: Path, run: Run) -> None:
    """One member by the code of the stage; its scores go to results/."""
    from thalweg import params  # noqa: PLC0415 - torch takes seconds, which the table need not wait for
    from thalweg.params.classes import Classes  # noqa: PLC0415
    from thalweg.params.models import Member  # noqa: PLC0415
    from thalweg.params.train import Train  # noqa: PLC0415
    from thalweg.train import Places, train_member  # noqa: PLC0415

    result = home / "results" / f"{run.name}.json"
    encoder = home / "encoders" / run.start
    if result.is_file():
        return
    if run.start != FRESH:
        wait_for(encoder / "card.json")
    file = home / "params.yaml"
    first = next(iter(params.read_yaml(file)["models"]))
    share = None if run.fraction == 1 else run.fraction
    changes = world.member | {"seed": run.seed, "grid": world.grid, "train_prop": share,
                              "after": params.NOTHING if run.start == FRESH else f"encoders/{run.start}"}  # fmt: skip
    block = params.read_yaml(file)["models"][first] | changes
    member = params.parse(Member, block, f"models.{run.name}", file)
    machine = params.load(Train, path=file).model_copy(update={"loggers": ("csv",), "watch": ()})
    out = home / "outs" / run.name
    places = Places(scenes=home / "build/scenes" / world.grid, split=home / "build/split", model=out / "model",
                    heldout=out / "heldout", history=out / "history.csv", metrics=out / "metrics.json",
                    runs=home / "runs", resume=home / "resume",
                    after=None if run.start == FRESH else encoder)  # fmt: skip
    began = time.monotonic()
    train_member(run.name, member, machine, params.load(Classes, path=file), places)
    scores = json.loads(places.metrics.read_text()) | {"seconds": time.monotonic() - began}
    result.parent.mkdir(exist_ok=True)
    result.write_text(json.dumps(scores))
    print(
        f"{run.name}: IoU {scores['test_at_threshold'][f'iou_{world.target}']:.3f}, {scores['seconds']:.0f} s",
        flush=True,
    )


def wait_for(path: Path) -> None:
    """Until another process has made it."""
    while not path.is_file():
        time.sleep(2)


def show(world: World, starts: Sequence[str], found: dict[Run, dict[str, Any]]) -> None:
    """Mean and deviation over seeds per share and start, and the gain over fresh weights seed by seed."""
    fractions = sorted({run.fraction for run in found})
    print(
        "| labels | "
        + " | ".join(starts)
        + " | "
        + " | ".join(f"{start} − fresh" for start in starts if start != FRESH)
        + " |"
    )
    print("|---" * (2 * len(starts)) + "|")
    for fraction in fractions:
        cells = [
            _spread([_iou(world, found[run]) for run in found if run[:2] == (start, fraction)]) for start in starts
        ]
        for start in starts:
            if start != FRESH:
                pairs = [(run, Run(FRESH, fraction, run.seed)) for run in found if run[:2] == (start, fraction)]
                gains = [_iou(world, found[one]) - _iou(world, found[two]) for one, two in pairs if two in found]
                cells.append(_spread(gains, signed=True))
        print(f"| {100 * fraction:g} % | " + " | ".join(cells) + " |")


def _iou(world: World, scores: dict[str, Any]) -> float:
    return float(scores["test_at_threshold"][f"iou_{world.target}"])


def _spread(values: Sequence[float], signed: bool = False) -> str:
    if not values:
        return "–"
    mean = f"{statistics.mean(values):{'+' if signed else ''}.3f}"
    return f"{mean} ± {statistics.stdev(values):.3f} ({len(values)})" if len(values) > 1 else mean


def draw(world: World, starts: Sequence[str], found: dict[Run, dict[str, Any]], path: Path) -> None:
    """The curves: a line through means, a dot per seed."""
    import matplotlib as mpl  # noqa: PLC0415 - the runs do without

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    colours = ("#5c676d", "#0072b2", "#d55e00", "#009e73", "#cc79a7")
    for start, colour in zip(starts, colours, strict=False):
        fractions = sorted({run.fraction for run in found if run.start == start})
        values = [[_iou(world, found[run]) for run in found if run[:2] == (start, each)] for each in fractions]
        shares = [100 * each for each in fractions]
        label = "fresh weights" if start == FRESH else f"pre-trained: {start}"
        axes.plot(shares, [statistics.mean(each) for each in values], color=colour, marker="o", label=label)
        for share, each in zip(shares, values, strict=True):
            axes.scatter([share] * len(each), each, color=colour, s=14, alpha=0.6, linewidths=0)
    axes.set(xscale="log", xlabel="labelled training windows, %", ylabel=f"test IoU, {world.target}")
    axes.set_xticks([100 * each for each in FRACTIONS], [f"{100 * each:g}" for each in FRACTIONS])
    axes.minorticks_off()
    axes.grid(color="#dde2e4", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    main()
