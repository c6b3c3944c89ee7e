"""torchbearer's `configs/ensemble.yaml` as a recipe: its checkpoints' jobs become members, its strides sweeps.

Each checkpoint lies in a version folder beside the `config.yaml` of the job that made it. The job becomes a member, as
`jobs` maps it, and the ensemble a block under `ensembles:` that merges by maximum as torchbearer does. What has no
place here is told.

Source: the ensemble file and package/ensemble_inferrer.py of giodueck/torchbearer, commit e8689f1.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML

from thalweg.errors import ParamsError
from thalweg.jobs import Imported, Job, read_jobs, to_recipe

_KEYS = ("output", "datamodule_params", "strides", "ensemble")
_STRIDES = (128,)
_CONFIG = "config.yaml"
_MOST = 0.9


@dataclass(frozen=True)
class _Version:
    """A member of torchbearer's ensemble."""

    name: str
    """Last part of its path."""
    checkpoint: str
    config: Path | None
    """Its job's file; None where it is not there."""


def import_ensemble(path: Path, base: Path) -> Imported:
    """A recipe whose models are the jobs behind an ensemble's checkpoints, and whose one ensemble merges them.

    Args:
        path: torchbearer's ensemble file; version folders are looked for from the working directory, and from the
            folder above the file's own.
        base: A complete recipe, which gives what is not said; of its ensembles the first is the pattern.

    Raises:
        ParamsError: A file cannot be read, or none of the jobs behind the checkpoints is to be found.
    """
    given = _read(path)
    versions = [_version(path, one) for one in given["ensemble"]]
    known = [version for version in versions if version.config is not None]
    if not known:
        raise ParamsError(
            f"{path} names {', '.join(version.name for version in versions)}, but none of their {_CONFIG} files is "
            f"there (looked from {Path.cwd()} and {_root(path)}); run this where torchbearer's data/logs lies"
        )
    jobs = {f"{version.config}: {version.name}": _job(version) for version in known}
    imported = to_recipe(jobs, base)
    notes = [*_notes(given, versions), *imported.notes]
    recipe, overlaps = _with_ensemble(imported, given, jobs)
    notes += overlaps
    return Imported(recipe, imported.members, tuple(notes))


def _read(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ParamsError(f"{path} is missing; give the path of torchbearer's configs/ensemble.yaml") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path} is no YAML ({' '.join(str(error).split())}); correct it") from error
    members = found.get("ensemble") if isinstance(found, dict) else None
    if (
        not isinstance(members, list)
        or not members
        or not all(isinstance(one, dict) and "version_path" in one for one in members)
    ):
        raise ParamsError(
            f"{path} should hold a list 'ensemble' of checkpoints, each with a version_path; correct it, or give "
            "torchbearer's configs/ensemble.yaml"
        )
    return dict(found)


def _root(path: Path) -> Path:
    return path.absolute().parent.parent


def _version(path: Path, given: Mapping[str, Any]) -> _Version:
    folder = Path(str(given["version_path"]))
    places = [start / folder / _CONFIG for start in (Path(), _root(path))]
    config = next((place for place in places if place.is_file()), None)
    return _Version(folder.name, str(given.get("checkpoint", "")), config)


def _job(version: _Version) -> Job:
    [job, *others] = read_jobs(version.config or Path(_CONFIG))
    if others:
        raise ParamsError(f"{version.config} holds {len(others) + 1} jobs, but one made {version.name}; correct it")
    return job


def _with_ensemble(imported: Imported, given: Mapping[str, Any],
                   jobs: Mapping[str, Job]) -> tuple[str, list[str]]:  # fmt: skip
    """The recipe with the one ensemble, and what is to be said of its sweeps."""
    round_trip = YAML()
    round_trip.width = 120
    recipe = round_trip.load(imported.recipe)
    block = dict(next(iter(recipe["ensembles"].values())))
    window_px = max(int(recipe["models"][member]["window_px"]) for member in imported.members)
    patches = {_patch(job) for job in jobs.values()}
    strides = [int(stride) for stride in given.get("strides") or _STRIDES]
    overlaps = [round(min(max(1 - stride / window_px, 0.0), _MOST), 6) for stride in strides]
    block |= {
        "members": list(imported.members), "scenes": ["*"], "reducer": "max", "weights": None,
        "overlaps": list(dict.fromkeys(overlaps)), "blend": "none", "threshold": "argmax",
    }  # fmt: skip
    recipe["ensembles"].clear()
    recipe["ensembles"][_name(given)] = block
    stream = io.StringIO()
    round_trip.dump(recipe, stream)
    return stream.getvalue(), list(_sweeps(strides, window_px, patches))


def _patch(job: Job) -> int:
    return int((job.get("datamodule_params") or {}).get("patch_size") or 128)


def _name(given: Mapping[str, Any]) -> str:
    output = given.get("output") or {}
    stem = re.sub(r"[^a-z0-9_-]", "_", str(output.get("merged_filename") or "merged").lower())
    return stem or "merged"


def _sweeps(strides: Sequence[int], window_px: int, patches: set[int]) -> Iterator[str]:
    said = ", ".join(map(str, strides))
    yield (
        f"strides {said}: here overlaps as shares of a window of {window_px} pixels, so that windows lie as far apart; "
        f"torchbearer's windows are its patches of {', '.join(map(str, sorted(patches)))}"
    )
    if any(stride > patch for stride in strides for patch in patches):
        yield f"strides {said}: some are longer than a patch, which leaves gaps in torchbearer's map; here are none"


def _notes(given: Mapping[str, Any], versions: Sequence[_Version]) -> Iterator[str]:
    for key in given:
        if key not in _KEYS:
            yield f"'{key}' is no key of torchbearer's; it was left out"
    for version in versions:
        if version.config is None:
            yield f"{version.name}: there is no {_CONFIG} in its folder, so its job is unknown and it was left out"
        elif version.checkpoint:
            yield f"{version.name}: the weights of {version.checkpoint} are not taken over; its member is trained anew"
    output = given.get("output") or {}
    if output.get("path"):
        yield f"output.path ({output['path']}) has no place: the map lies in maps/{_name(given)}/"
    yield from _target(given.get("datamodule_params") or {})
    yield (
        "merging: torchbearer takes the largest of logits clipped to 0…1; here the reducer max takes the largest "
        "probability per class over members, windows of a member are averaged, and labels are the most probable class"
    )


def _target(target: Mapping[str, Any]) -> Iterator[str]:
    for key, value in target.items():
        if key == "sentinel_products":
            yield (
                f"datamodule_params.sentinel_products ({value}) is a group of products; list it under fetch.options, "
                "and name its scenes by globs in ensembles' scenes, which are '*' until then"
            )
        elif key == "mask_path" and value is None:
            continue  # no labels are asked of what is mapped
        else:
            yield f"datamodule_params.{key} ({value}) is the members' own here; it was left out"
