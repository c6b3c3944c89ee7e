"""What ensembles and calibration are worth: disjoint ensembles of three seeds each, every way of combining them.

Run, in a clone with its environment:

    python -m benchmarks.ensembles prepare barkbeetle   # params.yaml: 9 seeds, 3 groups of ensembles
    dvc repro --keep-going
    python -m benchmarks.ensembles table                # Markdown, means ± standard deviations over the groups

`prepare` copies the first U-Net of the recipe to as many seeds as asked for, and maps each three by every row of
`WAYS`. Nothing is chosen on the test part: a row is a way, its spread is that of the three ensembles, and the best
member is the one of the best validation score in its group.
"""

import argparse
import copy
import json
import statistics
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
SIZE = 3
ONE_VIEW: dict[str, Any] = {"views": 1, "scales": [1]}
EIGHT: dict[str, Any] = {"views": 8, "scales": [1]}
WAYS: dict[str, dict[str, Any]] = {
    "mean8": {"tta": EIGHT},
    "temperature": {"tta": ONE_VIEW, "calibrate": "temperature"},
    "weighted": {"tta": ONE_VIEW, "reducer": "weighted_mean"},
    "greedy": {"tta": ONE_VIEW, "select": "greedy"},
    "stack": {"tta": ONE_VIEW, "reducer": "stack"},
    "trees8": {"tta": EIGHT, "trees": True},
}
"""Way → what differs from the recipe's first ensemble; `trees` adds its yardstick as a member. What the plain mean is
worth with one view stands in `temperature`, which changes no order of classes and tells ECE and NLL before it, too."""
KEYS = ("miou", "accuracy", "ece", "nll")


def main() -> None:
    """Prepares a clone, or tells what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("act", choices=("prepare", "table"))
    parser.add_argument("recipe", nargs="?", default="barkbeetle")
    parser.add_argument("--groups", type=int, default=3)
    given = parser.parse_args()
    if given.act == "prepare":
        prepare(given.recipe, given.groups)
    else:
        print(table())


def prepare(recipe: str, groups: int) -> None:
    """Writes the clone's params.yaml."""
    yaml = YAML()
    yaml.width = 200
    params = yaml.load(ROOT / "recipes" / f"{recipe}.yaml")
    first = next(iter(params["models"].values()))
    trees = next(iter(params["yardsticks"]))
    base = next(iter(params["ensembles"].values()))
    params["models"] = {f"unet-s{seed}": _of_seed(first, seed) for seed in range(SIZE * groups)}
    params["crossval"] = {}
    params["ensembles"] = {}
    for group in range(groups):
        members = [f"unet-s{seed}" for seed in range(group * SIZE, (group + 1) * SIZE)]
        for way, changes in WAYS.items():
            if "trees" in changes and group:
                continue  # there is one yardstick, and eight views of it take their time
            block = copy.deepcopy(base)
            block["members"] = members + ([trees] if "trees" in changes else [])
            block.update({key: copy.deepcopy(value) for key, value in changes.items() if key != "trees"})
            params["ensembles"][f"{way}-{group}"] = block
    yaml.dump(params, ROOT / "params.yaml")


def table() -> str:
    """Rows of what the clone's metrics say."""
    members = {path.stem: _member(path) for path in (ROOT / "metrics").glob("unet-s*.json")}
    groups = len(members) // SIZE
    extra = [key for key in next(iter(members.values()))["test"] if key.startswith(("iou_", "f1_")) and _plain(key)]
    keys = (*KEYS, "ece_uncalibrated", *extra)
    rows = ["| | " + " | ".join(keys) + " |", "|---" * (len(keys) + 1) + "|"]
    rows.append(_row(f"members ({len(members)})", list(members.values()), keys))
    best = []
    for group in range(groups):
        ours = [members[f"unet-s{seed}"] for seed in range(group * SIZE, (group + 1) * SIZE)]
        best.append(max(ours, key=lambda scores: scores["val"]["miou"]))
    rows.append(_row("best member by validation", best, keys))
    for way in WAYS:
        paths = [ROOT / "metrics/ensemble" / f"{way}-{group}.json" for group in range(groups)]
        found = [_read(path) for path in paths if path.exists()]
        if found:
            rows.append(_row(f"{way} ({len(found)})", found, keys))
    for path in sorted((ROOT / "metrics").glob("*.json")):
        if path.stem not in members:
            rows.append(_row(path.stem, [_read(path)], keys))
    return "\n".join(rows)


def _of_seed(block: Any, seed: int) -> Any:
    made = copy.deepcopy(block)
    made["seed"] = seed
    return made


def _member(path: Path) -> Any:
    """Scores on the map's pixels, at the threshold that validation chose, as the map's own; and the raw ECE."""
    group = int(path.stem.removeprefix("unet-s")) // SIZE
    entry = _read(ROOT / f"ensembles/temperature-{group}/card.json")["members"][path.stem]
    raw = _read(path)["test"].get("ece_uncalibrated")
    return {**entry["scores"], "test": entry["scores"]["test"] | ({} if raw is None else {"ece_uncalibrated": raw})}


def _plain(key: str) -> bool:
    return not key.endswith(("_lo", "_hi"))


def _read(path: Path) -> Any:
    return json.loads(path.read_text())


def _row(name: str, runs: list[Any], keys: tuple[str, ...]) -> str:
    cells = []
    for key in keys:
        values = [run["test"][key] for run in runs if key in run.get("test", {})]
        if not values:
            cells.append("")
            continue
        spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.4f}{spread}")
    return f"| {name} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
