"""Several members, one map: predict, bring onto one grid, combine, mosaic, score, write.

All rasters are streamed through windows, and what is not yet done lies in a scratch folder beside the map's: peak
memory depends on the width of a scene, not on its height or on the number of scenes. Whatever is chosen or fitted is so
on validation pixels alone.
"""

from thalweg.ensemble.apply import apply_ensemble
from thalweg.ensemble.build import build_map

__all__ = ["apply_ensemble", "build_map"]
