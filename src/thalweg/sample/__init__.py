"""The embedded sample: seeded code that makes genuine-looking Sentinel-2 products and the masks that go with them.

One source of ground for the first `make train`, for the tests and for the benchmarks, at any size up to a full tile.
"""

from thalweg.sample.mask import make_mask
from thalweg.sample.safe import make_product

__all__ = ["make_mask", "make_product"]
