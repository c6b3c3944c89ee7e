"""The crop world as a source: products with all layers, heights beside, nothing made twice."""

import pytest

from thalweg import sources
from thalweg.errors import ParamsError
from thalweg.manifest.products import Product
from thalweg.params.fetch import Fetch
from thalweg.sample import crops


def group(**changes):
    return {
        "tile": "31TCJ",
        "year": 2019,
        "patch_x": [8],
        "patch_y": [10],
        "label_noise": 0.1,
        "undeclared": 0.0,
    } | changes


def fetched(folder, *groups, out="raw", **changes) -> list[Product]:
    options = {"seed": 1, "edge_px": 60, "revisit_days": 60, "missing": 0, "cloud_cover": 0, "imbalance": 1, "spread": 1,
               "patches": list(groups)} | changes  # fmt: skip
    fetch = Fetch(source="crops", input="src/thalweg/sample", masks="masks/none.yaml", elevation=None, options=options)
    return sources.fetch_products(fetch, folder / out, folder / "store")


def test_patches_and_their_heights_are_products(tmp_path, monkeypatch):
    products = fetched(tmp_path, group(patch_y=[10, 11]))
    scenes = [product for product in products if product.role == "scene"]
    assert [product.name for product in scenes] == ["2019_31TCJ_patch_08_10", "2019_31TCJ_patch_08_11"]
    assert {"B02", "B8A", "B10", "labels", "parcels", "truth"} < set(scenes[0].bands)
    assert scenes[0].scale == 1e-4
    heights = [product for product in products if product.role == "elevation"]
    assert heights
    assert all((tmp_path / "raw" / product.path).is_file() and product.unit == "m" for product in heights)
    for name in ("make_patch", "make_heights"):
        monkeypatch.setattr(crops, name, None)
    assert fetched(tmp_path, group(patch_y=[10, 11]), out="again") == products


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        ([group(), group(label_noise=0)], "names 2019_31TCJ_patch_08_10 twice"),
        ([group(), group(tile="32TLP")], "lie in the UTM zones EPSG:32631, EPSG:32632, but a crop world lies in one"),
        ([group(patch_x=[30])], "a tile has patches 0 to 29, not 30"),
        ([group(tile="31TIJ")], "tile 'T31TIJ' is no MGRS square"),
    ],
)
def test_worlds_that_cannot_be_are_refused(tmp_path, groups, says):
    with pytest.raises(ParamsError, match=says):
        fetched(tmp_path, *groups)
