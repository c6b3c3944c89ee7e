"""The sample's truth as training-objective masks come: one float32 GeoTIFF of 0 and 255 per tile, at 60 m."""

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

from thalweg.sample import ground
from thalweg.sample.landscape import iter_blocks
from thalweg.sample.mgrs import locate
from thalweg.sample.safe import corner


def make_mask(folder: Path, *, tile: str, seed: int = 0, size_60m_px: int = 1830) -> Path:
    """Makes `<folder>/<tile>.tif`, whole or not at all: 255 where half a pixel or more is palaeochannel, else 0.

    As in the masks of torchbearer, the nodata tag says 0 although 0 means background.

    Args:
        folder: Gets the mask; made if need be.
        tile: MGRS tile; the mask covers the same ground as the product of that size.
        seed: Which ground.
        size_60m_px: Edge, pixels.

    Returns:
        The mask.

    Raises:
        ParamsError: The tile does not exist.
    """
    place = locate(tile)
    mask = np.zeros((size_60m_px, size_60m_px), np.float32)
    for block, (rows, cols), part in iter_blocks(*corner(place), 3 * size_60m_px):
        cells = ground.in_channel(seed, ground.Place(place.epsg, block.top, block.left, block.rows, block.cols))[part]
        height, width = cells.shape
        share = cells.reshape(height // 3, 3, width // 3, 3).mean(axis=(1, 3))
        mask[rows.start // 3 : rows.stop // 3, cols.start // 3 : cols.stop // 3] = np.where(share >= 0.5, 255, 0)
    folder.mkdir(parents=True, exist_ok=True)
    target, partial = folder / f"{tile}.tif", folder / f".{tile}.tif.part"
    with rasterio.open(partial, "w", driver="GTiff", height=size_60m_px, width=size_60m_px, count=1, dtype="float32",
                       nodata=0, crs=f"EPSG:{place.epsg}", transform=Affine(60, 0, place.ulx, 0, -60, place.uly),
                       compress="lzw", tiled=True, blockxsize=256, blockysize=256) as image:  # fmt: skip
        image.write(mask, 1)
    return partial.replace(target)
