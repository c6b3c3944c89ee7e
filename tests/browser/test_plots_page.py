"""`dvc plots show` and `diff` as DVC writes them, in a browser without a network: every chart is drawn."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from thalweg.params import read_yaml

ROOT = Path(__file__).parents[2]
CHARTS = 7


@pytest.fixture(scope="module")
def project(report, tmp_path_factory) -> Path:
    """A repository with one committed revision of the plots, and others in the workspace."""
    home = tmp_path_factory.mktemp("plots")
    shutil.copytree(report / "plots", home / "plots")
    shutil.copytree(ROOT / ".dvc", home / ".dvc", ignore=shutil.ignore_patterns("tmp", "cache"))
    text = (ROOT / "dvc.yaml").read_text("utf-8")
    (home / "dvc.yaml").write_text(text[text.index("\nplots:\n") :], "utf-8")
    call(home, "git", "init", "-q")
    call(home, "git", "add", "-A")
    call(home, "git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first")
    table = pd.read_csv(home / "plots/history.csv")
    table["val_miou"] *= 0.9
    table.to_csv(home / "plots/history.csv", index=False)
    return home


def call(home: Path, *command: str) -> str:
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1",
                        "DVC_SITE_CACHE_DIR": str(home.parent / "site")}  # fmt: skip
    done = subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("command", [("show",), ("diff", "HEAD")], ids=["show", "diff"])
def test_every_chart_and_panel_is_drawn(open_page, project, command):
    call(project, "dvc", "plots", *command)
    page = open_page((project / "dvc_plots/index.html").as_uri()).page
    page.wait_for_function(f"document.querySelectorAll('.vega-embed canvas, .vega-embed svg.marks').length >= {CHARTS}")
    names = [next(iter(entry)) for entry in read_yaml(ROOT / "dvc.yaml")["plots"] if isinstance(entry, dict)]
    assert len(names) == CHARTS
    empty = page.evaluate(
        """[...document.querySelectorAll(".vega-embed canvas")].filter((canvas) => {
        const bytes = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        return new Set(new Uint32Array(bytes.buffer)).size < 4; }).length"""
    )
    assert empty == 0
    revisions = 2 if command[0] == "diff" else 1
    panels = page.locator("main img")
    assert panels.count() == 2 * revisions  # two members
    assert panels.evaluate_all("(images) => images.every((image) => image.complete && image.naturalWidth > 100)")
