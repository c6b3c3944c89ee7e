"""T1–T8: one login for all, renewed in time, told plainly when refused, and seen nowhere."""

import logging
import stat
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest
from standin.faults import says, status
from transport_builder import HASTY, POLICY, credentials, make_session, make_token

from thalweg.errors import CredentialsError, HttpError, UnreachableError
from thalweg.http.token import Token


def bearer(token):
    return token.headers("GET", "http://any")["Authorization"].reveal().removeprefix("Bearer ")


def test_t01_a_token_is_used_until_it_is_about_to_end(cdse, tmp_path):
    cdse.identity.expires_in = 0.6
    token = make_token(cdse, tmp_path)
    first = bearer(token)
    assert bearer(token) == first
    time.sleep(0.35)  # past half its life, since it has no minute
    assert bearer(token) != first
    assert cdse.identity.issued == ["password", "refresh_token"]


def test_t01_a_minute_early(cdse, tmp_path, monkeypatch):
    token = make_token(cdse, tmp_path)
    first, now = bearer(token), time.time()
    monkeypatch.setattr("thalweg.http.token.time.time", lambda: now + 538)
    assert bearer(token) == first
    monkeypatch.setattr("thalweg.http.token.time.time", lambda: now + 541)
    assert bearer(token) != first


def test_t02_wrong_credentials_are_not_tried_again(cdse, tmp_path):
    with pytest.raises(CredentialsError, match=r"401 \(invalid_grant Invalid user credentials\).*COPERNICUS_PASS"):
        bearer(make_token(cdse, tmp_path, password="wrong"))
    assert len(cdse.requests) == 1


def test_t03_a_token_is_refreshed_without_the_password(cdse, tmp_path):
    cdse.identity.expires_in = 0.2
    first = make_token(cdse, tmp_path)
    bearer(first)
    time.sleep(0.12)
    second = Token(cdse.hosts.identity, tmp_path / "account", cdse.origins, POLICY, credentials)
    bearer(second)  # another process, with the same cache
    assert cdse.identity.issued == ["password", "refresh_token"]
    assert b"password" not in cdse.requests[-1].body


def test_t04_a_dead_refresh_token_leads_to_the_password_once(cdse, tmp_path):
    token = make_token(cdse, tmp_path)
    first = token.headers("GET", "http://any")
    cdse.identity.revoke(refresh=True)
    assert token.renew(first)
    assert token.headers("GET", "http://any") != first
    assert cdse.identity.issued == ["password", "password"]
    assert [one.status for one in cdse.requests] == [200, 400, 200]


def test_t05_the_identity_service_may_stumble(cdse, tmp_path):
    cdse.fault("token", status(503, b"upstream"), times=2)
    assert bearer(make_token(cdse, tmp_path))
    assert [one.status for one in cdse.requests] == [503, 503, 200]


def test_t05_but_not_for_ever(cdse, tmp_path):
    cdse.fault("token", status(503, b"upstream"), times=None)
    with pytest.raises(UnreachableError, match=r"/token answered 503 \(upstream\); gave up after 4 attempts"):
        bearer(make_token(cdse, tmp_path))
    assert len(cdse.requests) == POLICY.attempts


def test_t06_the_identity_service_may_ask_to_wait(cdse, tmp_path):
    cdse.fault("token", status(429, {"error": "busy"}, Retry_After="1"))
    began = time.monotonic()
    assert bearer(make_token(cdse, tmp_path))
    assert 1 <= time.monotonic() - began < 2


def test_t07_a_second_factor(cdse, tmp_path):
    cdse.identity.totp = "123456"
    with pytest.raises(CredentialsError, match="COPERNICUS_TOTP if the account has two-factor authentication"):
        bearer(make_token(cdse, tmp_path))
    assert bearer(make_token(cdse, tmp_path, totp="123 456"))


def test_t08_many_workers_and_one_login(cdse, tmp_path):
    cdse.fault("token", status(503), times=1)
    tokens = [make_token(cdse, tmp_path) for _ in range(3)]
    with ThreadPoolExecutor(24) as pool:
        found = set(pool.map(bearer, tokens * 8))
    assert len(found) == 1
    assert cdse.identity.issued == ["password"]


def test_t08_many_refused_workers_and_one_renewal(cdse, tmp_path):
    tokens = [make_token(cdse, tmp_path) for _ in range(3)]
    refused = [token.headers("GET", "http://any") for token in tokens]
    cdse.identity.revoke()
    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(lambda pair: pair[0].renew(pair[1]), list(zip(tokens, refused, strict=True)) * 4))
    assert cdse.identity.issued == ["password", "refresh_token"]


def test_the_cache_is_its_owners_alone(cdse, tmp_path):
    first = bearer(make_token(cdse, tmp_path))
    cache = tmp_path / "account" / "token.json"
    assert stat.S_IMODE(cache.stat().st_mode) == 0o600
    assert stat.S_IMODE(cache.parent.stat().st_mode) == 0o700
    assert bearer(make_token(cdse, tmp_path)) == first
    cache.chmod(0o644)  # someone may have read it: another one
    assert bearer(make_token(cdse, tmp_path)) != first


@pytest.mark.parametrize("text", ["", "{}", "[1, 2, 3]", '["a", "soon", null, 0]'])
def test_a_broken_cache_is_none(cdse, tmp_path, text):
    token = make_token(cdse, tmp_path)
    token.folder.mkdir(parents=True)
    cache = token.folder / "token.json"
    cache.touch(0o600)
    cache.write_text(text)
    assert bearer(token)


def test_an_answer_that_is_no_token_is_asked_again_and_not_shown(cdse, tmp_path):
    cdse.fault("token", says(b'{"access_token": "half-a-secret"}'), times=None)
    with pytest.raises(UnreachableError, match="33 bytes that are no token; gave up") as caught:
        bearer(make_token(cdse, tmp_path))
    assert "half-a-secret" not in str(caught.value)


def locals_of(error):
    """What a traceback with locals would show of the frames below the test's own."""
    assert error.__suppress_context__ or isinstance(error.__cause__, HttpError)
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][2:]
    return [repr(frame.f_locals) for frame in frames]


def test_secrets_are_shown_nowhere(cdse, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    secrets = ["dear-password", "someone@example.org", "access-0001-secret", "refresh-0001-secret"]
    token = make_token(cdse, tmp_path)
    bearer(token)
    shown = [repr(token), str(token.__dict__), repr(credentials(totp="123456")), caplog.text]
    for fault, changes in [(status(401, {"error": "no"}), {"password": "dear-password"}), (status(503), {})]:
        cdse.fault("token", fault, times=None)
        cdse.identity.revoke()
        refused = make_token(cdse, tmp_path / "other", policy=HASTY, **changes)
        with pytest.raises((CredentialsError, UnreachableError)) as caught:
            bearer(refused)
        shown += [*traceback.format_exception(caught.value), *locals_of(caught.value)]
        cdse._scripts.clear()
    assert not [(secret, text) for secret in secrets for text in shown if secret in text]
    assert not [one.path for one in cdse.requests if any(secret in one.path for secret in secrets)]


def test_the_identity_address_may_be_wrong(cdse, tmp_path):
    token = Token(cdse.origin("identity") + "/nowhere", tmp_path, (), POLICY, credentials)
    with pytest.raises(CredentialsError, match=r"/nowhere answered 404.*fetch.options.hosts.identity"):
        bearer(token)


def test_the_password_follows_no_redirect(cdse, tmp_path):
    cdse.fault("token", status(307, b"", Location=f"{cdse.origin('foreign')}/token"), times=None)
    with pytest.raises(CredentialsError, match="redirects"):
        bearer(make_token(cdse, tmp_path))
    assert not cdse.seen(host="foreign")
    assert make_session(cdse, tmp_path)
