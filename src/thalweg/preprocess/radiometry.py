"""Digital numbers to physical values and to the stored numbers of a scene: pure numpy, any shape."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from thalweg.errors import ProductError
from thalweg.manifest.scene import NODATA
from thalweg.products import Layer

LIMIT = 32767
"""Largest step of int16; its least value is nodata."""
STEPS: dict[str, float] = {
    "reflectance": 1e-4,
    "1": 1e-4,
    "%": 0.01,
    "dB": 0.01,
    "m": 0.5,
    "degree": 0.01,
    "K": 0.02,
    "DN": 1.0,
}
"""Unit → physical value of one stored step in int16: ±3.2767 of reflectance or a ratio, ±327 % or dB, ±16 383 m
(Everest included), ±327°, ±655 K, and digital numbers as they are."""


def step_of(unit: str, dtype: str, where: str) -> float:
    """Physical value per stored step of a channel: 1 in float32.

    Raises:
        ProductError: int16 has no step for such a unit.
    """
    if dtype == "float32":
        return 1.0
    if unit not in STEPS:
        raise ProductError(
            f"{where} has the unit '{unit}', for which int16 has no step (there are {', '.join(STEPS)}); set the "
            "grid's dtype to float32 in params.yaml, or give the product one of these units"
        )
    return STEPS[unit]


def measured(digital: np.ndarray, layer: Layer) -> np.ndarray:
    """Where there is a measurement: not the layer's nodata value, and finite."""
    there = np.isfinite(digital) if digital.dtype.kind == "f" else np.ones(digital.shape, bool)
    return there if layer.nodata is None else there & (digital != layer.nodata)


def saturated(digital: np.ndarray, layer: Layer) -> np.ndarray:
    """Where the instrument saw more light than it could measure."""
    return np.zeros(digital.shape, bool) if layer.saturated is None else digital == layer.saturated


def to_physical(digital: np.ndarray, layer: Layer) -> np.ndarray:
    """Physical values, float32, NaN where not measured; below zero where the offset exceeds the digital number.

    Source: Sentinel-2 Products Specification Document, S2-PDGS-TAS-DI-PSD: (DN + BOA_ADD_OFFSET) / quantification.
    """
    if _tabled(digital.dtype):
        return np.asarray(np.take(_physical_table(digital.dtype.str, _rule(layer)), _unsigned(digital)))
    return _to_physical(digital, _rule(layer))


def to_stored(values: np.ndarray, step: float, dtype: str) -> tuple[np.ndarray, int]:
    """Physical values as stored: in int16 as steps of `step`, in float32 as they are; nodata where NaN.

    Returns:
        The stored values, and how many had to be clipped because int16 cannot hold them.
    """
    absent = np.isnan(values)
    if dtype == "float32":
        return np.where(absent, np.float32(NODATA), values), 0
    steps = np.rint(np.where(absent, 0, values).astype(np.float64) / step)
    clipped = int(np.count_nonzero(np.abs(steps) > LIMIT))
    stored = np.clip(steps, -LIMIT, LIMIT).astype(np.int16)
    stored[absent] = NODATA
    return stored, clipped


def digital_to_stored(digital: np.ndarray, layer: Layer, step: float, dtype: str) -> tuple[np.ndarray, int]:
    """`to_stored` of `to_physical`, by a table of all digital numbers where these are of 16 bits or fewer."""
    if dtype == "float32" or not _tabled(digital.dtype):
        return to_stored(to_physical(digital, layer), step, dtype)
    table, clipped = _stored_table(digital.dtype.str, _rule(layer), step)
    numbers = _unsigned(digital)
    stored = np.asarray(np.take(table, numbers))
    at_limit = clipped is not None and (stored.max(initial=0) == LIMIT or stored.min(initial=0) <= -LIMIT)
    return stored, int(np.count_nonzero(clipped[numbers])) if clipped is not None and at_limit else 0


class _Rule(NamedTuple):
    scale: float
    offset: float
    nodata: float | None


def _rule(layer: Layer) -> _Rule:
    return _Rule(layer.scale, layer.offset, layer.nodata)


def _to_physical(digital: np.ndarray, rule: _Rule) -> np.ndarray:
    values = ((digital.astype(np.float64) + rule.offset) * rule.scale).astype(np.float32)
    values[~np.isfinite(values)] = np.nan
    if rule.nodata is not None:
        values[digital == rule.nodata] = np.nan
    return values


def _tabled(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "iu" and dtype.itemsize <= 2


def _unsigned(digital: np.ndarray) -> np.ndarray:
    """The bits as positions in a table."""
    return digital.view(f"u{digital.dtype.itemsize}")


def _every(dtype: str) -> np.ndarray:
    bytes_each = np.dtype(dtype).itemsize
    return np.arange(1 << 8 * bytes_each, dtype=f"u{bytes_each}").view(dtype)


@lru_cache(maxsize=64)
def _physical_table(dtype: str, rule: _Rule) -> np.ndarray:
    return _to_physical(_every(dtype), rule)


@lru_cache(maxsize=64)
def _stored_table(dtype: str, rule: _Rule, step: float) -> tuple[np.ndarray, np.ndarray | None]:
    """Stored value of every digital number, and which are clipped; None where none is."""
    values = _to_physical(_every(dtype), rule)
    stored, _ = to_stored(values, step, "int16")
    clipped = np.abs(np.rint(np.nan_to_num(values).astype(np.float64) / step)) > LIMIT
    return stored, clipped if clipped.any() else None
