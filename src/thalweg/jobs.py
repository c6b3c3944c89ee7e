"""torchbearer's jobs as members: its `configs/jobs.yaml` and a recipe of ours become a new recipe.

What a job says goes where it belongs here; what has no place here is told, key by key. Jobs that are listed twice are
runs of one configuration, so the second gets another seed.

Source: the jobs file of giodueck/torchbearer, commit e8689f1; its defaults are those of its README.
"""

import copy
import io
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML

from thalweg.errors import ParamsError
from thalweg.params.recipe import Recipe

Job = dict[str, Any]

_RESOLUTIONS = {"sentinel2_60m": 60, "sentinel2_20m": 20}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "model_params": {"lr": 1e-4, "weight_decay": 1e-4},
    "datamodule_params": {"batch_size": 3, "patch_size": 128, "stride": 128, "length": 800},
    "trainer_params": {"patience": 5, "max_epochs": 10},
}
_SEED = 3
_WIDTHS = (64, 128, 256, 512)
_SECTIONS = ("model", "model_params", "datamodule", "datamodule_params", "seed", "trainer_params")
_SAID: dict[str, str] = {
    "num_workers": "is train.workers here, one value for all members; it was left as the recipe has it",
    "sentinel_path": "has no meaning here: products lie where `fetch` puts them",
    "sentinel_products": "is fetch.options.groups here, one value for all members; it was left as the recipe has it",
    "mask_path": "is masks.input here, one value for all members; it was left as the recipe has it",
    "save_top_k": "has no place: the best epoch's weights are kept",
    "min_epochs": "has no place: patience alone ends a training early",
    "log_every_n_steps": "has no place: every epoch is logged",
    "in_channels": "follows from the grid's bands",
    "out_channels": "follows from classes.legend",
    "backbone_pretrained": "has no place: those weights are of three-band pictures; FarSeg starts afresh here",
}


@dataclass(frozen=True)
class Imported:
    """What became of a jobs file."""

    recipe: str
    """YAML."""
    members: tuple[str, ...]
    notes: tuple[str, ...]
    """What could not be mapped, one line each."""


def import_jobs(path: Path, base: Path) -> Imported:
    """A recipe whose models are a jobs file's jobs, and whose other sections are those of a base recipe.

    Args:
        path: torchbearer's jobs file: one job or a list of jobs.
        base: A complete recipe; its first member gives what jobs do not say.

    Raises:
        ParamsError: A file cannot be read, or a job names a model or data module that is not torchbearer's, bands
            that the base recipe's grids do not have, or values that no recipe can have.
    """
    return to_recipe({f"{path}: job {number}": job for number, job in enumerate(read_jobs(path), 1)}, base)


def to_recipe(jobs: Mapping[str, Job], base: Path) -> Imported:
    """As `import_jobs`, of jobs that are read already, by what messages call them."""
    Recipe(base)
    round_trip = YAML()
    round_trip.width = 120
    recipe = round_trip.load(base.read_text("utf-8"))
    template = copy.deepcopy(next(iter(recipe["models"].values())))
    members: dict[str, Any] = {}
    notes: list[str] = []
    for where, job in jobs.items():
        member = _member(where, job, template, recipe)
        notes += [f"{where.rpartition(': ')[2]}: {note}" for note in _unmapped(job)]
        members[_name(job, member, members)] = _reseeded(member, members)
    notes += [f"the base recipe's crossval.{name} has no job; it was left out" for name in recipe["crossval"]]
    recipe["crossval"].clear()
    recipe["models"].clear()
    recipe["models"].update(members)
    for ensemble in recipe["ensembles"].values():
        ensemble["members"] = list(members)
    stream = io.StringIO()
    round_trip.dump(recipe, stream)
    _check(Path(next(iter(jobs), str(base)).rpartition(": ")[0]), stream.getvalue())
    return Imported(stream.getvalue(), tuple(members), tuple(notes))


def read_jobs(path: Path) -> list[Job]:
    """The jobs of a file that holds one or a list of them.

    Raises:
        ParamsError: It is missing, no YAML, or holds none.
    """
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ParamsError(f"{path} is missing; give the path of torchbearer's configs/jobs.yaml") from error
    except OSError as error:
        raise ParamsError(f"{path} cannot be read ({error.strerror}); give torchbearer's configs/jobs.yaml") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path} is no YAML ({' '.join(str(error).split())}); correct it") from error
    jobs = found if isinstance(found, list) else [found]
    if not jobs or not all(isinstance(job, dict) and "model" in job for job in jobs):
        raise ParamsError(f"{path} should hold one job or a list of jobs, each with a 'model'; correct it")
    return jobs


def _check(path: Path, recipe: str) -> None:
    """Before anybody makes it the project's params.yaml."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "jobs")
        file.write_text(recipe, "utf-8")
        try:
            Recipe(file)
        except ParamsError as error:
            said = str(error).removeprefix(f"{file}: ")
            raise ParamsError(f"{path} makes no recipe that holds together ({said}); correct the job") from error


def _member(where: str, job: Job, template: Mapping[str, Any], recipe: Any) -> dict[str, Any]:
    data, trainer, model = (
        _section(where, job, key) for key in ("datamodule_params", "trainer_params", "model_params")
    )
    member: dict[str, Any] = copy.deepcopy(dict(template))
    patch, stride = (_whole(f"{where}: datamodule_params", data, key) for key in ("patch_size", "stride"))
    whole = {"chips_per_epoch": (data, "length"), "batch_size": (data, "batch_size"),
             "max_epochs": (trainer, "max_epochs"), "patience": (trainer, "patience")}  # fmt: skip
    member |= {
        "model": str(job["model"]), "options": _options(where, job, model), "grid": _grid(where, job, data, recipe),
        "seed": _whole(where, {"seed": _SEED} | _said(job), "seed"), "chip_px": patch, "window_px": 2 * patch,
        "overlap": min(max(1 - stride / max(2 * patch, 1), 0.0), 0.9),
    }  # fmt: skip
    member |= {key: _number(f"{where}: model_params", model, key) for key in ("lr", "weight_decay")}
    return member | {ours: _whole(where, *given) for ours, given in whole.items()}


def _said(given: Mapping[str, Any]) -> dict[str, Any]:
    """Without nulls, which are as if nothing had been said."""
    return {name: value for name, value in given.items() if value is not None}


def _number(where: str, given: Mapping[str, Any], key: str) -> float:
    try:
        return float(given[key])  # PyYAML reads 1e-4 as text
    except (TypeError, ValueError) as error:
        raise ParamsError(f"{where}: {key} is {given[key]!r}, expected a number; correct it") from error


def _whole(where: str, given: Mapping[str, Any], key: str) -> int:
    number = _number(where, given, key)
    if not number.is_integer():
        raise ParamsError(f"{where}: {key} is {given[key]!r}, expected a whole number; correct it")
    return int(number)


def _section(where: str, job: Job, key: str) -> dict[str, Any]:
    given = job.get(key) or {}
    if not isinstance(given, dict):
        raise ParamsError(f"{where}: {key} is {given!r}, expected a mapping; correct it")
    return _DEFAULTS[key] | _said(given)


def _options(where: str, job: Job, model: Mapping[str, Any]) -> dict[str, Any]:
    if job["model"] == "unet":
        features = model.get("features", _WIDTHS)
        if not isinstance(features, (list, tuple)):
            raise ParamsError(f"{where}: model_params: features is {features!r}, expected a list; correct it")
        widths = [_whole(f"{where}: model_params", {"features": width}, "features") for width in features]
        return {"widths": widths, "dropout": 0.0, "upsample": "transposed"}
    if job["model"] == "fcn":
        return {"num_filters": _whole(f"{where}: model_params", {"num_filters": 64} | dict(model), "num_filters")}
    if job["model"] == "farseg":
        return {"backbone": str(model.get("backbone", "resnet50"))}
    raise ParamsError(f"{where} has the model '{job['model']}', but torchbearer has unet, fcn and farseg; correct it")


def _grid(where: str, job: Job, data: Mapping[str, Any], recipe: Any) -> str:
    """Key of the grid with the job's resolution and bands; a copy with fewer bands is made where none fits."""
    module = str(job.get("datamodule") or "sentinel2_60m")
    if module not in _RESOLUTIONS:
        raise ParamsError(f"{where} has the datamodule '{module}', expected {' or '.join(_RESOLUTIONS)}; correct it")
    grids = {name: grid for name, grid in recipe["grids"].items() if grid["resolution_m"] == _RESOLUTIONS[module]}
    if not grids:
        raise ParamsError(
            f"{where} wants {_RESOLUTIONS[module]} m, but the base recipe has no such grid; take one that has, e.g. "
            "recipes/chaco.yaml"
        )
    name, grid = next(iter(grids.items()))
    named = data.get("bands", grid["bands"])
    bands = [named] if isinstance(named, str) else [str(band) for band in named]
    if strange := [band for band in bands if band not in grid["bands"]]:
        raise ParamsError(
            f"{where} wants the band(s) {', '.join(strange)}, but the base recipe's grid {name} has "
            f"{', '.join(grid['bands'])}; correct the job or add the bands to the recipe"
        )
    same = [key for key, other in grids.items() if list(other["bands"]) == bands]
    if same:
        return str(same[0])
    fewer = f"{name}_{'_'.join(band.lower() for band in bands)}"
    recipe["grids"][fewer] = copy.deepcopy(grid) | {"bands": bands}
    recipe["split"]["chip_px"][fewer] = recipe["split"]["chip_px"][name]
    return fewer


def _name(job: Job, member: Mapping[str, Any], taken: Mapping[str, Any]) -> str:
    options = member["options"]
    tail = {"unet": lambda: f"_{options['widths'][0]}_{options['widths'][-1]}",
            "fcn": lambda: f"_{options['num_filters']}", "farseg": lambda: f"_{options['backbone']}"}  # fmt: skip
    stem = re.sub(r"[^a-z0-9_-]", "_", f"{job['model']}{tail[job['model']]()}".lower())
    if member["grid"] not in ("s2_60m",):
        stem += f"_{member['grid'].removeprefix('s2_')}"
    number = 1
    while (stem if number == 1 else f"{stem}_{number}") in taken:
        number += 1
    return stem if number == 1 else f"{stem}_{number}"


def _reseeded(member: dict[str, Any], taken: Mapping[str, Any]) -> dict[str, Any]:
    """The member, with the next free seed if its like is there already."""
    while any(dict(other) == member for other in taken.values()):
        member = member | {"seed": member["seed"] + 1}
    return member


def _unmapped(job: Job) -> Iterator[str]:
    known = {
        "model_params": {"lr", "weight_decay", "features", "num_filters", "backbone"},
        "datamodule_params": {"batch_size", "patch_size", "stride", "length", "bands"},
        "trainer_params": {"patience", "max_epochs"},
    }
    for key in job:
        if key not in _SECTIONS:
            yield f"'{key}' is no key of torchbearer's; it was left out"
    for section, taken in known.items():
        for key, value in (job.get(section) or {}).items():
            if key not in taken:
                said = _SAID.get(key, "is no key that is known; it was left out")
                yield f"{section}.{key} ({value}) {said}"
