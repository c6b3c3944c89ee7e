"""SAFE products that the sample does not make: 10 m images of L2A, and L1C with all thirteen bands, tiny and seeded."""

import re
import shutil
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from product_builder import SIZE, make_safe

from thalweg.bands import SENTINEL2

_LOSSLESS = {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES", "YCBCR420": "NO"}


def add_10m(safe: Path, seed: int = 0) -> dict[str, np.ndarray]:
    """Gives a product of the sample its images at 10 m; their digital numbers, some of them nodata."""
    (safe / "manifest.safe").unlink(missing_ok=True)
    rng = np.random.default_rng(seed)
    stem = next(safe.rglob("*_B02_20m.jp2")).name.replace("_B02_20m.jp2", "")
    numbers = {band: _numbers(rng, 10) for band in ("B02", "B03", "B04", "B08")}
    for band, values in numbers.items():
        folder = next(safe.rglob("IMG_DATA")) / "R10m"
        write(folder / f"{stem}_{band}_10m.jp2", values, safe, 10)
    return numbers


def make_l1c(folder: Path, baseline: str = "05.11", seed: int = 0) -> tuple[Path, dict[str, np.ndarray]]:
    """An L1C product, each band at its native resolution; the SAFE folder and its digital numbers."""
    level2 = make_safe(folder, baseline)
    safe = folder / level2.name.replace("MSIL2A", "MSIL1C")
    granule = next((level2 / "GRANULE").iterdir())
    home = safe / "GRANULE" / granule.name.replace("L2A", "L1C")
    home.mkdir(parents=True)
    shutil.copy(granule / "MTD_TL.xml", home)
    text = (level2 / "MTD_MSIL2A.xml").read_text()
    for old, new in (("MSIL2A", "MSIL1C"), ("BOA_QUANTIFICATION", "QUANTIFICATION"), ("BOA_ADD_OFF", "RADIO_ADD_OFF")):
        text = text.replace(old, new)
    (safe / "MTD_MSIL1C.xml").write_text(text)
    rng = np.random.default_rng(seed)
    numbers = {band.name: _numbers(rng, band.native_m) for band in SENTINEL2.values()}
    stem = re.sub(r"_B02_20m\.jp2$", "", next(level2.rglob("*_B02_20m.jp2")).name)
    for band, values in numbers.items():
        write(home / "IMG_DATA" / f"{stem}_{band}.jp2", values, level2, SENTINEL2[band].native_m)
    shutil.rmtree(level2)
    return safe, numbers


def write(path: Path, numbers: np.ndarray, like: Path, metres: int) -> None:
    """One JP2 image, lossless, at the place of another product's."""
    with rasterio.open(next(like.rglob("*_B02_20m.jp2"))) as other:
        crs, corner = other.crs, other.transform
    path.parent.mkdir(parents=True, exist_ok=True)
    place = Affine(metres, 0, corner.c, 0, -metres, corner.f)
    with rasterio.open(path, "w", **_LOSSLESS, crs=crs, transform=place, width=numbers.shape[1],
                       height=numbers.shape[0], count=1, dtype="uint16") as image:  # fmt: skip
        image.write(numbers, 1)


def _numbers(rng: np.random.Generator, metres: int) -> np.ndarray:
    edge = SIZE * 60 // metres
    smooth = rng.normal(0, 1, (edge, edge)).cumsum(0).cumsum(1)
    values = 2000 + 3000 * (smooth - smooth.min()) / np.ptp(smooth)
    values[rng.random((edge, edge)) < 0.02] = 0
    values[: edge // 6, : edge // 5] = 0
    return values.astype(np.uint16)
