"""Searches against recorded responses over local HTTP, and signatures."""

import datetime

import pytest
from replay import loopback_only, needs_fixtures, record, recorded, replaying

from thalweg.copernicus.search import Search
from thalweg.errors import CatalogueError
from thalweg.http.policy import Policy
from thalweg.stac.search import Question, iter_items
from thalweg.stac.signing import Signer

PATIENCE = Policy(connect_s=2, read_s=2, stall_s=5, attempts=3, backoff_s=0, backoff_max_s=0)


@pytest.fixture(autouse=True)
def _no_network():
    with loopback_only():
        yield


def question(url: str, **changes) -> Question:
    said = {"level": "L2A", "tiles": (), "area": (9.0, 47.0, 10.0, 48.0), "dates": (("2020-03-01", "2020-03-05"),),
            "cloud_cover_max": 100.0, "coverage_min": 0.0, "baseline_min": None, "baseline_rule": "newest",
            "best": "all"}  # fmt: skip
    return Question(f"{url}/v1", "sentinel-2-l2a", ("grid:code", "MGRS-"), Search(**(said | changes)))


@needs_fixtures
def test_earth_search_pages_are_walked_to_the_end():
    with replaying(recorded("earth_search_stac_paged")) as server:
        items = list(iter_items(question(server.url), PATIENCE))
    assert len({item["id"] for item in items}) == len(items) == 16
    searches = [body for method, _, body in server.requests if method == "POST"]
    assert searches[0]["collections"] == ["sentinel-2-l2a"]
    assert searches[0]["datetime"] == "2020-03-01T00:00:00Z/2020-03-05T23:59:59Z"
    assert [body.get("next", "")[:10] for body in searches] == ["", "2020-03-02", "2020-03-02"]


@needs_fixtures
def test_cdse_items_of_one_tile():
    with replaying(recorded("cdse_stac_s2_search")) as server:
        asked = question(server.url, tiles=("T32TNT",), cloud_cover_max=90.0)
        items = list(iter_items(asked, PATIENCE))
    assert {item["properties"]["grid:code"] for item in items} == {"MGRS-32TNT"}
    assert len(items) == 2
    (body,) = [body for method, _, body in server.requests if method == "POST"]
    assert body["query"] == {"eo:cloud_cover": {"lte": 90.0}, "grid:code": {"eq": "MGRS-32TNT"}}


@needs_fixtures
def test_an_empty_search_is_no_error_here():
    with replaying(recorded("cdse_stac_empty_search")) as server:
        assert list(iter_items(question(server.url), PATIENCE)) == []


@needs_fixtures
def test_429_and_503_are_tried_again():
    landing, slash, found = recorded("cdse_stac_empty_search")
    uri = found["request"]["uri"]
    busy = record("POST", uri, {"error": "WAF", "message": "Rate limit exceeded", "status": 429}, 429)
    down = record("POST", uri, "down", 503, "text/plain")
    with replaying([landing, slash, busy, down, found]) as server:
        assert list(iter_items(question(server.url), PATIENCE)) == []
    assert server.served["POST", "/v1/search"] == 3


@needs_fixtures
@pytest.mark.parametrize(("status", "body", "kind", "said"), [
    (400, {"detail": "bad bbox"}, "application/json", "bad bbox"),
    (200, "<html>maintenance</html>", "text/html", "JSONDecodeError"),
    (503, "down", "text/plain", "down"),
])  # fmt: skip
def test_a_catalogue_that_does_not_answer_the_question(status, body, kind, said):
    landing, slash, found = recorded("cdse_stac_empty_search")
    wrong = record("POST", found["request"]["uri"], body, status, kind)
    with (
        replaying([landing, slash, wrong]) as server,
        pytest.raises(CatalogueError, match=rf"/v1 cannot be searched for sentinel-2-l2a: .*{said}"),
    ):
        list(iter_items(question(server.url), PATIENCE))


def test_a_host_that_is_not_there():
    with pytest.raises(
        CatalogueError, match=r"http://127\.0\.0\.1:9/v1 cannot be searched .*correct fetch\.options, or try"
    ):
        list(iter_items(question("http://127.0.0.1:9"), PATIENCE))


def test_signatures_are_shared_renewed_and_kept_quiet():
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    asked = []

    def get(url):
        asked.append(url)
        return {"token": f"sig=secret{len(asked)}", "msft:expiry": "2026-01-01T00:45:00Z"}

    signer = Signer("https://pc/token/s2", get, lambda: now)
    assert signer.sign("https://blob/a") == "https://blob/a?sig=secret1"
    assert signer.sign("https://blob/b") == "https://blob/b?sig=secret1"
    now += datetime.timedelta(minutes=41)
    assert signer.sign("https://blob/b").endswith("secret2")
    assert asked == ["https://pc/token/s2"] * 2
    assert "secret" not in repr(signer)


@pytest.mark.parametrize("answer", [{}, [], {"token": "x", "msft:expiry": "soon"}])
def test_a_signer_without_a_token(answer):
    signer = Signer("https://pc/token/s2", lambda _url: answer, lambda: datetime.datetime.now(datetime.UTC))
    with pytest.raises(CatalogueError, match=r"https://pc/token/s2 answers without a token and its end"):
        signer.sign("https://blob/a")
