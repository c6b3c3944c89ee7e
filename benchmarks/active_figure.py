"""Table and picture of benchmarks/active_compare.py, from its records alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

Runs = Sequence[dict[str, Any]]
COLORS = {"random": "#444444", "all": "#aaaaaa", "loss": "#d1495b", "rho_loss": "#00798c", "margin": "#edae49",
          "entropy": "#7a5195"}  # fmt: skip
AXES = {
    "chips trained on": "chips_trained",
    "operations, all counted, × 10¹²": "flops",
    "CPU seconds, all counted": "seconds",
}


def table(runs: Runs) -> str:
    """Markdown: per world and score the last epoch's test scores, pairs by seed against chance, and costs."""
    lines = ["| world | score | rate | test mIoU | OA | mIoU less random's | better in | wrong labels chosen (offered) "
             "| operations, 10¹² | CPU s |", "|" + "---|" * 10]  # fmt: skip
    for world in _unique(runs, "world"):
        chance = _last(runs, world, "random", "test_miou")
        for score in _unique(runs, "score"):
            own = [run for run in runs if (run["world"], run["score"]) == (world, score)]
            miou, accuracy = (_last(runs, world, score, f"test_{key}") for key in ("miou", "accuracy"))
            gain = miou - chance if len(chance) == len(miou) else np.zeros(0)
            chosen, offered = (_mean_of(own, f"wrong_{key}") for key in ("chosen", "pool"))
            flops, seconds = curve(own, "flops")[:, -1].mean() / 1e12, curve(own, "seconds")[:, -1].mean()
            lines.append(
                f"| {world} | {score} | {own[0]['lr']:g} | {_spread(miou)} | {_spread(accuracy)} "
                f"| {'' if score == 'random' or not len(gain) else _spread(gain, '+')} "
                f"| {'' if score == 'random' else f'{(gain > 0).sum()} of {len(gain)}'} "
                f"| {chosen:.3f} ({offered:.3f}) | {flops:.2f} | {seconds:.1f} |"
            )
    return "\n".join(lines) + "\n"


def draw(runs: Runs, path: Path) -> None:
    """Test mIoU against each cost: mean over seeds, and a band of one standard deviation."""
    mpl.use("Agg")
    worlds = _unique(runs, "world")
    figure, axes = plt.subplots(len(worlds), len(AXES), figsize=(12, 3.6 * len(worlds)), sharey="row", squeeze=False,
                                layout="constrained")  # fmt: skip
    for row, world in zip(axes, worlds, strict=True):
        for axis, (title, cost) in zip(row, AXES.items(), strict=True):
            for score in _unique(runs, "score"):
                own = [run for run in runs if (run["world"], run["score"]) == (world, score)]
                spent, scored = curve(own, cost).mean(0), curve(own, "test_miou")
                spent = spent / (1e12 if cost == "flops" else 1)
                middle, spread = scored.mean(0), scored.std(0, ddof=1) if len(scored) > 1 else 0 * scored[0]
                axis.plot(spent, middle, label=score, color=COLORS[score], lw=1.6)
                axis.fill_between(spent, middle - spread, middle + spread, color=COLORS[score], alpha=0.13, lw=0)
            axis.set_xlabel(title)
            axis.set_xlim(left=0)
            axis.grid(alpha=0.3)
        row[0].set_ylabel(f"{world} declarations\ntest mIoU")
    axes[0][0].legend(frameon=False, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def curve(runs: Runs, key: str) -> np.ndarray:
    """(runs, epochs); `seconds`: of CPU, since others use the machine, with what came before at the run's own speed."""
    if key == "seconds":
        spent, done = curve(runs, "cpu_s"), curve(runs, "flops_train") + curve(runs, "flops_score")
        before = curve(runs, "flops_holdout") + curve(runs, "flops_irreducible")
        return spent + before * (spent[:, -1:] / done[:, -1:])
    return np.array([[row[key] for row in run["epochs"]] for run in runs])


def _last(runs: Runs, world: str, score: str, key: str) -> np.ndarray:
    """(seeds,) of the last epoch, by seed."""
    own = sorted((run["seed"], run) for run in runs if (run["world"], run["score"]) == (world, score))
    return np.array([run["epochs"][-1][key] for _, run in own])


def _mean_of(runs: Runs, key: str) -> float:
    """Over runs and those epochs that chose."""
    return float(np.mean([row[key] for run in runs for row in run["epochs"] if key in row]))


def _spread(values: np.ndarray, sign: str = "") -> str:
    deviation = values.std(ddof=1) if len(values) > 1 else 0.0
    return f"{values.mean():{sign}.3f} ± {deviation:.3f}"


def _unique(runs: Runs, key: str) -> list[str]:
    return list(dict.fromkeys(run[key] for run in runs))
