"""Where secrets come from, and the one-time password."""

import datetime
import subprocess

import pytest
from import_graph import ROOT
from standin.faults import status
from transport_builder import POLICY, find_file, promise

from thalweg.errors import CredentialsError, RefusedError
from thalweg.http.connections import Connections
from thalweg.http.credentials import Credentials, account_folder, read_credentials, read_s3_keys, totp_code
from thalweg.http.s3 import S3Keys, sign
from thalweg.http.secret import Secret
from thalweg.http.session import Session

RFC_KEY = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


@pytest.fixture(autouse=True)
def _no_account(monkeypatch):
    for name in ("LOGIN", "PASS", "TOTP", "S3_KEY", "S3_SECRET"):
        monkeypatch.delenv(f"COPERNICUS_{name}", raising=False)


@pytest.fixture
def env_file(tmp_path):
    path = tmp_path / ".env"
    path.write_text(
        "# mine\n\nexport COPERNICUS_LOGIN = me@example.org  # the old one\nCOPERNICUS_PASS='a # b=\"c\"'\n"
        "COPERNICUS_TOTP=\nOTHER=1\nnonsense\n"
    )
    return path


def test_a_file_of_settings_is_read_as_shells_read_it(env_file):
    found = read_credentials(env_file)
    assert (found.login.reveal(), found.password.reveal()) == ("me@example.org", 'a # b="c"')
    assert found.second_factor is None
    assert found.totp() is None


@pytest.mark.parametrize(("line", "password"), [("p#1", "p#1"), ('"p 1"', "p 1"), ("p 1  # x", "p 1"), ("'", "'")])
def test_passwords_as_they_are_written(tmp_path, line, password):
    path = tmp_path / ".env"
    path.write_text(f"COPERNICUS_LOGIN=a\nCOPERNICUS_PASS={line}\n")
    assert read_credentials(path).password.reveal() == password


def test_the_environment_overrules_the_file(env_file, monkeypatch):
    monkeypatch.setenv("COPERNICUS_PASS", "other")
    monkeypatch.setenv("COPERNICUS_TOTP", RFC_KEY)
    found = read_credentials(env_file)
    assert (found.login.reveal(), found.password.reveal()) == ("me@example.org", "other")
    assert len(found.totp()) == 6


def test_missing_credentials_are_named_and_what_is_there_is_not_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("COPERNICUS_LOGIN", "me@example.org")
    with pytest.raises(
        CredentialsError, match=r"COPERNICUS_PASS not set in the environment or in .*cp env.sample .env"
    ) as told:
        read_credentials(tmp_path / ".env")
    assert "me@example.org" not in str(told.value)
    with pytest.raises(CredentialsError, match="COPERNICUS_S3_KEY and COPERNICUS_S3_SECRET not set"):
        read_s3_keys(tmp_path / ".env")


def test_the_sample_names_every_variable_and_sets_none(tmp_path):
    text = (ROOT / "env.sample").read_text()
    for name in ("LOGIN", "PASS", "TOTP", "S3_KEY", "S3_SECRET"):
        assert f"\nCOPERNICUS_{name}=\n" in text
    (tmp_path / ".env").write_text(text)
    with pytest.raises(CredentialsError, match="COPERNICUS_LOGIN and COPERNICUS_PASS not set"):
        read_credentials(tmp_path / ".env")


def test_the_filled_in_sample_stays_out_of_git():
    ignored = (ROOT / ".gitignore").read_text().split()
    assert "/.env" in ignored
    assert (
        subprocess.run(["git", "ls-files", ".env"], cwd=ROOT, capture_output=True, text=True, check=False).stdout == ""
    )


@pytest.mark.parametrize(("now", "code"), [(59, "287082"), (1111111109, "081804"), (2000000000, "279037")])
def test_t07_one_time_passwords(now, code):
    """RFC 6238, appendix B: the last six of its eight digits."""
    assert totp_code(RFC_KEY, now) == code
    assert totp_code(RFC_KEY.lower()[:32], now) == code


def test_t07_a_second_factor_that_is_none():
    found = Credentials(Secret("a"), Secret("b"), Secret("1089"))
    with pytest.raises(CredentialsError, match="COPERNICUS_TOTP is neither six digits nor a base32 secret") as told:
        found.totp()
    assert "1089" not in str(told.value)


def test_secrets_keep_to_themselves():
    found = Credentials(Secret("zq1"), Secret("zq2"), Secret("zq3"))
    assert not [word for word in ("zq1", "zq2", "zq3") if word in f"{found} {found!r} {vars(found)}"]
    assert repr(Secret("x")) == str(Secret("x")) == f"{Secret('x')}" == "Secret(***)"
    assert Secret("x") == Secret("x")
    assert len({Secret("x"), Secret("x"), Secret("y")}) == 2


def test_an_account_has_a_folder_that_does_not_name_it(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = account_folder(Secret("me@example.org"))
    assert folder.parent == tmp_path / "thalweg"
    assert "example" not in str(folder)
    assert folder != account_folder(Secret("you@example.org"))


def test_a_signature_as_amazon_computes_it():
    """Source: Amazon S3 API Reference, "Signature Calculations for the Authorization Header", GET Bucket Lifecycle."""
    keys = S3Keys(Secret("AKIAIOSFODNN7EXAMPLE"), Secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), (), "us-east-1")
    now = datetime.datetime(2013, 5, 24, tzinfo=datetime.UTC)
    found = sign("GET", "https://examplebucket.s3.amazonaws.com/?lifecycle", keys, now)
    assert found["x-amz-date"] == "20130524T000000Z"
    assert found["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        "SignedHeaders=host;x-amz-content-sha256;x-amz-date, "
        "Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
    )
    assert "wJalr" not in f"{keys} {found}"


def test_s3_keys_fetch_a_file_and_resume_it(cdse, safe, tmp_path):
    cdse.ranges = True
    source = find_file(safe)
    url = f"{cdse.hosts.s3}/eodata/Sentinel-2/MSI/L2A/2025/10/03/{safe.name}/{source.relative_to(safe).as_posix()}"
    keys = S3Keys(Secret("key"), Secret("secret"), cdse.origins, "default")
    target = tmp_path / source.name
    target.with_name(f"{target.name}.part").write_bytes(source.read_bytes()[:500])
    session = Session(POLICY, Connections(tmp_path / "account", 4), keys)
    assert session.download(url, target, promise(source)).read_bytes() == source.read_bytes()
    assert cdse.sent_bytes("/eodata/") == source.stat().st_size - 500


def test_s3_keys_that_are_refused_are_not_tried_again(cdse, safe, tmp_path):
    keys = S3Keys(Secret("key"), Secret("secret"), cdse.origins, "default")
    cdse.fault("/eodata/", status(403, b"<Error><Code>InvalidAccessKeyId</Code></Error>"))
    cdse.fault("/eodata/", status(401, b"<Error><Code>InvalidAccessKeyId</Code></Error>"))
    for kind in (RefusedError, CredentialsError):
        with pytest.raises(kind, match="InvalidAccessKeyId"):
            Session(POLICY, Connections(tmp_path, 4), keys).read(f"{cdse.hosts.s3}/eodata/{safe.name}")
    assert len(cdse.requests) == 2
