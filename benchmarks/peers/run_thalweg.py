"""Thalweg, asked to fetch one product as a whole zip, as its rivals do. Argument: a JSON file."""

import json
import os
import sys
from pathlib import Path

job = json.loads(Path(sys.argv[1]).read_text())
os.environ |= {"COPERNICUS_LOGIN": job["login"], "COPERNICUS_PASS": job["password"], "XDG_CACHE_HOME": job["home"]}

from thalweg import params  # noqa: E402
from thalweg.errors import ThalwegError  # noqa: E402
from thalweg.manifest.lock import write_lock  # noqa: E402
from thalweg.sources import copernicus  # noqa: E402

home, out = Path(job["home"]), Path(job["out"])
hosts = {"catalogue": job["catalogue"], "download": job["download"], "identity": job["identity"], "s3": job["origin"]}
patience = {"connections": 4, "connect_s": 2, "read_s": job["read_s"], "stall_s": 4 * job["read_s"], "attempts": 8,
            "backoff_s": job["longest_wait_s"], "backoff_max_s": job["longest_wait_s"]}  # fmt: skip
options = params.parse(copernicus.Options, {
    "search": None, "products": [job["name"]], "groups": [], "bands": {}, "whole_zip": True, "backend": "https",
    "hosts": hosts, "patience": patience,
}, "fetch.options", Path("params.yaml"))  # fmt: skip
try:
    write_lock(copernicus.find(options).lock, home / "x.products.json")
    copernicus.deliver(options, home / "x.products.json", home / "raw", out)
except ThalwegError as error:
    sys.exit(f"{type(error).__name__}: {error}")
