"""`thalweg view` as a user runs it: an address, a page, an end by Ctrl-C; faults in one line."""

import signal
import subprocess
import sys
import urllib.request
from functools import partial
from pathlib import Path

import pytest
from explorer_builder import make_explored
from typer.testing import CliRunner

from thalweg import cli
from thalweg.errors import ViewError

COMMAND = [sys.executable, "-u", "-m", "thalweg.cli", "view", "--no-open"]


def test_it_says_where_it_is_serves_and_ends_by_ctrl_c(tmp_path: Path):
    make_explored(tmp_path, (40, 50))
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a suite in the background is deaf to Ctrl-C
    with subprocess.Popen(
        [*COMMAND, "maps/main"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=heard,  # noqa: PLW1509 - no other thread here takes a lock
    ) as server:  # fmt: skip
        assert server.stdout
        assert server.stderr
        address = server.stdout.readline().split()[0]
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address, timeout=20) as page:
            assert "<title>main · thalweg view</title>" in page.read().decode()
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0
        assert "Traceback" not in server.stderr.read()


def test_it_needs_no_torch():
    code = (
        "import sys, thalweg.explorer.find, thalweg.explorer.serve, thalweg.datapage; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_folder_without_anything_to_see_is_named(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ViewError, match=r"has no map in maps/ and no scene in build/scenes"):
        CliRunner().invoke(cli.app, ["view", "--no-open"], catch_exceptions=False)
