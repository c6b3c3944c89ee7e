"""Pictures of embeddings: all chips in two dimensions, and a chip beside those that are most like it."""

from collections.abc import Sequence
from pathlib import Path

import geopandas
import numpy as np
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

from thalweg.embeddings import SCENES, facts, matrix
from thalweg.errors import FeatureError
from thalweg.figures import PALETTE, UNLABELLED_COLOR, plain_style
from thalweg.grid import Window, cut
from thalweg.manifest.scene import NODATA, Scene, read_scenes
from thalweg.watch.canvas import natural

COLORED_BY = ("label", "scene", "date")
_DPI = 150
_MOST_COLORS = len(PALETTE)
_CUT = (2, 50, 98)
"""Percentiles: black, middle, white."""
_CLOUDS = 4.0
"""White is at most so many times as far above the middle as black is below, so that clouds do not darken the rest."""
_ABREAST = 6


def project(table: geopandas.GeoDataFrame) -> tuple[np.ndarray, np.ndarray]:
    """(N, 2) principal components of the embeddings, and the shares of variance that they hold; signs are settled.

    Raises:
        FeatureError: There are fewer than three chips.
    """
    if len(table) < 3:
        raise FeatureError(f"{len(table)} chips have no plane to lie in; embed at least three")
    made = PCA(2, svd_solver="full").fit(matrix(table))
    sign = np.sign(made.components_[np.arange(2), np.abs(made.components_).argmax(1)])
    return made.transform(matrix(table)) * sign, made.explained_variance_ratio_


def draw_projection(table: geopandas.GeoDataFrame, by: str, path: Path) -> None:
    """A point per chip, coloured by a column; further values of it than there are colours share one grey."""
    if by not in COLORED_BY:
        raise FeatureError(f"chips are coloured by {', '.join(COLORED_BY)}, not by '{by}'; correct it")
    points, shares = project(table)
    values = table[by].fillna("").astype(str).to_numpy()
    ranked = [value for value, _ in sorted(_counted(values).items(), key=lambda each: (-each[1], each[0])) if value]
    with plain_style():
        figure = Figure(figsize=(7, 5.2))
        axes = figure.subplots()
        rest = ~np.isin(values, ranked[:_MOST_COLORS])
        if rest.any():
            axes.scatter(
                points[rest, 0], points[rest, 1], s=9, c=UNLABELLED_COLOR, linewidths=0, label=_rest_name(ranked, by)
            )
        for color, value in zip(PALETTE, ranked, strict=False):
            chosen = values == value
            axes.scatter(
                points[chosen, 0],
                points[chosen, 1],
                s=9,
                c=color,
                alpha=0.75,
                linewidths=0,
                label=f"{value} ({chosen.sum()})",
            )
        axes.set_xlabel(f"first component, {100 * shares[0]:.0f} % of variance")
        axes.set_ylabel(f"second component, {100 * shares[1]:.0f} % of variance")
        axes.set_title(f"{len(table)} chips by {facts(table).get('encoder', 'an encoder')}")
        axes.grid(visible=True)
        axes.legend(title=by, markerscale=2, loc="upper left", bbox_to_anchor=(1, 1))
        figure.savefig(path, dpi=_DPI)


def draw_similar(query: geopandas.GeoDataFrame, found: geopandas.GeoDataFrame, path: Path) -> None:
    """The chip that was asked for, framed, and its answers in order, in one stretch of light.

    Args:
        query: One row of the table.
        found: As `similar` gives it.
        path: PNG to write.

    Raises:
        FeatureError: The scenes are no longer where they were embedded from.
    """
    folder = Path(str(facts(query).get(SCENES, "")))
    if not folder.is_dir():
        raise FeatureError(
            f"{folder}, which the chips were embedded from, is no longer there; run `thalweg embed` again"
        )
    scenes = read_scenes(folder)
    titles = ["asked for", *(f"{row.rank}: {row.similarity:.2f}" for row in found.itertuples())]
    chips = [_pixels(scenes, row) for table in (query, found) for row in table.itertuples()]
    pictures = _stretched(chips)
    across, down = min(len(chips), _ABREAST), -(-len(chips) // _ABREAST)
    with plain_style():
        figure = Figure(figsize=(1.6 * across, 1.9 * down))
        for number, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
            axes = figure.add_subplot(down, across, number + 1)
            axes.imshow(picture, interpolation="nearest")
            axes.set_title(title, fontsize=8, color=PALETTE[1] if number == 0 else "#333333")
            axes.set_xticks([])
            axes.set_yticks([])
        figure.savefig(path, dpi=_DPI)


def _counted(values: np.ndarray) -> dict[str, int]:
    names, counts = np.unique(values, return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def _rest_name(ranked: Sequence[str], by: str) -> str:
    others = len(ranked) - _MOST_COLORS
    return f"{others} others" if others > 0 else f"no {by}"


def _pixels(scenes: dict[str, Scene], row: object) -> np.ndarray:
    """(h, w, 3) float, NaN = nodata, of a row of the table; of a series, its day."""
    scene = scenes[row.scene]  # type: ignore[attr-defined]
    window = Window(row.row, row.col, row.size, row.size)  # type: ignore[attr-defined]
    count = len(scene.record.channels) // max(len(scene.record.dates), 1)
    first = count * (scene.record.dates.index(row.date) if scene.record.dates else 0)  # type: ignore[attr-defined]
    names = [channel.name.rpartition("/")[2] for channel in scene.record.channels[first : first + count]]
    stored = cut(scene.image, window, NODATA)[..., [first + place for place in natural(names)]]
    found: np.ndarray = np.where(stored == NODATA, np.nan, stored.astype(float))
    return found


def _stretched(chips: Sequence[np.ndarray]) -> list[np.ndarray]:
    low, middle, high = np.nanpercentile(np.concatenate([chip.reshape(-1, 3) for chip in chips]), _CUT, axis=0)
    high = np.minimum(high, middle + _CLOUDS * (middle - low))
    span = np.maximum(high - low, 1e-9)
    return [np.nan_to_num(np.clip((chip - low) / span, 0, 1) * 255).astype(np.uint8) for chip in chips]
