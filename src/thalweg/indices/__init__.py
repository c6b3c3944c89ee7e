"""Extra channels by formula: normalised differences, roots, logarithms, named indices, and those of a catalogue.

All work on reflectance. Formulas that need a sign take reflectance below zero (dark ground after the baseline's
offset) as zero, so that a normalised difference stays within ±1; where a denominator is zero the index is zero.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from thalweg.errors import ParamsError
from thalweg.indices import awesome

Compute = Callable[..., np.ndarray]
"""Reflectances (any equal shapes, float32) in the order of `Formula.bands` to the channel's values."""

_CATALOGUE_SCALE = 1e-3
"""Of indices of the catalogue, whose ranges differ: ±32.767; the grid's dtype float32 holds any."""
LOG_FLOOR = 1e-3
"""Reflectance below which the logarithm is taken of this value instead."""


@dataclass(frozen=True)
class Formula:
    """One extra channel."""

    name: str
    """As it stands in params.yaml."""
    bands: tuple[str, ...]
    """Bands that it reads, in the order of `compute`'s arguments."""
    scale: float
    """Physical value per stored integer; small enough for detail, large enough for the formula's range in int16."""
    compute: Compute
    text: str
    """What decides its values: the name of one of ours, or the catalogue's expression with its constants."""


def parse(text: str) -> Formula:
    """The formula behind a channel's name.

    Raises:
        ParamsError: No such formula, or it is given the wrong number of bands.
    """
    if text in _NAMED:
        bands, scale, compute = _NAMED[text]
        return Formula(text, bands, scale, compute, text)
    if (index := awesome.find(text)) is not None:
        decides = f"{index.expression} with {index.bands} and {index.constants}"
        return Formula(text, tuple(index.bands.values()), _CATALOGUE_SCALE, index.compute, decides)
    match = re.fullmatch(r"(\w+)\(([^()]*)\)", text)
    if match is None or match[1] not in _FUNCTIONS:
        known = ", ".join([*_NAMED, *(f"{name}(…)" for name in _FUNCTIONS)])
        raise ParamsError(
            f"grids: the channel '{text}' has no formula; known are {known}, and the {len(awesome.names())} indices of "
            f"the catalogue spyndex as it spells them{_like(text)}"
        )
    count, scale, compute = _FUNCTIONS[match[1]]
    bands = tuple(band.strip() for band in match[2].split(","))
    if len(bands) != count or not all(bands):
        raise ParamsError(f"grids: the channel '{text}' names {len(bands)} bands, but {match[1]} takes {count}")
    return Formula(text, bands, scale, compute, text)


def parse_all(texts: tuple[str, ...], bands: tuple[str, ...]) -> tuple[Formula, ...]:
    """Formulas of a grid's extra channels.

    Raises:
        ParamsError: A formula is unknown, or reads a band that the grid does not have.
    """
    formulas = tuple(parse(text) for text in texts)
    for formula in formulas:
        for band in formula.bands:
            if band not in bands:
                raise ParamsError(
                    f"grids: the channel '{formula.name}' reads {band}, but the grid's bands are {', '.join(bands)}; "
                    f"add {band} to 'bands' or choose another formula, e.g. nd(B8A,B04) for ndvi"
                )
    return formulas


def _like(text: str) -> str:
    """Hint at an index that is spelt otherwise."""
    alike = [name for name in awesome.names() if name.lower() == text.lower()]
    return f", e.g. {alike[0]}" if alike else " (NDVI, EVI, MNDWI …)"


def compute(formula: Formula, reflectance: Mapping[str, np.ndarray]) -> np.ndarray:
    """Values of one channel, float32, shaped as the bands."""
    return formula.compute(*(reflectance[band] for band in formula.bands)).astype(np.float32)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    result = np.zeros_like(numerator)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result


def _nd(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    first, second = np.maximum(first, 0), np.maximum(second, 0)
    return _ratio(first - second, first + second)


def _sqrt(band: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(np.maximum(band, 0)))


def _log(band: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(np.maximum(band, LOG_FLOOR)))


def _diff(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.asarray(first - second)


def _whiteness(blue: np.ndarray, green: np.ndarray, red: np.ndarray) -> np.ndarray:
    blue, green, red = np.maximum(blue, 0), np.maximum(green, 0), np.maximum(red, 0)
    mean = (blue + green + red) / 3
    return _ratio(np.abs(blue - mean) + np.abs(green - mean) + np.abs(red - mean), mean)


def _hot(blue: np.ndarray, red: np.ndarray) -> np.ndarray:
    return np.asarray(blue - 0.5 * red - 0.08)


_FUNCTIONS: dict[str, tuple[int, float, Compute]] = {
    "nd": (2, 1e-4, _nd),
    "sqrt": (1, 1e-4, _sqrt),
    "log": (1, 1e-3, _log),
    "diff": (2, 1e-4, _diff),
}
"""Function → number of bands, scale, formula. `log` is natural."""

_NAMED: dict[str, tuple[tuple[str, ...], float, Compute]] = {
    "ndvi": (("B08", "B04"), 1e-4, _nd),
    "ndmi": (("B08", "B11"), 1e-4, _nd),
    "nbr": (("B08", "B12"), 1e-4, _nd),
    "ndwi": (("B03", "B08"), 1e-4, _nd),
    "whiteness": (("B02", "B03", "B04"), 1e-3, _whiteness),
    "hot": (("B02", "B04"), 1e-4, _hot),
}
"""Index → bands, scale, formula.

Source: NDVI Rouse et al. 1974 (NASA SP-351); NDMI Gao 1996, doi:10.1016/S0034-4257(96)00067-3; NBR Key and Benson 2006
(USDA RMRS-GTR-164); NDWI McFeeters 1996, doi:10.1080/01431169608948714; whiteness and the haze-optimised transform with
0.5 and 0.08 as in Fmask, Zhu and Woodcock 2012, doi:10.1016/j.rse.2011.10.028, eq. 2 and 3 (whiteness after
Gómez-Chova et al. 2007, doi:10.1109/TGRS.2007.905312; HOT after Zhang et al. 2002, doi:10.1016/S0034-4257(02)00034-2).
"""
