"""Prediction of areas of any size by overlapping windows; whole scenes, streamed to disk, are in `infer.scene`."""

from thalweg.infer.predictor import Predictor
from thalweg.infer.rows import iter_rows

__all__ = ["Predictor", "iter_rows"]
