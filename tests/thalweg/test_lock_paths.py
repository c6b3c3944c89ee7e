"""A lock comes by git from others: nothing in it may lead out of the store, and an empty one says so."""

import pytest
from catalogue_builder import locked

from thalweg.errors import LockError
from thalweg.manifest.items import read_facts
from thalweg.manifest.lock import Lock, read_lock, write_lock


def test_a_product_name_that_climbs_out_of_the_store(tmp_path):
    path = tmp_path / "a.products.json"
    write_lock(Lock(source="copernicus", query={}, products=(locked(),)), path)
    path.write_text(path.read_text().replace(locked().name, "../../evil"))
    with pytest.raises(LockError, match=r"products\.0\.name"):
        read_lock(path, "copernicus", {})


def test_an_asset_path_that_climbs_out_of_the_store():
    asset = {"band": None, "path": "../../evil", "url": "https://h/a", "size": None, "checksum": None}
    facts = {"form": "folder", "offset": 0.0, "offset_from": "", "assets": [asset]}
    with pytest.raises(LockError, match=r"facts\.assets\.0\.path"):
        read_facts(locked().model_copy(update={"facts": facts}))


def test_a_lock_that_no_search_has_filled_says_what_fills_it(tmp_path):
    path = tmp_path / "a.products.json"
    write_lock(Lock(source="copernicus", query={}, products=()), path)
    with pytest.raises(LockError, match=r"names no product yet; run `thalweg lock` once"):
        read_lock(path, "copernicus", {"products": ["x"]})
