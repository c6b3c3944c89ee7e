"""A crop world: patches in Sen4AgriNet's form whose fields follow the seasons, hard enough that sampling matters.

Fields are parcels with one crop per year. Rare crops resemble common ones (rye wheat, oats barley, sorghum maize), some
farmers declare the wrong crop or none, seasons differ by year, tile and height, clouds and missing dates leave gaps.
"""

from thalweg.sample.crops.patch import PATCHES, PIXEL_M, Place, World, make_patch
from thalweg.sample.crops.relief import make_heights, tiles_under

__all__ = ["PATCHES", "PIXEL_M", "Place", "World", "make_heights", "make_patch", "tiles_under"]
