"""Bytes that move for the 60 m and the 20 m set of full-size products, against the whole zip, counted by the server.

Limits: 60 m set ≤ 6 %, 20 m set ≤ 35 %. Run: `PYTHONPATH=tests:. python benchmarks/fetch_bytes.py`.

How the sizes were made: `../shared/reference/copernicus-and-sentinel2.md`, section 3, gives those of real products
(R60m images 3.75 MB each, R20m 24 to 34 MB, R10m 120 to 135 MB). Here each image is as long as the mean of its folder,
scaled down by 64 in all files alike so that the run takes seconds, with random bytes behind a JPEG 2000 signature.
Metadata are the sample's own and not scaled down, so the shares are upper bounds. All that any host sent counts.
"""

import os
import random
import sys
import tempfile
from pathlib import Path

from fetch_runner import freeze, parse
from standin import LOGIN, PASSWORD, Standin
from standin.download import zip_of

from thalweg import sample
from thalweg.http.expected import JP2
from thalweg.sample import metadata
from thalweg.sample.identity import identify
from thalweg.sources import copernicus

SCALE = 64
B60 = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B09", "B11", "B12"]
B20 = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12"]
MEGABYTES = {"R60m": 3.75, "R20m": 32.4, "R10m": 127.5, "SCL_20m": 1.2, "SCL_60m": 0.3, "TCI_10m": 130.0,
             "TCI_20m": 33.0, "TCI_60m": 3.75, "AOT_10m": 1.0, "WVP_10m": 60.0, "AOT_20m": 0.5, "WVP_20m": 15.0,
             "AOT_60m": 0.2, "WVP_60m": 1.8}  # fmt: skip
"""By folder, or by band and resolution where those differ; AOT, WVP and TCI so that the product has 1.02 GB."""
SETS = {"60 m": ({"R60m": [*B60, "SCL"]}, 0.06), "20 m": ({"R20m": [*B20, "SCL"]}, 0.35)}


def make_full_size(folder: Path, tile: str) -> Path:
    """A product whose images have real sizes, with a manifest that states them."""
    safe = sample.make_product(folder, tile=tile, date="2025-10-03", seed=3, size_60m_px=16)
    dice = random.Random(tile)
    images = next(safe.glob("GRANULE/*/IMG_DATA"))
    stem = next(images.rglob("*_B02_60m.jp2")).name.removesuffix("B02_60m.jp2")
    wanted = [(place, band) for place, bands in (("R10m", ["B02", "B03", "B04", "B08"]), ("R20m", B20), ("R60m", B60))
              for band in bands]  # fmt: skip
    wanted += [(f"R{name[4:]}", name[:3]) for name in MEGABYTES if "_" in name]
    for place, band in wanted:
        path = images / place / f"{stem}{band}_{place[1:]}.jp2"
        path.parent.mkdir(exist_ok=True)
        size = int(MEGABYTES.get(f"{band}_{place[1:]}", MEGABYTES[place]) * 1e6 / SCALE)
        path.write_bytes(JP2 + dice.randbytes(size - len(JP2)))
    (safe / "manifest.safe").unlink()
    files = sorted(path for path in safe.rglob("*") if path.is_file())
    identity = identify(tile, "2025-10-03", "05.11", 3)
    (safe / "manifest.safe").write_bytes(metadata.manifest_xml(identity, safe, files))
    return safe


def main() -> None:
    """Measures and judges."""
    failed = False
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        os.environ |= {"COPERNICUS_LOGIN": LOGIN, "COPERNICUS_PASS": PASSWORD, "XDG_CACHE_HOME": str(home / "cache")}
        safes = [make_full_size(home / "made", tile) for tile in ("T20KNA", "T20KNB")]
        whole = sum(len(zip_of(safe)) for safe in safes)
        print(f"{'set':<8}{'moved MB':>10}{'zip MB':>9}{'share':>8}{'limit':>8}   (sizes ÷ {SCALE})")
        for number, (title, (bands, limit)) in enumerate(SETS.items()):
            with Standin(safes) as cdse:
                said, given = freeze(cdse, home / str(number), bands=bands)
                copernicus.deliver(parse(said), given, home / str(number) / "raw", home / str(number) / "store")
                moved = sum(one.sent for one in cdse.requests)
            share = moved / whole
            failed |= share > limit
            print(f"{title:<8}{moved / 1e6:>10.2f}{whole / 1e6:>9.2f}{share:>8.1%}{limit:>8.0%}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
