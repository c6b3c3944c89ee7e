"""T26–T34 and T38: a body that is not what was promised, what can be resumed, and what is never accepted."""

import hashlib
import time

import pytest
from standin.download import zip_of
from standin.faults import Fault, says, status
from transport_builder import (
    BAND,
    HASTY,
    POLICY,
    anonymous,
    find_file,
    make_session,
    promise,
    url_of,
)

from thalweg.errors import DamagedError, ParamsError, RefusedError, UnreachableError
from thalweg.http.expected import JP2, XML, ZIP, Checksum, Expected

ERROR_PAGES = (
    b'{"code": "DAT-ZIP-100", "message": "max session number exceeded"}',
    b"<!DOCTYPE html><html><body>" + b"Sign in. " * 40,
    b"",
)


class Fetching:
    """One band on its way from the stand-in."""

    def __init__(self, cdse, safe, folder):
        self.cdse, self.folder, self.source = cdse, folder, find_file(safe)
        self.target = folder / "out" / self.source.name
        self.content = self.source.read_bytes()

    def __call__(self, policy=POLICY, **changes):
        expected = promise(self.source, **changes)
        make_session(self.cdse, self.folder, policy).download(url_of(self.cdse, self.source), self.target, expected)
        return self

    def put_part(self, count, content=None, etag=None):
        """As an interrupted run leaves it."""
        self.target.parent.mkdir(parents=True)
        self.target.with_name(f"{self.target.name}.part").write_bytes((content or self.content)[:count])
        if etag:
            self.target.with_name(f"{self.target.name}.part.etag").write_text(etag)
        return self

    @property
    def left(self):
        """Names in the folder."""
        return sorted(path.name.removeprefix(self.target.stem) for path in self.target.parent.iterdir())

    @property
    def is_whole(self):
        return self.left == [".jp2"] and self.target.read_bytes() == self.content

    @property
    def statuses(self):
        return [one.status for one in self.cdse.seen(BAND)]

    @property
    def ranges(self):
        return [one.headers.get("Range") for one in self.cdse.seen(BAND)]


@pytest.fixture
def fetch(cdse, safe, tmp_path):
    return Fetching(cdse, safe, tmp_path)


def test_what_is_there_is_not_fetched_again(cdse, fetch):
    assert fetch().is_whole
    count = len(cdse.requests)
    assert fetch().is_whole
    assert len(cdse.requests) == count


def test_what_is_there_but_wrong_is_fetched_again(fetch):
    fetch().target.write_bytes(fetch.content[:-1] + b"?")
    assert fetch().is_whole
    assert fetch.statuses == [200, 200]


@pytest.mark.parametrize("fault", [
    Fault(cut=500), Fault(cut=500, chunked=True, chunk_end=False), Fault(cut=500, chunked=True), Fault(cut=0),
    Fault(cut=5, chunked=True),
], ids=["length", "broken_chunks", "whole_chunks", "nothing", "less_than_a_signature"])  # fmt: skip
def test_t26_t27_a_body_that_ends_early_is_asked_again(cdse, fetch, fault):
    cdse.fault(BAND, fault, times=2)
    assert fetch().is_whole
    assert fetch.statuses == [200, 200, 200]


def test_t26_a_body_that_always_ends_early_is_given_up(cdse, fetch):
    cdse.fault(BAND, Fault(cut=500), times=None)
    with pytest.raises(UnreachableError, match=r"broke off|ended after"):
        fetch()
    assert len(fetch.statuses) == POLICY.attempts
    assert fetch.left == [".jp2.part"]


def test_t27_without_size_and_checksum_a_broken_chunk_is_told_all_the_same(cdse, fetch):
    cdse.fault(BAND, Fault(cut=500, chunked=True, chunk_end=False))
    assert fetch(size=None, checksum=None).is_whole


def test_t28_a_body_longer_than_the_manifest_says(cdse, fetch):
    cdse.fault(BAND, Fault(longer=7))
    assert fetch().is_whole
    assert fetch.statuses == [200, 200]


@pytest.mark.parametrize("chunked", [False, True])
def test_t28_a_body_always_longer_than_the_manifest_says(cdse, fetch, chunked):
    cdse.fault(BAND, Fault(longer=7, chunked=chunked), times=None)
    with pytest.raises(
        DamagedError, match=r"(is announced with|sends more than its) \d+ bytes.*twice; the last is kept"
    ):
        fetch()
    assert fetch.left == [".jp2.bad"]


def test_t28_a_body_longer_than_its_content_length(cdse, fetch):
    cdse.fault(BAND, Fault(longer=7, headers={"Content-Length": str(len(fetch.content))}))
    assert fetch().is_whole
    other = Fetching(cdse, fetch.source.parents[4], fetch.folder / "next")
    assert other().is_whole


def test_t29_a_connection_that_is_reset(cdse, fetch):
    cdse.fault(BAND, Fault(reset=500), times=3)
    assert fetch().is_whole


def test_t30_a_body_that_stalls(cdse, fetch):
    cdse.fault(BAND, Fault(stall=(500, 0.8)))
    began = time.monotonic()
    assert fetch(HASTY).is_whole
    assert HASTY.read_s < time.monotonic() - began < 0.8
    assert fetch.statuses == [200, 200]


def test_t30_a_body_that_drips_below_the_floor(cdse, fetch):
    cdse.fault(BAND, Fault(drip=(1, 0.02)), times=None)
    began = time.monotonic()
    with pytest.raises(UnreachableError, match=r"stalled: \d+ bytes in 0.4 s; gave up after 3 attempts"):
        fetch(HASTY)
    assert time.monotonic() - began < 3 * HASTY.stall_s + 0.8


def test_t31_a_body_that_drips_above_the_floor(cdse, fetch):
    step = len(fetch.content) // 8
    cdse.fault(BAND, Fault(drip=(step, 0.1)))
    began = time.monotonic()
    assert fetch(HASTY).is_whole
    assert time.monotonic() - began > HASTY.stall_s
    assert fetch.statuses == [200]


def test_t32_a_server_without_range_starts_over(fetch):
    assert fetch.put_part(500)().is_whole
    assert fetch.ranges == ["bytes=500-"]
    assert fetch.statuses == [200]


def test_t32_a_server_with_range_goes_on(cdse, fetch):
    cdse.ranges = True
    assert fetch.put_part(500)().is_whole
    assert fetch.statuses == [206]
    assert cdse.sent_bytes(BAND) == len(fetch.content) - 500


def test_t32_in_one_run_too(cdse, fetch):
    cdse.ranges = True
    cdse.fault(BAND, Fault(reset=700))
    assert fetch().is_whole
    assert fetch.statuses == [200, 206]
    assert cdse.seen(BAND)[1].headers["If-Range"].startswith('"')


@pytest.mark.parametrize("shift", [-100, 100])
def test_t32_a_part_that_begins_elsewhere_is_not_appended(cdse, fetch, shift):
    cdse.ranges = True
    cdse.fault(BAND, Fault(shift=shift), times=1)
    assert fetch.put_part(500)().is_whole
    assert fetch.statuses == [206, 200]
    assert fetch.ranges == ["bytes=500-", None]


def test_t32_a_part_of_another_size_is_not_appended(cdse, fetch):
    cdse.fault(BAND, Fault(ranges=True, headers={"Content-Range": "bytes 500-999/1000"}))
    assert fetch.put_part(500)().is_whole
    assert fetch.statuses == [206, 200]


def test_t32_a_range_that_cannot_be_had_starts_over(cdse, fetch):
    cdse.fault(BAND, status(416, b""))
    assert fetch.put_part(500)().is_whole
    assert fetch.statuses == [416, 200]


def test_t32_another_version_starts_over(cdse, fetch):
    cdse.ranges = True
    fetch.put_part(500, content=b"\0" * 600, etag='"yesterday"')
    assert fetch().is_whole
    assert fetch.statuses == [200]
    assert cdse.seen(BAND)[0].headers["If-Range"] == '"yesterday"'


def test_t32_another_version_starts_over_even_where_if_range_is_ignored(cdse, fetch):
    cdse.fault(
        BAND, Fault(ranges=True, headers={"ETag": '"today"'}, act=lambda: cdse.seen(BAND)[0].headers.pop("If-Range"))
    )
    assert fetch.put_part(500, etag='"yesterday"')().is_whole
    assert fetch.statuses == [206, 200]


def test_t32_a_part_of_other_bytes_is_found_out_by_the_checksum(cdse, fetch):
    cdse.ranges = True
    assert fetch.put_part(500, content=b"\0" * 600)().is_whole
    assert fetch.statuses == [206, 200]


def test_t32_nothing_is_resumed_that_nothing_can_check(cdse, fetch):
    cdse.ranges = True
    assert fetch.put_part(500, content=b"\0" * 600)(checksum=None).is_whole
    assert fetch.ranges == [None]


@pytest.mark.parametrize("more", [0, 9])
def test_t32_a_part_of_the_whole_length_or_more(cdse, fetch, more):
    cdse.ranges = True
    assert fetch.put_part(None, content=fetch.content + b"\0" * more)().is_whole
    assert len(fetch.statuses) == (1 if more else 0)


def test_t32_a_long_transfer_outlives_more_failures_than_attempts(cdse, fetch, monkeypatch):
    monkeypatch.setattr("thalweg.http.download._MOVED_ON", 100)
    cdse.ranges = True
    cdse.fault(BAND, Fault(reset=300), times=8)
    assert fetch().is_whole
    assert fetch.statuses == [200] + [206] * 8


def test_t33_a_flipped_byte_once(cdse, fetch):
    cdse.fault(BAND, Fault(flip=400))
    assert fetch().is_whole
    assert fetch.statuses == [200, 200]


def test_t33_a_flipped_byte_always(cdse, fetch):
    cdse.fault(BAND, Fault(flip=400), times=None)
    with pytest.raises(
        DamagedError, match=r"B02_60m.jp2\)/\$value has another SHA3-256 than .*\.jp2\.bad, nothing else was"
    ):
        fetch(checksum=Checksum("SHA3-256", promise(fetch.source).checksum.value))
    assert fetch.statuses == [200, 200]
    assert fetch.left == [".jp2.bad"]
    fetch.cdse._scripts.clear()
    fetch()
    assert fetch.target.read_bytes() == fetch.content


@pytest.mark.parametrize(("algorithm", "stated"), [
    ("md5", "MD5"), ("md5", "md5"), ("sha3_256", "SHA3-256"), ("sha3_256", "sha3-256"), ("sha256", "SHA-256"),
])  # fmt: skip
@pytest.mark.parametrize("case", [str.upper, str.lower])
def test_t34_kinds_of_checksum_in_any_case(fetch, algorithm, stated, case):
    value = case(hashlib.new(algorithm, fetch.content).hexdigest())
    assert fetch(checksum=Checksum(stated, value)).is_whole
    assert not Checksum(stated, value[::-1]).fits(fetch.target)


def test_t34_a_checksum_that_nothing_computes():
    with pytest.raises(ParamsError, match="no checksum of kind 'CRC-7' can be computed; use one of md5"):
        Checksum("CRC-7", "00")


@pytest.mark.parametrize("body", ERROR_PAGES)
@pytest.mark.parametrize("facts", [{}, {"checksum": None}, {"size": None, "checksum": None}], ids=str)
def test_t38_an_error_page_is_no_image(cdse, fetch, body, facts):
    cdse.fault(BAND, says(body), times=None)
    with pytest.raises(
        (DamagedError, UnreachableError), match=r"another kind of file|too few for its kind|ended after 0 bytes"
    ):
        fetch(**facts)
    assert not fetch.target.exists()
    fetch.cdse._scripts.clear()
    fetch(**facts)
    assert fetch.target.read_bytes() == fetch.content


@pytest.mark.parametrize("signature", [ZIP, XML])
def test_t38_an_error_page_is_no_zip_and_no_xml(cdse, safe, tmp_path, signature):
    path = "" if signature == ZIP else "manifest.safe"
    cdse.fault("$value", says(ERROR_PAGES[1]), times=2)
    session = make_session(cdse, tmp_path)
    with pytest.raises(DamagedError, match=r"begins with b'<!DOCTYPE html><html><bo' instead of"):
        session.download(cdse.file_url(path), tmp_path / "file", Expected(None, None, signature))
    found = session.download(cdse.file_url(path), tmp_path / "file", Expected(None, None, signature))
    assert found.read_bytes() == (zip_of(safe) if signature == ZIP else (safe / "manifest.safe").read_bytes())


def test_t38_nor_a_file_of_which_nothing_is_known(cdse, tmp_path):
    cdse.fault("Products", says(ERROR_PAGES[1]), times=2)
    with pytest.raises(DamagedError, match="an error page"):
        anonymous(tmp_path).download(f"{cdse.hosts.catalogue}/Products", tmp_path / "x", Expected(None, None, None))


def test_an_answer_that_is_too_long_for_one(cdse, tmp_path, monkeypatch):
    monkeypatch.setattr("thalweg.http.exchange._TEXT_MAX", 10)
    with pytest.raises(RefusedError, match="sends more than 10 bytes where a short answer was due"):
        anonymous(tmp_path).read(f"{cdse.hosts.catalogue}/Products")


def test_what_is_fetched_begins_like_an_image(fetch):
    assert fetch().content.startswith(JP2)
