"""The containers' files: linted, of one mind with the project, and their steps carried out where no engine runs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
FILES = ("Dockerfile", "Dockerfile.rocm")
SYSTEM = ("apt-get", "useradd")
"""Steps that change the system are linted, not carried out."""


class Step(NamedTuple):
    """An instruction."""

    word: str
    rest: str


def steps(name: str) -> list[Step]:
    text = re.sub(r"^#.*\n", "", (ROOT / name).read_text("utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [Step(*line.split(None, 1)) for line in lines if line.strip()]


@pytest.mark.parametrize("name", FILES)
def test_hadolint_has_nothing_to_say(name):
    program = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([str(program), "--no-color", name], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", FILES)
def test_the_image_is_small_cached_and_without_rights(name):
    found = steps(name)
    words = [step.word for step in found]
    text = (ROOT / name).read_text("utf-8")
    assert words.index("USER") > max(i for i, step in enumerate(found) if "pip install" in step.rest), (
        "installed by root"
    )
    assert not {"USER"} & set(words[words.index("USER") + 1 :]), "and nothing after is"
    copies = [step.rest for step in found if step.word == "COPY"]
    assert copies == ["pyproject.toml requirements.lock README.md ./", "src src"], (
        "packages are a layer before the code"
    )
    assert all("--no-cache-dir" in each for each in re.findall(r"pip install[^&]*", text))
    assert "rm -rf /var/lib/apt/lists/*" in text
    assert Step("CMD", '["thalweg", "train"]') in found
    assert "ENV" in words
    assert not re.search(r"COPERNICUS|PASSWORD|SECRET", text)


def test_nothing_but_code_reaches_the_engine():
    kept = (ROOT / ".dockerignore").read_text("utf-8").split()
    assert kept[0] == "*"
    assert {"!.env", "!data", "!models", "!.git"}.isdisjoint(kept)
    for step in steps("Dockerfile"):
        if step.word == "COPY":
            assert all(f"!{path}" in kept for path in step.rest.split()[:-1]), step


def test_compose_is_of_one_mind_with_the_image():
    services = YAML(typ="safe").load((ROOT / "compose.yaml").read_text("utf-8"))["services"]
    assert set(services) == {"train", "gpu", "tensorboard"}
    assert all(service["image"] == "thalweg" and service["build"]["context"] == "." for service in services.values())
    assert services["gpu"]["volumes"] == services["train"]["volumes"] == [".:/project"]
    assert services["tensorboard"]["ports"] == ["127.0.0.1:6006:6006"], "seen from this machine alone"
    [device] = services["gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["driver"] == "nvidia"


def _moved(text: str, home: Path) -> str:
    for place in ("/opt/thalweg", "/opt/source", "/project"):
        text = text.replace(place, f"{home}{place}")
    return text


@pytest.mark.slow
def test_the_steps_that_install_packages_end_in_a_thalweg_that_runs(tmp_path):
    """In order, as the engine would carry them out, below a folder instead of the root. Packages come from the index."""
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    env |= {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "SSL_", "HTTPS_", "https_"))}
    at, done = tmp_path, []
    (tmp_path / "project").mkdir()
    for step in steps("Dockerfile"):
        if step.word == "ENV":
            for key, value in re.findall(r"(\w+)=(\S+)", step.rest):
                env[key] = _moved(value.replace("$PATH", env["PATH"]), tmp_path)
        elif step.word == "WORKDIR":
            at = Path(_moved(step.rest, tmp_path))
            at.mkdir(parents=True, exist_ok=True)
        elif step.word == "COPY":
            *sources, target = step.rest.split()
            for source in sources:
                here = ROOT / source
                shutil.copytree(here, at / target, dirs_exist_ok=True) if here.is_dir() else shutil.copy2(
                    here, at / target
                )
        elif step.word == "RUN" and not step.rest.startswith(SYSTEM):
            subprocess.run(["sh", "-ec", _moved(step.rest, tmp_path)], cwd=at, env=env, check=True)
            done.append(step.rest)
    assert len(done) == 3
    told = subprocess.run(["thalweg", "--version"], cwd=at, env=env, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"thalweg \d+\.\d+\.\d+\n", told.stdout)
    shutil.copytree(ROOT / "src", tmp_path / "project/src")
    where = subprocess.run(
        ["python", "-c", "import thalweg; print(thalweg.__file__)"],
        cwd=at,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(tmp_path / "project/src"))
    shutil.rmtree(tmp_path / "opt")
