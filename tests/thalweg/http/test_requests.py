"""T19–T25 and T30: where a request may go, what an answer means, and how long it is waited for."""

import email.utils
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from standin.faults import Fault, redirect, says, status, zipper
from transport_builder import (
    BAND,
    HASTY,
    POLICY,
    anonymous,
    find_file,
    make_session,
    promise,
    start_download,
    url_of,
)

from thalweg.errors import CredentialsError, NotFoundError, RefusedError, UnreachableError
from thalweg.http.answers import retry_after_s
from thalweg.http.auth import is_trusted


def bring(cdse, safe, tmp_path, policy=POLICY, url=None):
    source = find_file(safe)
    target = tmp_path / "out" / source.name
    found = make_session(cdse, tmp_path, policy).download(url or url_of(cdse, source), target, promise(source))
    assert found.read_bytes() == source.read_bytes()
    assert [path.name for path in target.parent.iterdir()] == [source.name]


def test_t19_the_bearer_goes_on_to_a_host_that_is_listed(cdse, safe, tmp_path):
    url = url_of(cdse, find_file(safe)).replace(cdse.hosts.download, cdse.hosts.catalogue)
    bring(cdse, safe, tmp_path, url=url)
    [asked], [sent] = cdse.seen("$value", "catalogue"), cdse.seen("$value", "download")
    assert (asked.status, sent.status) == (301, 200)
    assert sent.headers["Authorization"] == "Bearer access-0001-secret"


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_t19_a_redirect_to_a_foreign_host_is_refused(cdse, safe, tmp_path, code):
    cdse.fault(BAND, redirect(f"{cdse.origin('foreign')}/file?token=x", code), times=None)
    with pytest.raises(RefusedError, match=r"redirects to the foreign host '127.0.0.1:\d+', where no token may go"):
        bring(cdse, safe, tmp_path)
    assert not cdse.seen(host="foreign")
    assert len(cdse.seen(BAND)) == 1


def test_t19_the_first_address_may_be_foreign_too(cdse, safe, tmp_path):
    with pytest.raises(RefusedError, match="is not among the trusted hosts of this account"):
        bring(cdse, safe, tmp_path, url=f"{cdse.origin('foreign')}/file")
    assert not cdse.requests


def test_t19_a_circle_of_redirects_ends(cdse, safe, tmp_path):
    url = url_of(cdse, find_file(safe))
    cdse.fault(BAND, redirect(f"{url}?2"))
    cdse.fault(BAND, redirect(url))
    with pytest.raises(RefusedError, match="redirects in a circle"):
        bring(cdse, safe, tmp_path)
    for number in range(9):
        cdse.fault(BAND, redirect(f"{url}?{number}"))
    with pytest.raises(RefusedError, match="redirects in a circle"):
        bring(cdse, safe, tmp_path)


def test_t19_without_an_account_a_redirect_may_lead_elsewhere(cdse, tmp_path):
    cdse.fault("Products", redirect(f"{cdse.origin('foreign')}/file"))
    assert anonymous(tmp_path).read(f"{cdse.hosts.catalogue}/Products") == b"hello, stranger"
    assert "Authorization" not in cdse.seen(host="foreign")[0].headers


def test_t19_a_redirect_must_lead_over_http(cdse, tmp_path):
    cdse.fault("Products", redirect("file:///etc/passwd"))
    with pytest.raises(RefusedError, match="which is not secure"):
        anonymous(tmp_path).read(f"{cdse.hosts.catalogue}/Products")


@pytest.mark.parametrize(("url", "trusted"), [
    ("https://download.dataspace.copernicus.eu/odata", True),
    ("https://download.dataspace.copernicus.eu:443/odata", True),
    ("http://download.dataspace.copernicus.eu/odata", False),
    ("https://download.dataspace.copernicus.eu:8443/odata", False),
    ("https://dataspace.copernicus.eu.evil.org/odata", False),
    ("https://evil.org/https://download.dataspace.copernicus.eu", False),
    ("https://download.dataspace.copernicus.eu@evil.org/", False),
    ("https://evil.org#.dataspace.copernicus.eu", False),
    ("https://evil.org\\.dataspace.copernicus.eu", False),
])  # fmt: skip
def test_t19_what_a_pattern_of_trusted_hosts_means(url, trusted):
    assert is_trusted(url, ("https://*.dataspace.copernicus.eu",)) is trusted


def test_t19_a_netrc_gives_no_rights(cdse, safe, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password other\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    bring(cdse, safe, tmp_path)
    assert {one.headers.get("Authorization", "")[:6] for one in cdse.requests} == {"", "Bearer"}


def test_t20_a_token_that_ends_in_the_middle_is_renewed_and_the_file_asked_again(cdse, safe, tmp_path):
    cdse.fault(BAND, Fault(act=cdse.identity.revoke))
    bring(cdse, safe, tmp_path)
    assert [one.status for one in cdse.seen(BAND)] == [401, 200]
    assert cdse.identity.issued == ["password", "refresh_token"]


def test_t20_but_once_only(cdse, safe, tmp_path):
    cdse.fault(BAND, zipper(401, 604, "Token not found"), times=None)
    with pytest.raises(CredentialsError, match=r"401 \(DAT-ZIP-604 Token not found\); the account may not read this"):
        bring(cdse, safe, tmp_path)
    assert len(cdse.seen(BAND)) == 2


@pytest.mark.parametrize("fault", [
    zipper(401, 609, "Token audience not allowed"), zipper(403, 608, "Access forbidden"),
    zipper(400, 104, "Malformed OData request path"), zipper(422, 111, "badly formed uuid"),
    status(403, {"status": "error", "data": {"message": "This request was rejected due to a violation"}}),
])  # fmt: skip
def test_t21_some_refusals_are_for_good(cdse, safe, tmp_path, fault):
    cdse.fault(BAND, fault, times=None)
    with pytest.raises(RefusedError, match=r"answered 4\d\d \(.+\); asking again would not help"):
        bring(cdse, safe, tmp_path)
    assert len(cdse.seen(BAND)) == 1
    assert cdse.identity.issued == ["password"]


def test_t22_what_is_not_there_is_an_error_of_its_own(cdse, safe, tmp_path):
    cdse.catalogue.delete(safe.name)
    with pytest.raises(NotFoundError, match=r"answered 404 \(.*not found\): there is no such thing"):
        bring(cdse, safe, tmp_path)
    assert len(cdse.seen(BAND)) == 1
    url = f"{cdse.hosts.catalogue}/DeletedProducts?%24filter=Name%20eq%20'{safe.name}'"
    [row] = anonymous(tmp_path).json("GET", url)["value"]
    assert row["DeletionCause"] == "Duplicated product"


def test_t23_too_many_sessions_without_a_word_on_when(cdse, safe, tmp_path):
    cdse.fault(BAND, zipper(429, 100, "Max session number 4 exceeded"), times=3)
    bring(cdse, safe, tmp_path)
    assert [one.status for one in cdse.seen(BAND)] == [429, 429, 429, 200]


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_t23_too_many_sessions_and_when_to_return(cdse, safe, tmp_path, form):
    when = "1" if form == "seconds" else email.utils.formatdate(time.time() + 2, usegmt=True)
    cdse.fault(BAND, zipper(429, 100, "Max session number 4 exceeded", Retry_After=when))
    began = time.time()
    bring(cdse, safe, tmp_path)
    assert 0.9 < time.time() - began < 3


@pytest.mark.parametrize(("text", "least", "most"), [
    ("7", 7, 7), (" 0 ", 0, 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
])  # fmt: skip
def test_t23_what_retry_after_says(text, least, most):
    assert least <= retry_after_s({"Retry-After": text}) <= most


@pytest.mark.parametrize("text", ["", "soon", "-3", "1.5"])
def test_t23_what_retry_after_does_not_say(text):
    assert retry_after_s({"Retry-After": text}) is None


def test_t23_an_endless_wait_ends_the_run_instead(cdse, safe, tmp_path):
    cdse.fault(BAND, status(429, {"error": "WAF", "message": "Rate limit exceeded"}, Retry_After="86400"))
    with pytest.raises(UnreachableError, match=r"WAF Rate limit exceeded\) and asks to wait 86400 s"):
        bring(cdse, safe, tmp_path)


def test_t24_no_more_than_four_streams_at_a_time(cdse, safe, tmp_path):
    cdse.pause = 0.04
    files = sorted(safe.rglob("*.jp2"))[:12]
    session = make_session(cdse, tmp_path)
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda one: session.download(url_of(cdse, one), tmp_path / one.name, promise(one)), files))
    assert cdse.max_concurrent == 4
    assert {one.status for one in cdse.seen("$value")} == {200}


def test_t24_across_processes_too(cdse, safe, tmp_path):
    cdse.pause = 0.04
    files = sorted(safe.rglob("*.jp2"))[:16]
    runs = [
        start_download(cdse, tmp_path, {one: tmp_path / name / one.name for one in files[number::2]})
        for number, name in enumerate("ab")
    ]
    assert [run.communicate(timeout=30)[1] for run in runs] == ["", ""]
    assert 1 < cdse.max_concurrent <= 4
    assert [one.status for one in cdse.seen("$value")] == [200] * 16
    assert cdse.identity.issued == ["password"]


@pytest.mark.parametrize("code", [408, 500, 502, 503, 504])
def test_t25_a_server_that_stumbles(cdse, safe, tmp_path, code):
    cdse.fault(BAND, status(code, b"<html><h1>Bad day</h1></html>"), times=2)
    bring(cdse, safe, tmp_path)
    assert [one.status for one in cdse.seen(BAND)] == [code, code, 200]


def test_t25_a_server_that_has_fallen(cdse, safe, tmp_path):
    cdse.fault(BAND, status(503, b"<html><h1>Bad day</h1></html>"), times=None)
    with pytest.raises(UnreachableError, match=r"answered 503 \(Bad day\); gave up after 4 attempts, run it again"):
        bring(cdse, safe, tmp_path)
    assert len(cdse.seen(BAND)) == POLICY.attempts


def test_t25_a_server_that_is_not_there(tmp_path):
    with pytest.raises(UnreachableError, match=r"cannot be reached .*refused.*gave up after 4 attempts"):
        anonymous(tmp_path).json("GET", "http://127.0.0.1:9/odata")


@pytest.mark.parametrize("url", ["nowhere", "ftp://127.0.0.1/x", "http://"])
def test_an_address_that_is_none(tmp_path, url):
    with pytest.raises(RefusedError, match="is no address to ask"):
        anonymous(tmp_path).json("GET", url)


def test_an_answer_that_is_no_json_is_asked_again(cdse, tmp_path):
    cdse.fault("Products", says(b"<html>Maintenance</html>"), times=None)
    with pytest.raises(UnreachableError, match="answered no JSON but b'<html>Maintenance</html>'"):
        anonymous(tmp_path).json("GET", f"{cdse.hosts.catalogue}/Products")
    assert len(cdse.requests) == POLICY.attempts


def test_t30_an_answer_that_never_comes(cdse, tmp_path):
    cdse.fault("Products", Fault(delay=0.6))
    began = time.monotonic()
    assert anonymous(tmp_path, HASTY).json("GET", f"{cdse.hosts.catalogue}/Products")["value"]
    assert 0.3 < time.monotonic() - began < 1
    assert len(cdse.requests) == 2


def test_the_waits_grow_and_are_bounded():
    waits = [[POLICY.wait_s(failures) for _ in range(50)] for failures in (1, 2, 3, 30, 3000)]
    assert [round(max(some), 2) for some in waits] == [0.01, 0.02, 0.04, 0.05, 0.05]
    assert all(min(some) >= 0.5 * most for some, most in zip(waits, (0.01, 0.02, 0.04, 0.05, 0.05), strict=True))
