"""Which pixels of a map are sure enough to teach: by probability, doubt, and at most a share of each class."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from thalweg import doubt, raster
from thalweg.classes import IGNORE
from thalweg.errors import MapError, RoundError
from thalweg.grid import Window
from thalweg.mapfiles import MapFiles, read_scaled

_BINS = 65535
"""As finely as maps hold probabilities."""


@dataclass(frozen=True)
class Rules:
    """What makes a pixel sure."""

    confidence: float
    """Least probability of the class that the map gives the pixel, 0…1."""
    entropy: float | None
    """Largest normalised entropy of the pixel's probabilities, 0…1, or None."""
    disagreement: float | None
    """Largest disagreement of the members, in the unit of the map's uncertainty band, or None."""
    most: Mapping[str, float]
    """Class → largest share of its ground on the map, outside drawn and held-out ground, that is labelled: the surest
    pixels are. Classes that are not named have no such limit."""

    def said(self) -> dict[str, str]:
        """For tags and records."""
        shares = ", ".join(f"{name} {share:g}" for name, share in self.most.items())
        given = {"confidence": self.confidence, "entropy": self.entropy, "disagreement": self.disagreement}
        said = {key: f"{value:g}" for key, value in given.items() if value is not None}
        return said | {"max_share": shares or "none"}


def check_rules(rules: Rules, names: tuple[str, ...]) -> None:
    """The rules fit the classes.

    Raises:
        RoundError: A share is none, or of no class.
    """
    for name, share in rules.most.items():
        if name not in names:
            raise RoundError(f"--max-share names '{name}', but the map's classes are {', '.join(names)}; correct it")
        if not 0 < share <= 1:
            raise RoundError(f"--max-share of {name} should be above 0 and at most 1, got {share:g}; correct it")


def read_sure(files: MapFiles, rules: Rules, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Class ids (h, w) uint8, 255 where the map is not sure; and the probability (h, w) of the class that it gives.

    Raises:
        MapError: The map has no probabilities, or no such band of uncertainty.
        RasterError: It cannot be read.
    """
    labels = files.read_labels(window)
    probs = read_probs(files, window)
    place = np.minimum(labels, len(files.names) - 1)[None]
    given = np.nan_to_num(np.take_along_axis(probs, place, 0)[0])
    sure = (labels != IGNORE) & (given >= np.float32(rules.confidence) - 0.5 / _BINS)
    if rules.entropy is not None:
        sure &= doubt.entropy(np.nan_to_num(probs)) <= rules.entropy
    if rules.disagreement is not None:
        sure &= np.nan_to_num(read_uncertainty(files, "disagreement", window), nan=np.inf) <= rules.disagreement
    return np.where(sure, labels, np.uint8(IGNORE)), given


def least_probabilities(pixels: Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]], rules: Rules,
                        names: tuple[str, ...]) -> np.ndarray:  # fmt: skip
    """(K,) the probability from which on pixels of a class are labelled, so that no more than its share is.

    Args:
        pixels: The map part by part: class ids of all eligible pixels and of the sure ones among them (255 elsewhere),
            and the probabilities.
        rules: The shares.
        names: Of the classes.
    """
    counts, sure_counts = np.zeros(len(names), np.int64), np.zeros((len(names), _BINS + 1), np.int64)
    for eligible, sure, given in pixels:
        held = np.rint(given * _BINS).astype(np.int64)
        for label in range(len(names)):
            counts[label] += np.count_nonzero(eligible == label)
            sure_counts[label] += np.bincount(held[sure == label], minlength=_BINS + 1)
    least = np.zeros(len(names))
    for label, name in enumerate(names):
        allowed = rules.most.get(name, 1.0) * counts[label]
        from_above = np.cumsum(sure_counts[label][::-1])[::-1]
        fits = np.flatnonzero(from_above <= allowed)
        least[label] = (fits[0] if fits.size else _BINS + 1) / _BINS
    return least


def read_probs(files: MapFiles, window: Window) -> np.ndarray:
    """Probabilities (K, h, w) float32, NaN where there is no map.

    Raises:
        MapError: The map has none.
    """
    if files.probs is None:
        raise MapError(f"{files.classes} has no probs.tif beside it; give the folder of a whole map")
    return read_scaled(files.probs, window, tuple(range(1, len(files.names) + 1)))


def read_uncertainty(files: MapFiles, word: str, window: Window) -> np.ndarray:
    """A band of uncertainty.tif (h, w) float32, found by a word of its name; NaN where there is no map.

    Raises:
        MapError: The map has no such band.
    """
    if files.uncertainty is None:
        raise MapError(f"{files.classes} has no uncertainty.tif beside it; give the folder of a whole map")
    with raster.opened(files.uncertainty) as dataset:
        named = [str(name) for name in dataset.descriptions]
    found = [number for number, name in enumerate(named, 1) if word in name]
    if not found:
        raise MapError(
            f"{files.uncertainty} has the bands {', '.join(named)}, but none of {word}; ask for it under 'ensembles' "
            "in params.yaml, or leave that rule out"
        )
    return np.asarray(read_scaled(files.uncertainty, window, (found[0],))[0])
