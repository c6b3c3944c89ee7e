"""Crops of the crop world: their codes in Sen4AgriNet's taxonomy, their calendars, and how common they are.

Source: dates are those of crop calendars of Occitania and Catalonia, rounded (USDA FAS and AGRESTE); they are
illustrative, not measured.
"""

from dataclasses import dataclass

import numpy as np

from thalweg.sample.noise import Floats


@dataclass(frozen=True)
class Crop:
    """What grows on a parcel in one year; days are days of the year."""

    name: str
    code: int
    up: float
    """Half of the green has come."""
    down: float
    """Half of it has gone."""
    harvest: float
    """From here on the ground is bare."""
    top: float
    """Greatest share of the ground under leaves."""
    nir: float
    """Leaves' reflectance beyond 740 nm, against the average crop."""
    swir: float
    """The same in B11 and B12."""
    bloom: float | None = None
    """Day of full yellow bloom."""


CROPS = (
    Crop("wheat", 110, 80, 172, 195, 0.92, 1.00, 1.00),
    Crop("maize", 120, 160, 262, 290, 0.90, 1.06, 0.92),
    Crop("barley", 150, 70, 150, 175, 0.90, 0.97, 1.06),
    Crop("grass", 910, 55, 330, 400, 0.75, 0.98, 1.00),
    Crop("grapes", 330, 115, 285, 400, 0.42, 0.95, 1.08),
    Crop("rapeseed", 435, 58, 165, 190, 0.93, 1.08, 0.95, 112),
    Crop("sunflower", 438, 150, 232, 262, 0.85, 1.02, 0.97, 195),
    Crop("peas", 770, 95, 160, 180, 0.85, 1.04, 0.94),
    Crop("oats", 170, 74, 157, 182, 0.88, 0.99, 1.03),
    Crop("fallow", 970, 70, 200, 400, 0.22, 0.96, 1.10),
    Crop("sorghum", 140, 171, 266, 300, 0.84, 1.01, 0.97),
    Crop("rye", 160, 74, 178, 201, 0.90, 0.96, 1.05),
    Crop("potatoes", 510, 148, 236, 255, 0.88, 1.03, 0.93),
    Crop("other", 192, 125, 225, 260, 0.70, 1.00, 1.00),
)
"""The commonest first."""
CODES = np.array([crop.code for crop in CROPS])


def shares(imbalance: float) -> Floats:
    """Share of the parcels per crop by Zipf's law: its rank to the power of minus `imbalance`; 0 makes all equal."""
    weights = np.arange(1, len(CROPS) + 1, dtype=np.float64) ** -imbalance
    return np.asarray(weights / weights.sum(), np.float64)
