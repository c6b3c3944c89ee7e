"""An ensemble's params for tests, as params.yaml would give them."""

import json
from typing import Any

from thalweg.params.ensembles import Ensemble

PLAIN: dict[str, Any] = {
    "members": ["one"], "grid": "g60", "scenes": ["*"], "area": None, "onto": None, "select": "all", "reducer": "mean",
    "weights": None, "calibrate": "none", "tta": {"views": 1, "scales": [1]}, "overlaps": [0.5], "blend": "hann",
    "memory_gib": 2, "threshold": "iou", "conformal": None, "uncertainty": ["entropy", "disagreement"],
    "outputs": {"probs": "uint16", "members": False, "masks": False, "polygons": None, "lines": None},
}  # fmt: skip
"""One member on grid g60, nothing fitted but the cut of the best IoU."""


def make_ensemble(**changes: Any) -> Ensemble:
    """The plain ensemble with some keys changed."""
    return Ensemble.model_validate_json(json.dumps(PLAIN | changes))


def ensemble_yaml(**changes: Any) -> str:
    """The same on one line of YAML."""
    return json.dumps(PLAIN | changes)
