"""What tests of several rooms share."""

import pytest
from file_server import serving_files
from replay import loopback_only

from thalweg import bring
from thalweg.http.policy import Policy


@pytest.fixture
def served(monkeypatch):
    """Plain files over the loopback, with little patience and no way to anywhere else."""
    policy = Policy(connect_s=2, read_s=2, stall_s=5, attempts=2, backoff_s=0, backoff_max_s=0)
    monkeypatch.setattr(bring, "PATIENCE", policy)
    with loopback_only(), serving_files() as files:
        yield files
