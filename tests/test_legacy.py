"""The lock for old cards: the other one but for torch, and, in the long suite, an environment in which the core works."""

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from thalweg.doctor.machine import read_lock

ROOT = Path(__file__).parents[1]
OURS = re.compile(r"^(torch|torchvision|triton|nvidia-.*|cuda-.*)$")
CORE = ("tests/thalweg/models/test_network.py", "tests/thalweg/losses", "tests/thalweg/infer/test_laws.py",
        "tests/thalweg/infer/test_predictor.py", "tests/thalweg/train/test_finish.py", "tests/test_infer.py")  # fmt: skip
"""What runs in the environment of the legacy lock: networks, losses, training, prediction, on the CPU."""


def _lock(name: str) -> dict[str, str]:
    return read_lock((ROOT / name).read_text("utf-8"))


def test_the_legacy_lock_differs_in_torch_and_its_wheels_alone():
    new, old = _lock("requirements.lock"), _lock("requirements-legacy.lock")
    assert {name: version for name, version in new.items() if not OURS.match(name)} == {
        name: version for name, version in old.items() if not OURS.match(name)
    }


def test_the_legacy_lock_has_the_last_torch_with_pascal():
    """Source: PyTorch 2.8's release notes: Maxwell, Pascal and Volta are left out of the CUDA 12.8 and 12.9 wheels."""
    lock = _lock("requirements-legacy.lock")
    assert lock["torch"].startswith("2.7.")
    assert lock["nvidia-cuda-runtime-cu12"].startswith("12.6.")
    assert not [name for name in lock if name.startswith("nvidia-") and not name.endswith("-cu12")]


def test_what_is_locked_runs_on_any_python_3_11():
    """Debian 12 has 3.11.2; a pin that wants a later patch would keep `make setup` from ending there."""
    want = {
        found.name: said
        for name in _lock("requirements.lock") for found in distributions(name=name)
        if (said := found.metadata.get("Requires-Python"))
    }  # fmt: skip
    assert len(want) > 100
    assert not {name: said for name, said in want.items() if not SpecifierSet(said).contains("3.11.0")}


@pytest.mark.slow
def test_the_core_works_with_the_legacy_lock(tmp_path):
    """Packages come from the index (3 GB); afterwards nothing of them is kept. Set LEGACY_VENV to keep and reuse one."""
    kept = os.environ.get("LEGACY_VENV")
    home = Path(kept) if kept else tmp_path / "venv"
    python = home / "bin/python"
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--constraint", "requirements-legacy.lock", "--editable",
                        ".[dev]"], cwd=ROOT, check=True)  # fmt: skip
    said = subprocess.run([str(python), "-c", "import torch; print(torch.__version__, torch.version.cuda)"], check=True,
                          capture_output=True, text=True).stdout  # fmt: skip
    assert said.startswith("2.7.1")
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *CORE], cwd=ROOT, env=env,
                          capture_output=True, text=True, check=False)  # fmt: skip
    if not kept:
        shutil.rmtree(home)
    assert done.returncode == 0, done.stdout[-4000:]
