"""Labels as preparing takes them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thalweg import params
from thalweg.params.masks import Masks


@dataclass(frozen=True)
class Labels:
    """Where labels lie and what they mean."""

    masks: Masks
    folder: Path


def no_labels(scratch: Path) -> Labels:
    """No label anywhere."""
    values: dict[str, Any] = {
        "input": str(scratch), "patterns": [], "match": "ground", "band": None, "crs": None, "vector": None,
        "zero": "background", "values": {}, "other": "error", "threshold": None, "encoder": None, "area": None,
        "outside": "unlabelled", "prior": None,
    }  # fmt: skip
    return Labels(params.parse(Masks, values, "masks", scratch), scratch)
