"""dvc.yaml tells the truth: for every recipe, deps, params and paths are those of the code that runs."""

import ast
import importlib
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from import_graph import ROOT, closure, is_empty, modules, ours, relative, tree

from thalweg.params import read_yaml

PROVIDERS = ("thalweg.http", "thalweg.copernicus", "thalweg.stac")
"""Rooms behind sources: what they bring is pinned, by a lock or list in git, to an id, size and checksum, and is refused
otherwise (docs/adr/0007)."""
_SPARED = (*PROVIDERS, "thalweg.watch", "thalweg.executor")
NEUTRAL = frozenset({"thalweg", "thalweg.errors", "thalweg.machine", "thalweg.stage"}) | {
    name for name in modules() if name in _SPARED or name.startswith(tuple(f"{room}." for room in _SPARED))
}  # fmt: skip
"""Cannot change a number, so that an edit must not rerun anything: the version, messages, the Typer boundary, where
records of runs lie on this machine, the providers' rooms, what watches a training (tests/thalweg/train/test_watch.py),
and where units run: it carries calls and results, and opens none (docs/adr/0013; the same bytes by every engine:
tests/thalweg/executor/test_faults.py, tests/thalweg/infer/test_elsewhere.py)."""
EDGE = {
    "thalweg.bring",
    "thalweg.doctor.account",
    "thalweg.elevation_tiles",
    "thalweg.mask_catalogue",
    "thalweg.provision",
}
"""Besides the sources, what may use the providers' rooms: what hands files on only when their checksum fits."""
WIDE = ("src/thalweg/losses", "src/thalweg/active", "src/thalweg/dataset", "src/thalweg/models")
"""Folders that dvc.yaml may name whole: losses and scores are loaded by name, several to a member; of its
members' architectures the
stage crossval cannot know the names, since foreach sees the items of one section alone."""
PARAMS_FILES = [ROOT / "params.yaml", *sorted((ROOT / "recipes").glob("*.yaml"))]


@dataclass(frozen=True)
class Stage:
    """One stage as DVC resolves it."""

    name: str
    cmd: str
    deps: frozenset[str]
    outs: frozenset[str]
    params: frozenset[str]

    @property
    def script(self) -> str:
        """Module that runs."""
        return self.cmd.split()[2]

    @property
    def item(self) -> str:
        """Key of a foreach stage."""
        return self.name.partition("@")[2]


@cache
def resolved(params: Path, home: Path) -> tuple[Stage, ...]:
    """The stages of dvc.yaml under one params file, resolved by DVC itself in an empty repository."""
    from dvc.dependency.param import ParamsDependency
    from dvc.repo import Repo

    shutil.copy(ROOT / "dvc.yaml", home / "dvc.yaml")
    shutil.copy(params, home / "params.yaml")
    Repo.init(str(home), no_scm=True, force=True)
    with Repo(str(home)) as repo:
        stages = []
        for stage in repo.index.stages:
            sections = {name for dep in stage.deps if isinstance(dep, ParamsDependency) for name in dep.params}
            paths = {dep.def_path for dep in stage.deps if not isinstance(dep, ParamsDependency)}
            outs = {out.def_path for out in stage.outs}
            stages.append(Stage(stage.name, stage.cmd, frozenset(paths), frozenset(outs), frozenset(sections)))
        return tuple(stages)


@pytest.fixture(params=[*PARAMS_FILES, None], ids=lambda path: path.stem if path else "crossval", scope="module")
def recipe(request, tmp_path_factory):
    """A params file; the last is the sample's with a member cross-validated, which no recipe does by default."""
    if request.param:
        return request.param
    text = (ROOT / "recipes/sample.yaml").read_text("utf-8")
    assert "\ncrossval: {}\n" in text
    path = tmp_path_factory.mktemp("recipe") / "crossval.yaml"
    path.write_text(text.replace("\ncrossval: {}\n", "\ncrossval:\n  fcn: {folds: 5, random: true}\n"), "utf-8")
    return path


@pytest.fixture(scope="module")
def stages(recipe, tmp_path_factory):
    """Its stages."""
    home = tmp_path_factory.mktemp("dvc")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_SITE_CACHE_DIR", str(home / "site"))
        patch.setenv("DVC_NO_ANALYTICS", "1")
        return resolved(recipe, home)


def loaded_by_name(stage: Stage, recipe: Path, found: set[str]) -> set[str]:
    """Modules that the code finds by a name in params; the ensemble's architectures come with models/ (each card holds
    its architecture file's hash), not with deps."""
    data = read_yaml(recipe)
    names = set()
    if "thalweg.sources" in found and stage.script == "stages.fetch":
        names.add(f"thalweg.sources.{data['fetch']['source']}")
    trains = stage.script in ("stages.train", "stages.crossval")
    if "thalweg.models" in found and trains:
        names.add(f"thalweg.models.{data['models'][stage.item]['model']}")
    if "thalweg.losses" in found and trains:
        names |= {f"thalweg.losses.{name}" for name in data["models"][stage.item]["loss"]}
    if stage.script == "stages.pretrain":
        names.add(f"thalweg.pretrain.methods.{data['encoders'][stage.item]['method']}")
    if "thalweg.reducers" in found and stage.script == "stages.ensemble":
        names |= {name for name in modules() if name.startswith("thalweg.reducers.")}  # what is fitted may fall back
    return names


def code_of(stage: Stage, recipe: Path) -> set[str]:
    """Files that the stage's result follows from."""
    found = closure(stage.script, stop=NEUTRAL)
    found = closure(stage.script, *loaded_by_name(stage, recipe, found), stop=NEUTRAL)
    return {relative(name) for name in found if not is_empty(name)}


def shared_by_siblings(stage: Stage, recipe: Path) -> set[str]:
    """Files that another module of the same room would need: dvc.yaml cannot list deps by name, so they may stand."""
    rooms = {name.rpartition(".")[0] for name in loaded_by_name(stage, recipe, closure(stage.script, stop=NEUTRAL))}
    siblings = {name for name in modules() if name.rpartition(".")[0] in rooms}
    return {relative(name) for name in closure(*siblings, stop=NEUTRAL) - siblings}


def expanded(paths: frozenset[str]) -> dict[str, str]:
    """Python file → the dep that covers it."""
    files = {}
    for path in paths:
        if path.startswith(("src/", "stages/")):
            for file in (
                [path] if path.endswith(".py") else [str(p.relative_to(ROOT)) for p in (ROOT / path).rglob("*.py")]
            ):
                files[file] = path
    return files


def test_code_deps_are_what_the_stage_imports(stages, recipe):
    faults = []
    for stage in stages:
        needed, listed = code_of(stage, recipe), expanded(stage.deps)
        spared = needed | shared_by_siblings(stage, recipe)
        faults += [f"{stage.name} lacks the dep {file}" for file in sorted(needed - listed.keys())]
        faults += [
            f"{stage.name} has the dep {dep}, but does not import {file}"
            for file, dep in sorted(listed.items())
            if file not in spared and dep not in WIDE and not (module_of(file) and is_empty(module_of(file)))
        ]
    assert not faults, "\n".join(faults)


def module_of(file: str) -> str:
    return next((name for name, path in modules().items() if path == ROOT / file), "")


@pytest.mark.parametrize("source", sorted(n for n in modules() if n.startswith("thalweg.sources.")))
def test_fetch_lists_what_every_source_imports(source, stages):
    """dvc.yaml can name one source's own file, but not its imports, so fetch lists those of all of them."""
    [fetch] = [stage for stage in stages if stage.name == "fetch"]
    found = {relative(name) for name in closure("stages.fetch", source, stop=NEUTRAL) if not is_empty(name)}
    own = {relative(source)} | {path for path in found if path.startswith("src/thalweg/sample/")}
    assert not found - own - expanded(fetch.deps).keys()


def test_the_sample_does_not_depend_on_the_providers(stages):
    [fetch] = [stage for stage in stages if stage.name == "fetch"]
    assert not [
        dep for dep in fetch.deps if dep.startswith(tuple(f"src/{room.replace('.', '/')}" for room in PROVIDERS))
    ]


def test_only_sources_and_the_edge_use_the_providers():
    """Else a stage's numbers could follow from a room that no dep names."""
    users = {
        name for name in modules()
        if name not in NEUTRAL and any(other.startswith(PROVIDERS) for other in ours(name))
    }  # fmt: skip
    assert all(name.startswith("thalweg.sources.") or name in EDGE for name in users), sorted(users)


def test_code_deps_exist(stages, recipe):
    later = read_yaml(recipe)["round"]["input"]  # of a second round: written by `thalweg pseudo-label` after the first
    missing = [f"{stage.name}: {dep}" for stage in stages for dep in sorted(stage.deps)
               if dep.startswith(("src/", "stages/", "masks", "recipes/")) and not (ROOT / dep).exists()
               and dep != later]  # fmt: skip
    assert not missing, "\n".join(missing)


def test_other_deps_are_outs_of_a_stage_or_delivered(stages, recipe):
    data = read_yaml(recipe)
    delivered = {data["fetch"]["input"], data["masks"]["input"], "data", "masks", "params.yaml", "recipes"}
    outs = {out for stage in stages for out in stage.outs}
    faults = [
        f"{stage.name} depends on {dep}, which nothing makes"
        for stage in stages
        for dep in sorted(stage.deps)
        if not dep.startswith(("src/", "stages/", "masks", "recipes/", "data"))
        and dep not in delivered
        and not any(f"{out}/".startswith(f"{dep}/") or f"{dep}/".startswith(f"{out}/") for out in outs)
    ]
    assert not faults, "\n".join(faults)


def test_every_path_in_cmd_exists_and_is_a_dep(stages):
    for stage in stages:
        words = stage.cmd.split()
        assert words[:2] == ["python", "-m"], stage.cmd
        assert relative(stage.script) in stage.deps, stage.name
        assert words[3:] == ([stage.item] if stage.item else []), stage.cmd


def test_params_are_the_sections_that_the_script_loads(stages):
    for stage in stages:
        found = set()
        for section, keyed, items in loads(modules()[stage.script]):
            found.add(f"{section}.{stage.item}" if keyed and not items else section)
        assert found == stage.params, stage.name


def loads(script: Path) -> list[tuple[str, bool, bool]]:
    """(section, whether one item, whether all items) of every `params.load…` call in a script."""
    homes = {alias.asname or alias.name: node.module for node in ast.walk(tree(script))
             if isinstance(node, ast.ImportFrom) for alias in node.names}  # fmt: skip
    calls = []
    for node in ast.walk(tree(script)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("params.load", "params.load_items"):
            model = ast.unparse(node.args[0])
            section = getattr(importlib.import_module(homes[model]), model).section
            calls.append((section, len(node.args) > 1, ast.unparse(node.func).endswith("items")))
    return calls


def test_params_are_loaded_by_scripts_only():
    edge = {
        "doctor.account",
        "doctor.project",
        "executor.jobs",  # a site's own file
        "params",
        "params.origin",
        "params.presets",
        "params.recipe",
        "cli",
        "outcome",
        "recipes",
        "salvage",
        "stage",
        "submit.receipts",
        "summary",
        "unattended",
    }
    for name, path in modules().items():
        room = name.removeprefix("thalweg.")
        if name.startswith("thalweg") and room not in edge and not room.startswith("commands."):
            assert not loads(path), name
            assert "read_yaml" not in path.read_text(), name


def test_modules_found_by_name_are_found_in_their_package_alone():
    finders = {name for name, path in modules().items() if "import_module(" in path.read_text()}
    assert finders <= {
        "thalweg.sources",
        "thalweg.models",
        "thalweg.losses",
        "thalweg.active.scores",
        "thalweg.pretrain.methods",
        "thalweg.reducers",
        "thalweg.executor.cluster",  # an extra's
        "thalweg.submit.jobs",  # services of clusters, of which no stage depends
    }


def test_every_name_of_a_recipe_has_its_file(recipe):
    data = read_yaml(recipe)
    names = {f"sources/{data['fetch']['source']}"}
    names |= {f"models/{member['model']}" for member in data["models"].values()}
    names |= {f"losses/{loss}" for member in data["models"].values() for loss in member["loss"]}
    chosen = [member["active"] for member in data["models"].values() if member["active"]]
    names |= {f"active/scores/{score}" for active in chosen for score in active["scores"]}
    names |= {f"pretrain/methods/{encoder['method']}" for encoder in data["encoders"].values()}
    names |= {f"reducers/{ensemble['reducer']}" for ensemble in data["ensembles"].values()}
    assert not [name for name in sorted(names) if not (ROOT / "src/thalweg" / f"{name}.py").is_file()]


@pytest.mark.parametrize("script", ["fetch", "preprocess", "split", "plot", "report"])
def test_stages_without_training_never_import_torch(script):
    from import_graph import imported

    heavy = {"torch", "torchvision", "torchgeo", "torchmetrics", "lightning", "kornia", "timm", "safetensors"}
    found = closure(f"stages.{script}")
    if script == "fetch":
        found = closure(f"stages.{script}", *(name for name in modules() if name.startswith("thalweg.sources.")))
    faults = [f"{name} imports {other}" for name in sorted(found) for other in sorted(imported(name))
              if other.split(".")[0] in heavy]  # fmt: skip
    assert not faults, "\n".join(faults)


def test_outs_are_ignored_by_git(stages):
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text().split()}
    assert not [out for stage in stages for out in stage.outs if out.split("/")[0] not in ignored]
