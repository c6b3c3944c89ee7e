"""How a crop looks on a day: shares of leaves, straw, blossom and soil, and the light that they send back."""

from dataclasses import dataclass

import numpy as np

from thalweg.sample.crops.kinds import CROPS
from thalweg.sample.noise import Floats, Ints
from thalweg.sample.spectra import BANDS, SPECTRA, index_of

GREENING_DAYS, WITHERING_DAYS, HARVEST_DAYS, BLOOM_DAYS = 12.0, 9.0, 3.0, 9.0
_MOST_BLOOM = 0.45
_LEAF = SPECTRA[index_of("green")]
_STRAW = SPECTRA[index_of("straw")]
_SOIL, _PALE = SPECTRA[index_of("soil")], SPECTRA[index_of("pale")]
_BLOOM = np.array([0.04, 0.05, 0.19, 0.20, 0.25, 0.36, 0.42, 0.44, 0.46, 0.45, 0.26, 0.15])
"""Rape in full yellow; illustrative."""
_NIR = [BANDS.index(name) for name in ("B06", "B07", "B08", "B8A", "B09")]
_SWIR = [BANDS.index(name) for name in ("B11", "B12")]


@dataclass(frozen=True)
class Stand:
    """Parcels: (P,) each."""

    kind: Ints
    """Place in `CROPS`."""
    delay: Floats
    """Days by which all comes later than in the crop's calendar."""
    vigour: Floats
    """Against the average parcel of the crop: of its greatest cover and its reflectance in the near infrared."""
    pale: Floats
    """Brightness of the soil, 0 … 1."""


def cover(stand: Stand, day: float) -> tuple[Floats, Floats, Floats]:
    """Shares (P,) of the ground under leaves, straw and blossom on a day of the year; the rest is soil.

    Leaves come and go by a double logistic; what has withered stands as straw until the harvest.
    Source: double logistic, Beck et al. 2006, doi:10.1016/j.rse.2005.10.021.
    """
    up, down, harvest, top, bloom = (
        np.array([np.nan if (value := getattr(crop, key)) is None else value for crop in CROPS])[stand.kind]
        for key in ("up", "down", "harvest", "top", "bloom")
    )
    at = day - stand.delay
    full = np.clip(top * stand.vigour, 0.0, 0.98)
    gone = _logistic((at - down) / WITHERING_DAYS)
    leaves = full * np.clip(_logistic((at - up) / GREENING_DAYS) - gone, 0.0, 1.0)
    straw = full * gone * (1 - _logistic((at - harvest) / HARVEST_DAYS))
    blossom = leaves * np.nan_to_num(_MOST_BLOOM * np.exp(-(((at - bloom) / BLOOM_DAYS) ** 2)))
    return leaves - blossom, straw, blossom


def reflectance(stand: Stand, day: float) -> Floats:
    """(P, band) in the order of `spectra.BANDS`."""
    leaves, straw, blossom = cover(stand, day)
    leaf = np.tile(_LEAF, (len(stand.kind), 1))
    leaf[:, _NIR] *= (np.array([crop.nir for crop in CROPS])[stand.kind] * stand.vigour)[:, None]
    leaf[:, _SWIR] *= np.array([crop.swir for crop in CROPS])[stand.kind][:, None]
    soil = _SOIL + stand.pale[:, None] * (_PALE - _SOIL)
    bare = 1 - leaves - straw - blossom
    mixed = leaves[:, None] * leaf + straw[:, None] * _STRAW + blossom[:, None] * _BLOOM + bare[:, None] * soil
    return np.asarray(mixed, np.float64)


def _logistic(values: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -60, 60))), np.float64)
