"""The promise of dvc.yaml, with real DVC in a clone: what changed runs, nothing else does, and failure costs no sibling."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
AGGREGATORS = {"plot", "ensemble@main", "report"}


class Project:
    """A clone of the working tree with the smallest sample that trains."""

    def __init__(self, home: Path) -> None:
        self.home = home / "clone"
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():
                (self.home / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.home / name)
        self.env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                    "PYTHONPATH": str(self.home / "src"), "DVC_SITE_CACHE_DIR": str(home / "site"),
                    "DVC_NO_ANALYTICS": "1", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}  # fmt: skip
        self.params = smallest()
        (self.home / "dvc.lock").unlink(missing_ok=True)
        self.save()
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        for words in (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", "start"]):
            self.call("git", *words)

    def save(self) -> None:
        """Writes params.yaml."""
        YAML().dump(self.params, self.home / "params.yaml")

    def call(self, *words: str, code: int = 0) -> str:
        """Output of a command that must end with a code."""
        done = subprocess.run(words, cwd=self.home, env=self.env, capture_output=True, text=True, check=False)
        assert done.returncode == code, f"{' '.join(words)} gave {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def repro(self) -> set[str]:
        """Stages that a run of the pipeline ran."""
        return set(re.findall(r"^Running stage '([^']+)'", self.call("dvc", "repro"), re.MULTILINE))

    def status(self) -> str:
        """What DVC says."""
        return self.call("dvc", "status")


def smallest() -> dict:
    """params.yaml of the sample, one grid, 32-px chips, one epoch of two chips, two members."""
    data = YAML(typ="safe").load((ROOT / "recipes/sample.yaml").read_text())
    data["fetch"]["options"] |= {
        "size_60m_px": 64,
        "cloud_cover": 0.0,
        "products": data["fetch"]["options"]["products"][:1],
    }
    data["grids"] = {"s2_60m": data["grids"]["s2_60m"]}
    data["split"] |= {"block_m": 600, "buffer_m": 60, "chip_px": {"s2_60m": 32}}
    quick = {
        "chip_px": 32,
        "window_px": 32,
        "chips_per_epoch": 2,
        "batch_size": 2,
        "max_epochs": 1,
        "patience": 1,
        "grid": "s2_60m",
    }
    options = {"unet": {"widths": [4, 8]}, "fcn": {"num_filters": 4}}
    data["models"] = {name: data["models"][name] | quick for name in options}
    for name, changes in options.items():
        data["models"][name]["options"] |= changes
    trees = {"grid": "s2_60m", "pixels": 500, "trees": 3, "depth": 3, "means_px": [3], "window_px": 32}
    data["yardsticks"] = {"boosting": data["yardsticks"]["boosting"] | trees}
    data["ensembles"]["main"] |= {"members": [*options, "boosting"]}
    return data


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The clone, run once."""
    project = Project(tmp_path_factory.mktemp("repro"))
    ran = project.repro()
    assert ran == {"fetch", "preprocess@s2_60m", "split", "train@unet", "train@fcn", "yardstick@boosting"} | AGGREGATORS
    return project


def test_first_run_leaves_a_map_a_report_and_a_clean_status(project):
    for path in (
        "maps/main/classes.tif",
        "report/index.html",
        "report/collection.json",
        "metrics/unet.json",
        "metrics/ensemble/main.json",
    ):
        assert (project.home / path).is_file()
    assert "up to date" in project.status()


def test_no_change_runs_nothing(project):
    assert project.repro() == set()


def test_an_editor_that_asks_dvc_finds_every_member(project):
    """The calls of VS Code's extension, which knows a project by them alone, on a finished run that is committed.

    Source: iterative/vscode-dvc, extension/src/cli/dvc/reader.ts and plots/model/collect.ts.
    """
    project.call("git", "add", "dvc.lock")
    project.call("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "ran")
    members = {"unet", "fcn", "boosting"}
    scores = {*(f"metrics/{name}.json" for name in members), "metrics/ensemble/main.json", "plots/scores.json"}
    states = ask(project, "exp", "show", "--no-fetch", "-n", "1")  # the workspace, and what is committed
    assert len(states) == 2
    for state in states:
        found = state["data"]
        assert set(found["metrics"]) == scores
        assert not [file for each in ("params", "metrics") for file, held in found[each].items() if "error" in held]
        assert {"unet", "fcn"} <= set(found["params"]["params.yaml"]["data"]["models"])
        assert all(out["hash"] for out in found["outs"].values())
    plots = ask(project, "plots", "diff", "workspace", "HEAD", "-o", ".dvc/tmp/plots", "--split")
    assert not plots.get("errors")
    named = YAML(typ="safe").load((project.home / "dvc.yaml").read_text())["plots"]
    charts = {next(iter(plot)) for plot in named if isinstance(plot, dict)}
    assert set(plots["data"]) == charts | {f"plots/panels/{name}.png" for name in members}
    for name in charts:
        [chart] = plots["data"][name]
        anchors = chart["anchor_definitions"]
        assert set(re.findall(r"<DVC_METRIC_\w+>", json.dumps(chart["content"]))) <= {*anchors, "<DVC_METRIC_COLOR>"}
        shown = {(row["rev"], row["member"]) for row in anchors["<DVC_METRIC_DATA>"]}
        trained = members if "epoch" not in anchors["<DVC_METRIC_X_LABEL>"] else members - {"boosting"}
        assert shown == {(rev, member) for rev in ("workspace", "HEAD") for member in trained}
    for name in set(plots["data"]) - charts:
        assert [picture["revisions"] for picture in plots["data"][name]] == [["workspace"], ["HEAD"]]
        assert all(Path(picture["url"]).stat().st_size > 1000 for picture in plots["data"][name])
    files = ask(project, "data", "status", "--granular", "--unchanged")
    assert not {"not_in_cache", "committed", "uncommitted"} & set(files)
    assert {"models/unet/card.json", "maps/main/classes.tif", "report/index.html"} <= set(files["unchanged"])


def ask(project: Project, *words: str) -> Any:
    """What DVC answers as JSON."""
    return json.loads(project.call("dvc", *words, "--json"))


def test_a_member_is_cross_validated_alone_and_going_back_leaves_a_clean_status(project):
    project.params["crossval"] = {"unet": {"folds": 2, "random": True}}
    project.save()
    assert project.repro() == {"crossval@unet", "report"}
    scores = json.loads((project.home / "metrics/crossval/unet.json").read_text())
    assert scores["optimism"]["miou"] == pytest.approx(scores["random"]["miou"] - scores["pooled"]["miou"])
    assert "Cross-validation" in (project.home / "report/index.html").read_text("utf-8")
    assert not (project.home / ".cache/crossval/unet").exists()
    assert project.repro() == set()
    project.params["crossval"] = {}
    project.save()
    assert project.repro() <= {"report"}  # or what DVC's run cache still holds
    assert "up to date" in project.status()


def test_params_of_one_member_run_it_and_its_descendants_and_going_back_runs_nothing(project):
    before = (project.home / "models/unet/weights.safetensors").read_bytes()
    lr = project.params["models"]["unet"]["lr"]
    project.params["models"]["unet"]["lr"] = lr / 2
    project.save()
    assert project.repro() == {"train@unet"} | AGGREGATORS
    assert (project.home / "models/unet/weights.safetensors").read_bytes() != before
    project.params["models"]["unet"]["lr"] = lr
    project.save()
    assert project.repro() == set()
    assert (project.home / "models/unet/weights.safetensors").read_bytes() == before
    assert "up to date" in project.status()


def test_an_architecture_runs_its_members_alone(project):
    file = project.home / "src/thalweg/models/fcn.py"
    text = file.read_text()
    file.write_text(f"{text}\n# a line more\n")
    ran = project.repro()
    assert "train@fcn" in ran
    assert ran <= {"train@fcn"} | AGGREGATORS
    assert "ensemble@main" in ran  # the card holds the file's hash
    file.write_text(text)
    assert project.repro() == set()


def test_a_new_member_runs_alone_with_the_aggregators(project):
    project.params["models"]["second"] = project.params["models"]["unet"] | {"seed": 11}
    project.params["ensembles"]["main"]["members"] = ["unet", "fcn", "second"]
    project.save()
    assert project.repro() == {"train@second"} | AGGREGATORS


def test_the_report_retrains_nothing(project):
    file = project.home / "src/thalweg/report.py"
    file.write_text(f"{file.read_text()}\n# a line more\n")
    assert project.repro() == {"report"}


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_a_member_that_fails_costs_its_siblings_nothing(project):
    project.params["models"]["unet"]["seed"] = 5
    project.params["models"]["fcn"]["options"] = {"no_such_option": 1}
    project.params["models"]["second"]["seed"] = 6
    project.save()
    output = project.call("make", "-o", "setup", f"VENV={Path(sys.executable).parents[1]}", "train", code=2)
    assert "no_such_option" in output
    assert "Traceback" not in output
    status = project.status()
    assert "train@fcn" in status
    assert "train@unet" not in status
    assert "train@second" not in status
    assert (project.home / "salvage/maps/main/classes.tif").is_file()
    assert (project.home / "salvage/report/index.html").is_file()
    assert "stale" in output
    assert "maps/main" in output
    assert (project.home / "maps/STALE.txt").is_file()
    project.params["models"]["fcn"]["options"] = smallest()["models"]["fcn"]["options"]
    project.save()
    done = project.call("make", "-o", "setup", f"VENV={Path(sys.executable).parents[1]}", "train")
    assert "train@unet" not in set(re.findall(r"^Running stage '([^']+)'", done, re.MULTILINE))
    assert not (project.home / "maps/STALE.txt").exists()


def test_a_clone_that_has_run_can_be_pulled_without_a_remote(project):
    project.call("dvc", "pull")


def test_own_products_under_data_are_tracked_and_used(project):
    safe = next((project.home / "build/raw").glob("*.SAFE"))
    shutil.copytree(safe, project.home / "data" / safe.name)
    shutil.copy2(next((project.home / "build/raw/masks").glob("*.tif")), project.home / "masks/mine.tif")
    project.call("dvc", "add", "data")
    assert "path: data" in (project.home / "data.dvc").read_text()
    product = {
        "form": "safe",
        "pattern": "*.SAFE",
        "bands": {},
        "scale": 1,
        "offset": 0,
        "nodata": None,
        "date": None,
        "more": None,
    }
    project.params["fetch"] = {
        "source": "local",
        "input": "data",
        "masks": "masks/none.yaml",
        "elevation": None,
        "options": {"products": [product]},
    }
    project.params["masks"] |= {"input": "masks", "patterns": ["*.tif"]}
    project.save()
    assert "Running stage 'fetch'" in project.call("dvc", "repro", "preprocess@s2_60m")
    assert "Running stage" not in project.call("dvc", "repro", "preprocess@s2_60m")
    assert "data.dvc" not in project.status()
