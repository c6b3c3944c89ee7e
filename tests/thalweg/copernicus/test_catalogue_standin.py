"""The catalogue over real HTTP, by the stand-in."""

import pytest
from catalogue_builder import product_name, search
from standin import Standin, faults

from thalweg.copernicus.account import Account
from thalweg.copernicus.catalogue import Catalogue
from thalweg.copernicus.hosts import Hosts, Patience
from thalweg.copernicus.keys import Wish
from thalweg.errors import CatalogueError, RefusedError, UnreachableError

PATIENCE = Patience(connections=2, connect_s=2, read_s=2, stall_s=5, attempts=2, backoff_s=0.01, backoff_max_s=0.02)
NAMES = [product_name(f"202510{day:02d}") for day in range(1, 8)]


@pytest.fixture
def cdse():
    with Standin() as standin:
        for name in NAMES:
            standin.catalogue.add(f"{name}.SAFE")
        yield standin


@pytest.fixture
def catalogue(cdse, tmp_path) -> Catalogue:
    return Account(Hosts(**cdse.hosts._asdict()), PATIENCE, "https", tmp_path).catalogue


def test_t09_pages_over_http(cdse, catalogue):
    cdse.catalogue.page_max = 3
    assert sorted(entry.name for entry in catalogue.search(search())) == NAMES
    assert len(cdse.seen("/Products", "catalogue")) == 3
    assert not [one for one in cdse.requests if "Authorization" in one.headers]


def test_t10_beyond_the_window_over_http(cdse, tmp_path):
    cdse.catalogue.skip_max, cdse.catalogue.page_max = 4, 2
    account = Account(Hosts(**cdse.hosts._asdict()), PATIENCE, "https", tmp_path)
    found = Catalogue(account.way.listing, cdse.hosts.catalogue, window=4).search(search())
    assert sorted(entry.name for entry in found) == NAMES


def test_t11_422_is_permanent_and_says_why(cdse, catalogue):
    body = {"detail": [{"type": "less_than_equal", "loc": ["query", "$skip"],
                        "msg": "Input should be less than or equal to 10000", "input": "10001"}]}  # fmt: skip
    cdse.fault("/Products", faults.status(422, body), times=None)
    with pytest.raises(RefusedError, match=r"answered 422 .*less than or equal to 10000.*asking again would not help"):
        catalogue.search(search())
    assert len(cdse.seen("/Products", "catalogue")) == 1


def test_t12_400_is_permanent_and_says_why(cdse, catalogue):
    cdse.fault("/Products", faults.status(400, {"detail": {"message": "Invalid field: Nmae"}}), times=None)
    with pytest.raises(RefusedError, match=r"answered 400 .*Invalid field: Nmae"):
        catalogue.search(search())
    assert len(cdse.seen("/Products", "catalogue")) == 1


def test_t13_nothing_over_http(catalogue):
    with pytest.raises(CatalogueError, match=r"has no product for .*'33TVM'"):
        catalogue.search(search(tiles=("T33TVM",)))


def test_t17_html_with_200_over_http(cdse, catalogue):
    cdse.fault("/Products", faults.says(b"<html>maintenance</html>"), times=None)
    with pytest.raises(UnreachableError, match="answered no JSON but b'<html>maintenance"):
        catalogue.search(search())
    cdse.fault("/Products", faults.says(b'{"value": {}}'), times=None)


def test_t18_over_http(catalogue):
    assert len(catalogue.search(search(tiles=("20KNA",)))) == len(catalogue.search(search(tiles=("T20KNA",)))) == 7


def test_one_product_by_name_id_and_key(cdse, catalogue):
    row = cdse.catalogue.rows[2]
    assert catalogue.find(Wish("id", row["Id"])).name == NAMES[2]
    assert catalogue.find(Wish("name", NAMES[2])).id == row["Id"]
    with pytest.raises(CatalogueError, match="means several products"):
        catalogue.find(Wish("key", "T20KNA_20251003T174955"))


def test_t22_deleted_over_http(cdse, catalogue):
    row = cdse.catalogue.rows[2]
    cdse.catalogue.delete(f"{NAMES[2]}.SAFE")
    newer = NAMES[2].replace("_N0511_", "_N0600_")
    cdse.catalogue.add(f"{newer}.SAFE")
    for wish in (Wish("id", row["Id"]), Wish("name", NAMES[2])):
        with pytest.raises(CatalogueError, match=rf"has deleted {NAMES[2]} \(Duplicated product.*succeeded by {newer}"):
            catalogue.find(wish)
