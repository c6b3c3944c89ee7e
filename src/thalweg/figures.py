"""One function per figure about members: from scores and tables to a drawing, without a file or a backend."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from thalweg import metrics
from thalweg.classes import IGNORE, ClassInfo
from thalweg.manifest.heldout import PartScores

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
"""Colour of a member by its place among the sorted names, told apart under every common colour blindness.

Source: Okabe and Ito 2008, Color Universal Design, https://jfly.uni-koeln.de/color/ (without its yellow)."""
DASHES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")
PANELS = ("rgb", "mask", "labels", "prob", "doubt", "names")
"""Arrays of panels.npz."""
UNLABELLED_COLOR = "#c8c8c8"
RIGHT_COLOR, WRONG_COLOR = "#e9ecea", "#c2185b"
"""Of the error panels."""
_COLUMNS = ("image", "mask", "prediction", "probability", "error", "uncertainty")
_TRAINING = (0, (3, 2))
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 9, "lines.linewidth": 1.6, "figure.constrained_layout.use": True,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#555555", "axes.labelcolor": "#333333",
    "axes.titlesize": 10, "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.axisbelow": True,
    "grid.color": "#e4e4e4", "grid.linewidth": 0.8, "xtick.color": "#333333", "ytick.color": "#333333",
    "legend.frameon": False,
}  # fmt: skip


class Chosen(NamedTuple):
    """The part of a member's held-out scores that is drawn."""

    part: str
    """`test` where there is one, else `val`."""
    scores: PartScores
    ranked: Mapping[str, tuple[Sequence[int], Sequence[int]]]
    """Class → other pixels and those of the class, per bin of its probability."""


@contextmanager
def plain_style() -> Iterator[None]:
    """The drawing library as delivered, with our few changes, whatever the user's matplotlibrc says."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def draw_learning_curves(curves: pd.DataFrame, members: Sequence[str]) -> Figure:
    """Validation mIoU with each member's best epoch, and losses, over epochs."""
    figure = Figure(figsize=(9, 3.7))
    score, loss = figure.subplots(1, 2)
    for number, member in enumerate(members):
        rows = curves[curves["member"] == member]
        look = {"color": member_color(number), "linestyle": member_dash(number)}
        best = _draw_curve(score, rows, "val_miou", **look)
        if best is not None:
            score.plot(*best, "o", color=look["color"], markersize=5)
        _draw_curve(loss, rows, "val_loss", **look)
        _draw_curve(loss, rows, "train_loss", color=look["color"], linestyle=_TRAINING, linewidth=1)
    _label(score, "Validation mIoU", "epoch", "mIoU (dot: best epoch)")
    _label(loss, "Loss", "epoch", "loss")
    for axes in (score, loss):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    keys = [Line2D([], [], color="#555555", label="validation"),
            Line2D([], [], color="#555555", linewidth=1, linestyle=_TRAINING, label="training")]  # fmt: skip
    loss.legend(handles=keys, loc="upper right")
    member_legend(figure, members)
    return figure


def _draw_curve(axes: Axes, rows: pd.DataFrame, column: str, **look: Any) -> tuple[float, float] | None:
    """Draws what a member logged in a column; epoch and value of its maximum, or None where it logged nothing."""
    if column not in rows or not rows[column].notna().any():
        return None
    known = rows[rows[column].notna()]
    epochs, values = known["epoch"].to_numpy(), known[column].to_numpy()
    axes.plot(epochs, values, **look)
    return float(epochs[values.argmax()]), float(values.max())


def draw_reliability(chosen: Mapping[str, Chosen]) -> Figure:
    """Accuracy over confidence (of the predicted class), and how often each confidence occurs."""
    figure = Figure(figsize=(5, 5.2))
    curve, share = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
    curve.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=(0, (4, 3)))
    edges = np.linspace(0, 1, metrics.ECE_BINS + 1)
    labels, lowest, worst = [], 1.0, 1.0
    for number, (member, (part, scores, _)) in enumerate(chosen.items()):
        counts = np.array(scores.reliability)
        pixels, confidence, hits = counts[:, counts[0] > 0]
        look: dict[str, Any] = {"color": member_color(number), "linestyle": member_dash(number)}
        curve.plot(confidence / pixels, hits / pixels, marker="o", markersize=3.5, **look)
        share.stairs(counts[0] / counts[0].sum(), edges, linewidth=1.4, **look)
        labels.append(f"{member} ({part}, ECE {metrics.ece(counts):.3f})")
        lowest, worst = min(lowest, float(edges[:-1][counts[0] > 0].min())), min(worst, float((hits / pixels).min()))
    _label(curve, "Reliability (below the line: too sure of itself)", "", "share of pixels that are right")
    curve.set(xlim=(lowest, 1), ylim=(min(lowest, worst) - 0.05, 1.02))
    _label(share, "", "confidence (largest probability)", "pixels")
    share.set_yticks([])
    member_legend(figure, labels)
    return figure


def draw_confusion(member: str, chosen: Chosen, names: Sequence[str]) -> Figure:
    """Confusion matrix of one member, each row as shares of the true class; small numbers are pixels."""
    matrix = np.array(chosen.scores.confusion)
    shares = row_shares(matrix)
    edge = 0.9 + 0.8 * max(len(names), 2)
    figure = Figure(figsize=(edge + 0.3 + 0.09 * max(len(name) for name in names), edge))
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, col), value in np.ndenumerate(shares):
        ink = "white" if value > 0.55 else "#222222"
        axes.text(col, row - 0.08, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=10)
        axes.text(col, row + 0.22, _count(int(matrix[row, col])), ha="center", va="center", color=ink, fontsize=8)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    if len(names) > 3:
        axes.tick_params(axis="x", rotation=90)
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_title(f"{member} · {chosen.part}")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def draw_panels(panels: Mapping[str, np.ndarray], legend: Sequence[ClassInfo]) -> Figure:
    """Held-out windows of one member: image, mask, prediction, probability of what it predicted, error, uncertainty."""
    rgb, mask, labels, prob, doubt, names = (panels[key] for key in PANELS)
    rows = len(rgb)
    figure = Figure(figsize=(10, 1.8 * rows + 0.7))
    grid = figure.subplots(rows, len(_COLUMNS), squeeze=False)
    shades: dict[int, Any] = {}
    for row in range(rows):
        wrong = paint_errors(mask[row], labels[row])
        silent = labels[row] == IGNORE
        pictures = {0: _without_ground(rgb[row], silent), 1: paint(mask[row], legend), 4: wrong,
                    2: paint(labels[row], legend)}  # fmt: skip
        for column, picture in pictures.items():
            grid[row, column].imshow(picture, interpolation="nearest")
        for column, values, ramp in ((3, prob[row], "viridis"), (5, doubt[row], "magma")):
            said = np.ma.masked_where(silent, values / 255)
            look = mpl.colormaps[ramp].with_extremes(bad=UNLABELLED_COLOR)
            shades[column] = grid[row, column].imshow(said, cmap=look, vmin=0, vmax=1, interpolation="nearest")
        grid[row, 0].set_xlabel(" ", fontsize=8)
        grid[row, 0].annotate(str(names[row]), (0, 0), (0, -4), xycoords="axes fraction", textcoords="offset points",
                              va="top", fontsize=8, color="#555555").set_in_layout(False)  # fmt: skip
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    for axes, title in zip(grid[0], _COLUMNS, strict=True):
        axes.set_title(title)
    for column, shade in shades.items():
        figure.colorbar(shade, ax=grid[:, column].tolist(), fraction=0.06, aspect=18 * rows)
    looks = [(info.color, info.name) for info in legend]
    looks += [(UNLABELLED_COLOR, "no label, or another part"), (RIGHT_COLOR, "right"), (WRONG_COLOR, "wrong")]
    keys = [Patch(facecolor=color, edgecolor="#888888", label=label) for color, label in looks]
    figure.legend(handles=keys, loc="outside lower left", ncols=6)
    return figure


def _without_ground(rgb: np.ndarray, silent: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) with grey for black where nothing was measured."""
    absent = silent & (rgb == 0).all(-1)
    return np.where(absent[..., None], _rgb_bytes(UNLABELLED_COLOR)[0], rgb)


def paint_errors(mask: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8: where labels differ from the mask, where they agree, and where the mask says nothing."""
    colors = _rgb_bytes(UNLABELLED_COLOR, RIGHT_COLOR, WRONG_COLOR)
    painted: np.ndarray = colors[np.where(mask == IGNORE, 0, 1 + (mask != labels))]
    return painted


def paint(labels: np.ndarray, legend: Sequence[ClassInfo]) -> np.ndarray:
    """(H, W) class ids as (H, W, 3) uint8 in the legend's colours; ignored pixels are grey."""
    colors = np.zeros((IGNORE + 1, 3), np.uint8)
    colors[: len(legend)] = [info.rgb for info in legend]
    colors[IGNORE] = _rgb_bytes(UNLABELLED_COLOR)[0]
    painted: np.ndarray = colors[labels]
    return painted


def _rgb_bytes(*colors: str) -> np.ndarray:
    return np.array([np.round(np.array(to_rgb(color)) * 255) for color in colors], np.uint8)


def member_color(number: int) -> str:
    """Colour of the member at a place in params.yaml; from the eighth on, dashes tell them apart."""
    return PALETTE[number % len(PALETTE)]


def member_dash(number: int) -> Literal["-", "--", ":", "-."]:
    """Dash of the member at a place in params.yaml."""
    return DASHES[number // len(PALETTE) % len(DASHES)]


def _count(pixels: int) -> str:
    return f"{pixels / 1e6:.1f} M px" if pixels >= 1e6 else f"{pixels:,} px".replace(",", " ")


def _label(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(True, axis="y")


def member_legend(figure: Figure, labels: Sequence[str]) -> None:
    """A legend of members above the axes."""
    handles = [
        Line2D([], [], color=member_color(number), linestyle=member_dash(number), linewidth=3, label=label)
        for number, label in enumerate(labels)
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=5 if figure.get_figwidth() > 6 else 2)


def row_shares(matrix: np.ndarray) -> np.ndarray:
    """A confusion matrix (K, K) with each row as shares of the true class."""
    shares: np.ndarray = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    return shares
