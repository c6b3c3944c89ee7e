"""How many bytes a product's bands have, about: for tables before anything is fetched.

Source: sizes of twelve products of 0.44 to 1.22 GB, in reference/copernicus-and-sentinel2.md, section 3. JPEG 2000 at
the products' fixed rates, so images of a resolution differ little; those of a swath edge are smaller.
"""

from collections.abc import Mapping, Sequence

from thalweg.manifest.lock import LockedProduct

_METADATA = 200_000
_IMAGE = {"R10m": 128_000_000, "R20m": 32_400_000, "R60m": 3_750_000, "L1C": 60_000_000}
_CODES = {"R20m": 1_200_000, "R60m": 300_000}


def about_bytes(product: LockedProduct, bands: Mapping[str, Sequence[str]]) -> int:
    """Bytes of the wanted files; of the zip where no bands are wanted (0 where the catalogue does not know)."""
    if not bands:
        return product.size or 0
    full = sum(_about(folder, band) for folder, names in bands.items() for band in names)
    about = _METADATA + int(full * (1.0 if product.coverage is None else product.coverage))
    return min(about, product.size) if product.size else about


def _about(folder: str, band: str) -> int:
    return _CODES[folder] if band == "SCL" and folder in _CODES else _IMAGE[folder]
