"""One tiny product and the stand-in that serves it."""

import pytest
from product_builder import make_safe
from standin import Standin


@pytest.fixture(scope="session")
def safe(tmp_path_factory):
    """A tiny product of baseline 05.11."""
    return make_safe(tmp_path_factory.mktemp("products"))


@pytest.fixture
def cdse(safe):
    """The stand-in, running."""
    with Standin([safe]) as standin:
        yield standin
