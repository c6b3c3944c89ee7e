"""A browser without a network, and the two pages that hold the viewer: the report, and that of `thalweg view`."""

import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from explorer_builder import explored
from report_builder import make_heldout, make_history, make_map, make_run
from test_report import PLAN

from thalweg import params
from thalweg.explorer.serve import Viewer
from thalweg.explorer.tiles import Source
from thalweg.plots import build_plots
from thalweg.report import Files, build_report

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_MS = 180_000
"""Pages are drawn late where the machine has much else to do."""
ALLOWED = ("data:", "file:", "blob:", "http://127.0.0.1:")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium():
    """Debian's Chromium, or the one that THALWEG_CHROMIUM names."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed; `make browser-test` does it")
    path = os.environ.get("THALWEG_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("there is no Chromium; install the system's package, or name one by THALWEG_CHROMIUM")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Opened:
    """A page, and what it complained of and asked for."""

    page: object
    faults: list[str] = field(default_factory=list)

    def ready(self) -> None:
        """Waits until every viewer has drawn what it shows."""
        self.page.wait_for_function(
            "[...document.querySelectorAll('.explorer')].every((each) => each.dataset.ready === 'true')"
        )


@pytest.fixture
def open_page(chromium) -> Iterator:
    """Opens an address in a window of its own; any request to elsewhere, error and warning is a fault of the test."""
    contexts, opened = [], []

    def opening(address: str, width: int = 1100, height: int = 800) -> Opened:
        context = chromium.new_context(viewport={"width": width, "height": height})
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        found = Opened(context.new_page())
        opened.append(found)

        def judge(route) -> None:
            if route.request.url.startswith(ALLOWED):
                route.continue_()
            else:
                found.faults.append(f"asked the network for {route.request.url}")
                route.abort()

        context.route("**/*", judge)
        found.page.on(
            "console", lambda said: found.faults.append(said.text) if said.type in ("error", "warning") else None
        )
        found.page.on("pageerror", lambda error: found.faults.append(str(error)))
        found.page.goto(address)
        return found

    yield opening
    for context in contexts:
        context.close()
    assert not [fault for each in opened for fault in each.faults]


@pytest.fixture(scope="session")
def report(tmp_path_factory) -> Path:
    """A report with everything in it, of a made-up run; its map lies in maps/main."""
    root = make_run(tmp_path_factory.mktemp("report"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(params, "_loaded", {})
        make_map(root, members=("unet",))
        for member in PLAN.members:
            make_history(root / "build/history", member)
            make_heldout(root / "build/heldout", member)
        build_plots(root / "build/history", root / "build/heldout", list(PLAN.members), PLAN.classes, root / "plots")
        build_report(Files.below(root), PLAN, root / "report/index.html")
    return root


@dataclass(frozen=True)
class Looked:
    """A page with a viewer, and the map that it shows."""

    address: str
    map: Path


@pytest.fixture(scope="session", params=["report", "server"])
def looked(request, tmp_path_factory) -> Iterator[Looked]:
    """The same viewer from two sources."""
    if request.param == "report":
        root = request.getfixturevalue("report")
        yield Looked((root / "report/index.html").as_uri(), root / "maps/main")
        return
    shown, ground = explored(tmp_path_factory.mktemp("served"), (300, 420), classes=2)
    with Viewer({"main": Source("main", ground, shown)}) as viewer:
        threading.Thread(target=viewer.run, daemon=True).start()
        yield Looked(viewer.address, shown.files.classes.parent)
        viewer.shutdown()
