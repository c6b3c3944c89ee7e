"""The manual's commands carried out, in a project with a finished run of the smallest sample (long suite).

Blocks under `<!-- run -->` run as they stand. Of the other pages each command runs once its example names are replaced
by files that are there (`NAMES`), or `ELSEWHERE` says where it is carried out, or why it is not.
"""

import subprocess
import sys
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from manual_commands import PAGES, ROOT, blocks, commands
from test_repro import Project

from thalweg.vectors import read_vectors, write_vectors

BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B09", "B11", "B12")
NAMES = {
    "S2B_MSIL2A_….SAFE": "build/raw/*.SAFE",
    "*.SAFE": "build/raw/*.SAFE",
    "IMAGE": "build/raw/*.SAFE",
    "MASK": "mask.tif",
    "map": "out/moved",
    "maps": "out/each",
    "B02=1,B03=2,B04=3,B8A=4": ",".join(f"{band}={number}" for number, band in enumerate(BANDS, 1)),
    "configs/jobs.yaml": "jobs.yaml",
    "<name>": "slower",
}
"""Word on a page → word that is carried out."""
PAGES_RUN = {"predict.md", "labels.md", "moving.md", "qgis.md", "nights.md"}
"""Whose commands are carried out one by one, in this order of pages."""
ELSEWHERE = {
    "make": "`make train` and `make use` call `thalweg train` and `use`: tests/test_unattended.py, tests/test_use_recipe.py;"
    " setup and the checks are what CI runs",
    "nohup": "make train",
    "docker": "tests/test_containers.py",
    "cp": "the shell's own",
    "head": "the shell's own",
    "git": "tests/test_repro.py",
    "dvc add": "tests/test_unattended.py has projects with DVC; docs/adr/0002",
    "thalweg view": "tests/test_view_command.py",
    "pip install": "CI installs the same packages by `make setup`",
    "dask": "tests/engine_builder.py starts both; tests/thalweg/executor/test_faults.py",
    "dvc remote": "tests/thalweg/test_bucket.py",
    "dvc push": "tests/thalweg/test_bucket.py",
    "thalweg evaluate models/unet s3:": "tests/thalweg/test_bucket.py",
    "dvc plots": "tests/test_dvc_templates.py",
    "dvc metrics": "tests/test_dvc_templates.py",
    "thalweg probe": "tests/thalweg/probe/test_command.py",
    "thalweg embed": "tests/thalweg/embeddings/test_embeddings.py",
    "thalweg similar": "tests/thalweg/embeddings/test_embeddings.py",
    "thalweg project": "tests/thalweg/embeddings/test_embeddings.py",
    "thalweg profile": "tests/thalweg/profiling/test_profiling.py",
    "thalweg repack": "tests/thalweg/repack/test_repack.py",
    "thalweg debug": "tests/thalweg/test_trial.py",
    "python": "named where it stands",
    "dvc queue": "tests/test_sweeps.py",
    "dvc exp run": "tests/test_sweeps.py, tests/test_crops_recipe.py",
    "dvc exp apply": "DVC's own",
    "dvc exp show": "tests/test_sweeps.py",
    "dvc repro": "tests/test_repro.py",
    "thalweg submit": "tests/thalweg/submit/test_submit.py",
    "thalweg predict models/unet country.tif": "tests/thalweg/submit/test_shares.py, tests/thalweg/predict/test_splits.py",
    "torchrun": "tests/thalweg/train/test_several.py",
    "srun": "tests/thalweg/submit/test_slurm.py",
    "thalweg search": "tests/thalweg/sources/test_copernicus_process.py",
    "thalweg lock": "tests/thalweg/sources/test_copernicus_process.py",
    "thalweg fetch": "tests/thalweg/sources/test_copernicus_process.py",
    "thalweg doctor --login": "tests/thalweg/doctor/test_doctor.py",
    "thalweg pseudo-label": "tests/thalweg/pseudo/test_pseudo.py; the smallest sample has no ground that is not drawn",
    "thalweg import-ensemble": "tests/test_ensemble_jobs.py",
    "thalweg import-jobs": "tests/test_jobs.py",
    "thalweg parcels maps/main --parcels 2019_31TCJ_patch_20_29.nc": "tests/thalweg/parcels/test_parcels.py",
}  # fmt: skip
"""Beginning of a command → where it is carried out, or why it is not."""


def _words(command: tuple[str, ...]) -> str:
    return " ".join(command)


def _elsewhere(words: str) -> str | None:
    return next((why for start, why in ELSEWHERE.items() if words.startswith(start)), None)


IN_BLOCKS = [command for command in commands() if command.whole]
HERE = [command for command in IN_BLOCKS if command.page.name in PAGES_RUN and not _elsewhere(_words(command.words))]


def test_every_command_in_a_block_is_carried_out_or_says_where():
    running = {line for page in PAGES for text in blocks(page, run=True) for line in text.splitlines()}
    left = [
        str(command) for command in IN_BLOCKS
        if command.words not in {each.words for each in HERE}
        and not _elsewhere(_words(command.words))
        and not any(command.words[1] in line and command.words[0] in line for line in running)
    ]  # fmt: skip
    assert not left


@pytest.mark.parametrize(
    "place",
    sorted(
        {
            word
            for why in ELSEWHERE.values()
            for word in why.replace(",", " ").replace(";", " ").split()
            if word.startswith("tests/")
        }
    ),
)
def test_what_is_said_to_be_tested_elsewhere_is(place):
    assert (ROOT / place).is_file()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A finished run, and the files that examples name."""
    project = Project(tmp_path_factory.mktemp("manual"))
    project.repro()
    project.call("git", "add", "-A")
    project.call("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "run")
    home = project.home
    scene = next((home / "build/scenes/s2_60m").glob("*/image.tif"))
    with rasterio.open(scene) as source:
        pixels, profile = source.read(), source.profile
    profile |= {"driver": "GTiff", "interleave": "band"}
    (home / "scenes").mkdir()
    for name in ("plain.tif", "image.tif", "scenes/a.tif", "scenes/b.tif"):
        with rasterio.open(home / name, "w", **{**profile, "dtype": "uint16", "nodata": 0}) as target:
            target.write(np.where(pixels > 0, pixels, 0).astype(np.uint16))
            target.descriptions = BANDS
            target.scales, target.offsets = (1e-4,) * 11, (0.0,) * 11
    with (
        rasterio.open(scene.with_name("mask.tif")) as source,
        rasterio.open(home / "mask.tif", "w", **source.profile) as target,
    ):
        target.write(np.where(source.read() == 1, 255, 0).astype(np.uint8))
        box = shapely.box(*source.bounds)
        middle = box.centroid.buffer(min(box.bounds[2] - box.bounds[0], box.bounds[3] - box.bounds[1]) / 3)
        crs = source.crs
    whole = geopandas.GeoDataFrame({"name": ["all"], "code": ["1"], "crop": ["background"]}, geometry=[middle], crs=crs)
    for name in ("area.gpkg", "fields.gpkg", "countries.gpkg"):
        whole.to_file(home / name)
    return project


def _call(project: Project, line: str) -> None:
    done = subprocess.run(
        ["bash", "-ec", line], cwd=project.home, env=project.env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"


@pytest.mark.slow
def test_blocks_that_are_to_run_do(project):
    for page in PAGES:
        for text in blocks(page, run=True):
            _call(project, text)
            if "dvc exp run" in text:
                project.call("git", "checkout", "-q", ".")
                project.call("dvc", "checkout", "--quiet")


@pytest.mark.slow
@pytest.mark.parametrize("command", HERE, ids=str)
def test_commands_do_what_pages_say_with_files_that_are_there(project, command):
    words = [NAMES.get(word, word) for word in command.words]
    if "estimate" in words:
        _interpret(project.home / "assess.gpkg")
    quoted = [word if "*" in word and "/" in word and " " not in word else f"'{word}'" for word in words]
    _call(project, " ".join(quoted))


def _interpret(path: Path) -> None:
    """As a person would in QGIS: every point gets a class."""
    layers = {name: read_vectors(path, name) for name in ("points", "pixels", "drawn", "strata")}
    count = len(layers["points"])
    layers["points"]["reference"] = ["palaeochannel" if number % 3 == 0 else "background" for number in range(count)]
    write_vectors(path, layers)


@pytest.mark.slow
def test_the_cookbook_runs_to_its_end(project):
    code = f"import sys; sys.path.insert(0, 'docs/hooks'); import execute, pathlib; book = execute.execute(pathlib.Path({str(project.home)!r})); print(sum(bool(cell.get('execution_count')) for cell in book.cells))"
    env = {**project.env, "PYTHONPATH": f"{project.home}/src:{project.env['PYTHONPATH']}"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) == 7, "each of its code cells"
