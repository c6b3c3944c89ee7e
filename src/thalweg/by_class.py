"""Figures that tell classes apart: precision over recall, and scores as bars."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from thalweg import curves
from thalweg.figures import Chosen, member_color, member_dash, member_legend

ACROSS = 3
"""Classes beside each other."""


def draw_precision_recall(chosen: Mapping[str, Chosen], names: Sequence[str]) -> Figure:
    """Precision over recall of every member, one drawing per class; the labels name the average precision."""
    wanted = curves.wanted(names)
    across = min(len(wanted), ACROSS)
    down = -(-len(wanted) // across)
    figure = Figure(figsize=(3.4 * across + 1.2, 3.2 * down + 0.5))
    grid = figure.subplots(down, across, squeeze=False)
    for axes in grid.flat[len(wanted) :]:
        axes.set_visible(False)
    for axes, name in zip(grid.flat, wanted, strict=False):
        for number, found in enumerate(chosen.values()):
            others, own = (np.array(counts) for counts in found.ranked[name])
            if own.any():
                recall, precision = curves.precision_recall(others, own)
                label = f"{curves.average_precision(others, own):.3f}"
                axes.plot(recall, precision, color=member_color(number), linestyle=member_dash(number), label=label)
        axes.set(title=name.replace("_", " "), xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.01))
        axes.grid(True)
        axes.legend(title="average precision", loc="lower left", fontsize=8, title_fontsize=8)
    member_legend(figure, [f"{member} ({found.part})" for member, found in chosen.items()])
    return figure


def draw_class_scores(table: pd.DataFrame, members: Sequence[str], names: Sequence[str]) -> Figure:
    """Bars of each class's IoU, precision and recall, a bar per member.

    Args:
        table: As `curves.to_class_scores` gives it.
        members: In the order of their colours.
        names: Classes from left to right.
    """
    shown = ("iou", "precision", "recall")
    figure = Figure(figsize=(max(4.6, 0.9 + 0.32 * len(names) * (len(members) + 1)), 5.8))
    width = 0.8 / len(members)
    for axes, score in zip(figure.subplots(len(shown), 1, sharex=True), shown, strict=True):
        for number, member in enumerate(members):
            found = table[table["member"] == member].set_index("class")[score].reindex(list(names))
            at = np.arange(len(names)) + (number - (len(members) - 1) / 2) * width
            axes.bar(at, found.to_numpy(), width, color=member_color(number), hatch=_hatch(number), edgecolor="white")
        axes.set(ylim=(0, 1), ylabel={"iou": "IoU"}.get(score, score))
        axes.grid(True, axis="y")
        axes.set_xticks(np.arange(len(names)), [name.replace("_", " ") for name in names])
        if len(names) > 4:
            axes.tick_params(axis="x", rotation=60)
    member_legend(figure, members)
    return figure


def _hatch(number: int) -> str:
    """Members whose colours repeat are told apart as their dashes are."""
    return {"-": "", "--": "//", ":": "..", "-.": "xx"}[member_dash(number)]
