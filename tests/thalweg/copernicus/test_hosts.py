"""A password goes to HTTPS alone, or to this machine."""

import pytest
from pydantic import ValidationError

from thalweg.copernicus.hosts import Hosts

GOOD = dict.fromkeys(("catalogue", "download", "identity", "s3"), "https://example.org/odata/v1")


@pytest.mark.parametrize("address", ["https://example.org", "http://127.0.0.1:8000/token", "http://localhost:80/x"])
def test_https_or_this_machine(address):
    assert Hosts(**GOOD | {"identity": address}).identity == address


@pytest.mark.parametrize(
    "address",
    [
        "http://example.org/token",
        "http://127.0.0.1.example.org/token",
        "http://localhost.example.org",
        "https://a/?q",
        "ftp://a",
    ],
)
def test_anything_else_is_refused(address):
    with pytest.raises(ValidationError, match="identity"):
        Hosts(**GOOD | {"identity": address})
