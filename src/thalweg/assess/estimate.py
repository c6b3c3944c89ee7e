"""What interpreted points say: the error matrix in shares of area, accuracies, and areas freed of the map's errors."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from thalweg.errors import AssessError, DegradedDataWarning
from thalweg.manifest import Record
from thalweg.vectors import read_vectors

Z = 1.96
"""Half-width of a 95 % interval in standard errors."""
POINTS = "points"
STRATA = "strata"
DRAWN = "drawn"
PIXELS = "pixels"


class Share(Record):
    """A value and the half-width of its 95 % interval."""

    value: float
    margin: float


class ClassEstimate(Record):
    """One class."""

    points: int
    """Interpreted points that the map says to be of it."""
    mapped_ha: float
    """What counting pixels gives."""
    area: Share
    """Hectares, adjusted for the map's errors."""
    users: Share | None
    """User's accuracy, 0…1 (precision); None for a class that is nowhere on the map."""
    producers: Share | None
    """Producer's accuracy, 0…1 (recall); None for a class that no point is of."""


class Assessment(Record):
    """What a sample says of a map."""

    points: int
    left_out: int
    """Points without a reference, and points that were drawn but are gone."""
    overall: Share
    """Overall accuracy, 0…1."""
    classes: dict[str, ClassEstimate]
    counts: tuple[tuple[int, ...], ...]
    """Points; rows map, columns reference."""
    shares: tuple[tuple[float, ...], ...]
    """The same in shares of the mapped area, eq. 4; they sum to 1."""


def estimate(counts: np.ndarray, mapped_ha: np.ndarray, names: Sequence[str], left_out: int = 0) -> Assessment:
    """Accuracies and areas of a stratified random sample.

    Source: eq. 1 to 11 of the paper (`assess`).

    Args:
        counts: (K, K) points, rows map (the strata), columns reference.
        mapped_ha: (K,) mapped area of each class.
        names: Of the classes.
        left_out: Points without a reference, to be told.

    Raises:
        AssessError: A class that the map has got fewer than two points.
    """
    counts, mapped_ha = np.asarray(counts, float), np.asarray(mapped_ha, float)
    rows = counts.sum(1)
    if (poor := np.flatnonzero((mapped_ha > 0) & (rows < 2))).size:
        raise AssessError(
            f"class {names[poor[0]]} has {int(rows[poor[0]])} interpreted points, but a standard error needs 2; "
            "interpret more of its points, or draw a sample with more"
        )
    weights = mapped_ha / mapped_ha.sum()
    of_row = np.divide(counts, rows[:, None], out=np.zeros_like(counts), where=rows[:, None] > 0)
    shares = weights[:, None] * of_row
    degrees = np.maximum(rows - 1, 1)
    area = shares.sum(0)
    area_se = np.sqrt((weights[:, None] ** 2 * of_row * (1 - of_row) / degrees[:, None]).sum(0))
    users = np.diag(of_row)
    users_se = np.sqrt(users * (1 - users) / degrees)
    total_ha = mapped_ha.sum()
    classes = {
        name: ClassEstimate(
            points=int(rows[k]), mapped_ha=float(mapped_ha[k]), area=_share(area[k] * total_ha, area_se[k] * total_ha),
            users=_share(users[k], users_se[k]) if rows[k] else None, producers=_producers(k, weights, of_row, degrees),
        )
        for k, name in enumerate(names)
    }  # fmt: skip
    return Assessment(
        points=int(counts.sum()), left_out=left_out,
        overall=_share(np.trace(shares), np.sqrt((weights**2 * users_se**2).sum())), classes=classes,
        counts=tuple(tuple(row) for row in counts.astype(int).tolist()),
        shares=tuple(tuple(row) for row in shares.tolist()),
    )  # fmt: skip


def assess(path: Path) -> Assessment:
    """The assessment of a sample that was drawn by `thalweg assess sample` and then interpreted.

    Args:
        path: GeoPackage with the layers `points`, `drawn` (the map's class of each, by id) and `strata`.

    Raises:
        VectorError: The file is no such.
        AssessError: Nothing is interpreted, a reference is no class, a point was never drawn or is there twice, or a
            class has too few points.
    """
    drawn, strata = read_vectors(path, DRAWN), read_vectors(path, STRATA)
    points = _joined(read_vectors(path, POINTS), drawn, path)
    names = [str(name) for name in strata["map_class"]]
    said = points["reference"].fillna("").astype(str).str.strip()
    known = said != ""
    if not known.any():
        raise AssessError(
            f"{path} has no point with a reference; open it in QGIS and write into 'reference' what is there"
        )
    if strange := sorted(set(said[known]) - set(names)):
        raise AssessError(
            f"{path} has the reference '{strange[0]}', but the classes are {', '.join(names)}; correct it"
        )
    missing = len(drawn) - int(known.sum())
    if missing:
        gone = len(drawn) - len(points)
        deleted = f" ({gone} were deleted)" if gone else ""
        warnings.warn(
            f"{missing} of {len(drawn)} points of {path} have no reference{deleted} and are left out: right only if "
            "they are no harder than the others", DegradedDataWarning, stacklevel=2)  # fmt: skip
    order = pd.CategoricalDtype(names)
    pairs = [points["map_class"][known].astype(order).cat.codes, said[known].astype(order).cat.codes]
    counts = np.zeros((len(names), len(names)), int)
    np.add.at(counts, tuple(pairs), 1)
    return estimate(counts, strata["area_ha"].to_numpy(), names, missing)


def _joined(points: pd.DataFrame, drawn: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The points with the map's class that each was drawn for, whatever was done to them since."""
    ids = points["id"]
    if ids.isna().any() or ids.duplicated().any():
        which = "without an id" if ids.isna().any() else f"{int(ids[ids.duplicated()].iloc[0])} twice"
        raise AssessError(
            f"{path} has a point {which}; remove what was added or copied: only drawn points are a sample"
        )
    if len(strange := ids[~ids.isin(drawn["id"])]):
        raise AssessError(
            f"{path} has the point {int(strange.iloc[0])}, which was never drawn; remove what was added: only drawn "
            "points are a sample"
        )
    return points[["id", "reference"]].merge(drawn[["id", "map_class"]], on="id")


def _producers(k: int, weights: np.ndarray, of_row: np.ndarray, degrees: np.ndarray) -> Share | None:
    """Eq. 3 and 7."""
    area = (weights * of_row[:, k]).sum()
    if area == 0:
        return None
    share = weights[k] * of_row[k, k] / area
    variance = weights**2 * of_row[:, k] * (1 - of_row[:, k]) / degrees
    factor = np.full(len(weights), share**2)
    factor[k] = (1 - share) ** 2
    return _share(share, np.sqrt((factor * variance).sum()) / area)


def _share(value: float, error: float) -> Share:
    return Share(value=float(value), margin=float(Z * error))
