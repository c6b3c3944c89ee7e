"""A handful of end members: surface reflectance of plausible covers in the twelve L2A bands.

Source: values read off typical curves in the USGS Spectral Library 7 (doi:10.3133/ds1035) and of Sentinel-2 scenes of
the dry Chaco, rounded; they are illustrative, not measured.
"""

import numpy as np

BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")

_TABLE = {
    #             B01   B02   B03   B04   B05   B06   B07   B08   B8A   B09   B11   B12
    "woods":     (.022, .028, .047, .036, .080, .190, .232, .245, .255, .258, .150, .072),
    "bare_woods": (.034, .042, .060, .066, .098, .150, .172, .182, .194, .200, .215, .128),
    "green":     (.024, .032, .072, .044, .112, .290, .365, .382, .396, .392, .205, .100),
    "straw":     (.050, .064, .094, .118, .152, .196, .218, .232, .248, .256, .305, .205),
    "soil":      (.060, .076, .104, .140, .166, .186, .200, .210, .224, .230, .305, .262),
    "pale":      (.098, .124, .166, .212, .236, .252, .262, .272, .284, .284, .365, .318),
    "marsh":     (.024, .032, .056, .042, .086, .178, .214, .222, .230, .228, .118, .056),
    "ash":       (.034, .040, .048, .056, .064, .078, .088, .094, .104, .108, .158, .146),
    "water":     (.046, .056, .076, .066, .056, .038, .035, .030, .026, .024, .013, .009),
    "cloud":     (.560, .570, .560, .570, .580, .590, .595, .600, .600, .560, .440, .330),
}  # fmt: skip

COVERS = tuple(_TABLE)
"""Names of the end members, in the order of the rows of `SPECTRA`."""
SPECTRA = np.array([_TABLE[name] for name in COVERS])
"""(cover, band) reflectance."""


def index_of(cover: str) -> int:
    """Row of an end member."""
    return COVERS.index(cover)
