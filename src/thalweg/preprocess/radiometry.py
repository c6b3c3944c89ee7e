"""Digital numbers to reflectance and to the stored integers of a scene: pure numpy, any shape."""

import numpy as np

from thalweg.manifest.scene import NODATA
from thalweg.products import Layer

_LIMIT = 32767


def measured(digital: np.ndarray, layer: Layer) -> np.ndarray:
    """Where there is a measurement: not the layer's nodata value, and finite."""
    there = np.isfinite(digital) if digital.dtype.kind == "f" else np.ones(digital.shape, bool)
    return there if layer.nodata is None else there & (digital != layer.nodata)


def saturated(digital: np.ndarray, layer: Layer) -> np.ndarray:
    """Where the instrument saw more light than it could measure."""
    return np.zeros(digital.shape, bool) if layer.saturated is None else digital == layer.saturated


def to_reflectance(digital: np.ndarray, layer: Layer) -> np.ndarray:
    """Reflectance, float32; below zero where the offset exceeds the digital number, meaningless where not measured.

    Source: Sentinel-2 Products Specification Document, S2-PDGS-TAS-DI-PSD: (DN + BOA_ADD_OFFSET) / quantification.
    """
    return ((digital.astype(np.float64) + layer.offset) * layer.scale).astype(np.float32)


def to_stored(values: np.ndarray, there: np.ndarray, scale: float) -> tuple[np.ndarray, int]:
    """Physical values as int16 steps of `scale`, nodata where not `there`, and how many values had to be clipped."""
    steps = np.rint(np.where(there, values, 0).astype(np.float64) / scale)
    clipped = int(np.count_nonzero(np.abs(steps) > _LIMIT))
    stored = np.clip(steps, -_LIMIT, _LIMIT).astype(np.int16)
    stored[~there] = NODATA
    return stored, clipped
