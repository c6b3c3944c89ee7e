"""Does the sample need learning? The best threshold on any band or normalised difference, against the trained members.

On the test part of one grid: per feature the IoU of the second class with the threshold and direction chosen on the
training part, and with an interval chosen by an oracle on the test pixels themselves. Limits: the best of the oracles
stays below 0.4, the best member reaches 0.6. Run after `make train`.
"""

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from thalweg import params
from thalweg.classes import IGNORE
from thalweg.manifest.chips import PARTS, read_parts
from thalweg.manifest.scene import NODATA, read_scenes
from thalweg.params.classes import Classes

GRID = "s2_60m"
BINS = 128
SHOWN = 12
LEAST_OURS, MOST_THEIRS = 0.6, 0.4


def read_part(part: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Reflectance per band and truth (1 = the class looked for) of all valid, labelled pixels of a part."""
    planes: dict[str, list[np.ndarray]] = {}
    truth = []
    for name, scene in read_scenes(Path("build/scenes") / GRID).items():
        if scene.mask is None:
            continue
        chosen = (read_parts(Path("build/split"), GRID, name) == PARTS[part]) & (scene.valid > 0)
        chosen &= (scene.mask != IGNORE) & (scene.image != NODATA).all(axis=2)
        pixels = scene.image[chosen]
        for number, channel in enumerate(scene.record.channels):
            planes.setdefault(channel.name, []).append(pixels[:, number] * channel.scale + channel.offset)
        truth.append(scene.mask[chosen] == 1)
    return {name: np.concatenate(parts) for name, parts in planes.items()}, np.concatenate(truth)


def iter_features(bands: dict[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Every band, and the normalised difference of every two."""
    yield from bands.items()
    for first, second in itertools.combinations(bands, 2):
        total = bands[first] + bands[second]
        yield f"nd({first},{second})", (bands[first] - bands[second]) / np.where(total == 0, 1, total)


def interval_ious(feature: np.ndarray, truth: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(start, end) IoU of calling everything between two edges the class; edge 0 and the last one are open."""
    bins = np.searchsorted(edges[1:-1], feature, side="right")
    hits = np.concatenate([[0], np.cumsum(np.bincount(bins, truth, len(edges) - 1))])
    called = np.concatenate([[0], np.cumsum(np.bincount(bins, minlength=len(edges) - 1))])
    found, said = hits[None, :] - hits[:, None], called[None, :] - called[:, None]
    return np.where(said > 0, found / np.maximum(truth.sum() + said - found, 1), 0.0)


def judge(train: np.ndarray, train_truth: np.ndarray, test: np.ndarray, test_truth: np.ndarray) -> tuple[float, float]:
    """Test IoU of the threshold chosen on the training part, and of the oracle's interval."""
    edges = np.unique(np.quantile(train, np.linspace(0, 1, BINS + 1)))
    learnt, tested = interval_ious(train, train_truth, edges), interval_ious(test, test_truth, edges)
    oracle = interval_ious(test, test_truth, np.unique(np.quantile(test, np.linspace(0, 1, BINS + 1))))
    below, above = int(learnt[0].argmax()), int(learnt[:, -1].argmax())
    one_sided = tested[0, below] if learnt[0, below] > learnt[above, -1] else tested[above, -1]
    return float(one_sided), float(oracle.max())


def member_ious(name: str) -> dict[str, float]:
    """Test IoU of every trained member."""
    found = {}
    for path in sorted(Path("metrics").glob("*.json")):
        found[path.stem] = float(json.loads(path.read_text())["test"][f"iou_{name}"])
    return found


def main() -> None:
    """Measures and judges."""
    wanted = params.load(Classes).names[1]
    (train, train_truth), (test, test_truth) = read_part("train"), read_part("test")
    pairs = zip(iter_features(train), iter_features(test), strict=True)
    rows = [(name, *judge(known, train_truth, held, test_truth)) for (name, known), (_, held) in pairs]
    rows.sort(key=lambda row: -row[2])
    print(f"{wanted}: {test_truth.mean():.3f} of {len(test_truth)} test pixels; test IoU")
    print(f"{'':<16}{'learnt':>8}{'oracle':>8}")
    for name, learnt, oracle in rows[:SHOWN]:
        print(f"{name:<16}{learnt:>8.3f}{oracle:>8.3f}")
    print(f"… {len(rows)} features in all, best learnt {max(row[1] for row in rows):.3f}")
    members = member_ious(wanted)
    for name, iou in members.items():
        print(f"{name:<16}{iou:>8.3f}")
    ours, theirs = max(members.values(), default=0.0), rows[0][2]
    print(f"best member {ours:.3f} (at least {LEAST_OURS}), best threshold {theirs:.3f} (below {MOST_THEIRS})")
    sys.exit(ours < LEAST_OURS or theirs >= MOST_THEIRS)


if __name__ == "__main__":
    main()
