"""Sentinel-2 MSI bands: names, order in the metadata, wavelengths, and where each is delivered.

Source: Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD), tables of band ids and of L2A content.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Band:
    """One spectral band of the MSI instrument."""

    name: str
    """`B01` … `B12`, `B8A`."""
    band_id: int
    """Index in the product's XML (`band_id` of BOA_ADD_OFFSET)."""
    wavelength_nm: float
    """Central wavelength of Sentinel-2A, nanometres."""
    bandwidth_nm: float
    """Full width at half maximum, nanometres."""
    native_m: int
    """Ground sampling of the instrument, metres."""


SENTINEL2: dict[str, Band] = {
    band.name: band
    for band in (
        Band("B01", 0, 442.7, 21, 60),
        Band("B02", 1, 492.4, 66, 10),
        Band("B03", 2, 559.8, 36, 10),
        Band("B04", 3, 664.6, 31, 10),
        Band("B05", 4, 704.1, 15, 20),
        Band("B06", 5, 740.5, 15, 20),
        Band("B07", 6, 782.8, 20, 20),
        Band("B08", 7, 832.8, 106, 10),
        Band("B8A", 8, 864.7, 21, 20),
        Band("B09", 9, 945.1, 20, 60),
        Band("B10", 10, 1373.5, 31, 60),
        Band("B11", 11, 1613.7, 91, 20),
        Band("B12", 12, 2202.4, 175, 20),
    )
}

L2A_BANDS: dict[int, tuple[str, ...]] = {
    10: ("B02", "B03", "B04", "B08"),
    20: ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12"),
    60: ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B09", "B11", "B12"),
}
"""Reflectance bands that an L2A product delivers per resolution folder (R20m has no B01 before baseline 04.00)."""


def wavelength_nm(name: str) -> float | None:
    """Central wavelength of a band by name, nanometres; None for a channel that is no Sentinel-2 band."""
    return SENTINEL2[name].wavelength_nm if name in SENTINEL2 else None
