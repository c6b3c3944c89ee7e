"""What all tests share."""

import signal

import pytest
from product_builder import make_safe
from standin import Standin

from thalweg import params


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest file first, so that no process is left alone with it at the end."""
    items.sort(key=lambda item: item.path.name != "test_repro.py")


@pytest.fixture(autouse=True)
def _no_params_of_other_tests(monkeypatch):
    """A stage compares the params that its process has loaded at its end: those of its own test alone."""
    monkeypatch.setattr(params, "_loaded", {})


@pytest.fixture(autouse=True)
def _interrupts_left_as_found():
    """Ctrl-C ends a stage as interrupted: no library that a test calls may change it."""
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) == before


@pytest.fixture(scope="session")
def safe(tmp_path_factory):
    """A tiny product of baseline 05.11."""
    return make_safe(tmp_path_factory.mktemp("products"))


@pytest.fixture
def cdse(safe):
    """The stand-in that serves it, running."""
    with Standin([safe]) as standin:
        yield standin
