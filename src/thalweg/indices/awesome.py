"""The catalogue Awesome Spectral Indices, as the package spyndex carries it: formulas by name, on Sentinel-2's bands.

Only its data files are read, not its code: a formula is parsed, and anything but arithmetic on bands and constants is
refused. Constants are the catalogue's defaults. As for our own formulas, reflectance below zero counts as zero, and a
result that is no number (a zero denominator, a root of something negative) is zero.

Source: Montero et al. 2023, A standardized catalogue of spectral indices to advance the use of remote sensing in Earth
system research, doi:10.1038/s41597-023-02096-0; each entry of the catalogue names its own reference.
"""

import ast
import json
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np

from thalweg.bands import SENTINEL2
from thalweg.errors import ParamsError

BANDS = {"A": "B01", "B": "B02", "G": "B03", "R": "B04", "RE1": "B05", "RE2": "B06", "RE3": "B07", "N": "B08",
         "N2": "B8A", "WV": "B09", "S1": "B11", "S2": "B12"}  # fmt: skip
"""The catalogue's band → Sentinel-2's. Its N is B08, never B8A: a grid without B08 has no index of N."""
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
}
_WAVELENGTH = "lambda"


@dataclass(frozen=True)
class Index:
    """One index of the catalogue."""

    name: str
    expression: str
    bands: dict[str, str]
    """Its names of bands → Sentinel-2's, those that it reads, in order."""
    constants: dict[str, float]

    def compute(self, *planes: np.ndarray) -> np.ndarray:
        """Values from reflectances (any equal shapes, float32) in the order of `bands`."""
        values = dict(zip(self.bands, (np.maximum(plane, 0) for plane in planes), strict=True))
        with np.errstate(all="ignore"):
            result = np.asarray(_value(_parsed(self.expression, self.name), {**self.constants, **values}), np.float32)
        return np.where(np.isfinite(result), result, np.float32(0))


def find(name: str) -> Index | None:
    """The index of a name, as the catalogue spells it (`NDVI`, `EVI`, `S2REP`); None where it has none.

    Raises:
        ParamsError: It needs a band that Sentinel-2 lacks, or a constant without a default.
    """
    entry = _catalogue().get(name)
    if entry is None:
        return None
    bands: dict[str, str] = {}
    constants: dict[str, float] = {}
    for word in entry["bands"]:
        if word in BANDS:
            bands[word] = BANDS[word]
        else:
            constants[word] = _constant(word, name)
    return Index(name, entry["formula"], bands, constants)


def names() -> tuple[str, ...]:
    """All indices of the catalogue that Sentinel-2's bands give."""
    return tuple(sorted(name for name, entry in _catalogue().items() if _served(entry)))


def _served(entry: Mapping[str, Any]) -> bool:
    return all(word in BANDS or _default(word) is not None for word in entry["bands"])


def _constant(word: str, name: str) -> float:
    value = _default(word)
    if value is None:
        raise ParamsError(
            f"grids: the index '{name}' of the catalogue needs '{word}', which is neither a Sentinel-2 band nor a "
            "constant with a default; choose another index"
        )
    return value


def _default(word: str) -> float | None:
    """A constant's value; that of `lambdaN` is the central wavelength of the band N, nanometres."""
    if word.startswith(_WAVELENGTH) and word.removeprefix(_WAVELENGTH) in BANDS:
        return SENTINEL2[BANDS[word.removeprefix(_WAVELENGTH)]].wavelength_nm
    value = _data("constants.json").get(word, {}).get("default")
    return None if value is None else float(value)


@cache
def _catalogue() -> dict[str, Any]:
    found: dict[str, Any] = _data("spectral-indices-dict.json").get("SpectralIndices", {})
    return found


@cache
def _data(file: str) -> dict[str, Any]:
    try:
        path = distribution("spyndex").locate_file(f"spyndex/data/{file}")
    except PackageNotFoundError:
        return {}
    data: dict[str, Any] = json.loads(Path(str(path)).read_text(encoding="utf-8"))
    return data


@cache
def _parsed(expression: str, name: str) -> ast.expr:
    try:
        return ast.parse(expression, mode="eval").body
    except SyntaxError as error:
        raise ParamsError(
            f"grids: the catalogue's formula of '{name}', {expression}, cannot be read; choose another index"
        ) from error


def _value(node: ast.expr, known: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=word) if word in known:
            return known[word]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left, known), _value(right, known))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, known)
    raise ParamsError(f"grids: the catalogue's formula has '{ast.unparse(node)}', which is no arithmetic on bands")
