"""Which recipes there are, whether one holds together, and making one the project's params.yaml."""

import shutil
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thalweg import params, reducers, sources
from thalweg.bands import wavelength_nm
from thalweg.errors import EnsembleError, ParamsError, WeightsError
from thalweg.params.grids import GridParams
from thalweg.params.models import Member
from thalweg.params.recipe import Recipe

if TYPE_CHECKING:
    from torch.nn import Module

FOLDER = Path("recipes")


def recipe_paths(root: Path) -> dict[str, Path]:
    """Recipes by name, sorted."""
    return {path.stem: path for path in sorted((root / FOLDER).glob("*.yaml"))}


def use_recipe(root: Path, name: str) -> Path | None:
    """Makes a recipe the project's params.yaml, whole or not at all.

    A params.yaml that no recipe equals and that git does not hold would be lost, so it is kept as params.yaml.bak.

    Returns:
        The kept copy, or None where nothing would have been lost.

    Raises:
        ParamsError: There is no such recipe, or it does not hold together.
    """
    recipes = recipe_paths(root)
    if name not in recipes:
        raise ParamsError(f"there is no recipe '{name}' in {root / FOLDER}; there are {', '.join(recipes) or 'none'}")
    Recipe(recipes[name])
    chosen, current = recipes[name].read_bytes(), root / params.PARAMS_FILE
    backup = None if _is_safe(current, list(recipes.values())) else current.with_name(f"{current.name}.bak")
    if backup:
        _replace(backup, current.read_bytes())
    _replace(current, chosen)
    return backup


def remove_leftovers(root: Path) -> list[str]:
    """Takes away outs of members, grids and maps that params.yaml no longer names.

    They lie in folders that later stages depend on, so a leftover would make a pipeline that is restored look changed.
    Only outs that dvc.lock records are removed: DVC's cache and the stores keep those.

    Returns:
        The removed paths below `root`.
    """
    lock = root / "dvc.lock"
    if not lock.is_file():
        return []
    recipe = Recipe(root / params.PARAMS_FILE)
    named: dict[str, Collection[str]] = {
        "preprocess": recipe.grids,
        "pretrain": recipe.encoders,
        "train": recipe.models,
        "crossval": recipe.crossval,
        "yardstick": recipe.yardsticks,
        "ensemble": recipe.ensembles,
    }
    gone = []
    for stage, record in params.read_yaml(lock).get("stages", {}).items():
        kind, _, key = stage.partition("@")
        if kind in named and key not in named[kind]:
            gone += [out["path"] for out in record.get("outs", []) if (root / out["path"]).exists()]
    for path in gone:
        shutil.rmtree(root / path) if (root / path).is_dir() else (root / path).unlink()
    return gone


def build_members(path: Path) -> Recipe:
    """Validates a params file and builds every member of it without memory for weights, so that a typo costs seconds.

    Raises:
        ParamsError: A section, name, architecture or option is wrong, or a network does not give a score per class
            and pixel.
    """
    recipe = Recipe(path)
    _check_grids(recipe, path)
    sources.read_options(recipe.fetch, path)
    for name, ensemble in recipe.ensembles.items():
        try:
            reducers.check(ensemble.reducer, ensemble.weights is not None)
        except EnsembleError as error:
            raise ParamsError(f"{path}: ensembles.{name}: {error}") from error
    trunks = _build_encoders(recipe, path)
    for name, member in recipe.models.items():
        network = _build_member(recipe, path, name, member)
        _check_start(network, trunks, path, name, member)
    return recipe


def _check_grids(recipe: Recipe, path: Path) -> None:
    from thalweg.preprocess.channels import formulas_of  # noqa: PLC0415 - `recipes` is read by commands that must not wait
    from thalweg.preprocess.series import check_series  # noqa: PLC0415

    for name, grid in recipe.grids.items():
        try:
            check_series(grid)
            formulas_of(grid)
        except ParamsError as error:
            said = str(error).removeprefix("grids: ")
            raise ParamsError(f"{path}: grids.{name}: {said}") from error


def _build_member(recipe: Recipe, path: Path, name: str, member: Member) -> "Module":
    """Without memory for weights; it gives a score per class and pixel of a chip."""
    import torch  # noqa: PLC0415 - takes ten seconds, which the other commands need not wait for

    from thalweg import models  # noqa: PLC0415

    grid, chip_px = recipe.grids[member.grid], member.chip_px
    try:
        with torch.device("meta"), torch.no_grad():
            network = models.build(
                member.model, grid.count, recipe.classes.count, member.options, _wavelengths(grid),
                float(grid.resolution_m or 1), models.days_of(grid.series.model_dump() if grid.series else None),
            ).eval()  # fmt: skip
            shape = network(torch.empty(1, grid.count, chip_px, chip_px)).shape
    except (ParamsError, RuntimeError, ValueError) as error:
        raise ParamsError(f"{path}: models.{name} cannot be built: {' '.join(str(error).split())}") from error
    if tuple(shape) != (1, recipe.classes.count, chip_px, chip_px):
        raise ParamsError(f"{path}: models.{name} turns a chip of {chip_px} px into {tuple(shape)}; change it")
    return network


def _check_start(
    network: "Module", trunks: Mapping[str, tuple[Any, Any]], path: Path, name: str, member: Member
) -> None:
    """Whether the encoder that it comes after, what judges its pool and the stages that it freezes fit it."""
    from thalweg.active import scorer  # noqa: PLC0415 - as torch
    from thalweg.weights.pretrained import check_fit  # noqa: PLC0415

    try:
        if member.after in trunks:
            check_fit(network, member.options, *trunks[member.after], f"models.{name}")
        if member.active is not None:
            scorer.check(member.active, network if member.active.judge == "self" else None)
    except WeightsError as error:
        raise ParamsError(f"{path}: {error}") from error
    except ParamsError as error:
        raise ParamsError(f"{path}: models.{name}: {error}") from error
    stages = getattr(network, "stages", {})
    if wrong := [str(stage) for stage in member.freeze if str(stage) not in stages]:
        raise ParamsError(
            f"{path}: models.{name}.freeze names {', '.join(wrong)}; the architecture's stages are "
            f"{', '.join(stages) or 'none'}"
        )


def _build_encoders(recipe: Recipe, path: Path) -> dict[str, tuple[Any, Any]]:
    """`encoders/<name>` → the tensors that a member may start from, without memory, and whose they are."""
    from thalweg.pretrain import run  # noqa: PLC0415 - torch takes ten seconds
    from thalweg.pretrain.encoder import on_meta  # noqa: PLC0415
    from thalweg.weights.pretrained import Made  # noqa: PLC0415

    found = {}
    for name, encoder in recipe.encoders.items():
        try:
            method = run.build_method(encoder, recipe.grids[encoder.grid].count, on_meta)
        except ParamsError as error:
            raise ParamsError(f"{path}: encoders.{name} cannot be built: {error}") from error
        made = Made(name, encoder.encoder, encoder.depth)
        found[f"encoders/{name}"] = method.kept.trunk.state_dict(), made
    return found


def _wavelengths(grid: GridParams) -> list[float | None]:
    """Of the grid's channels, None where there is none, date by date."""
    steps = grid.series.bins if grid.series else 1
    bands = [wavelength_nm(band) for band in grid.bands]
    return (bands + [None] * (grid.count // steps - len(bands))) * steps


def _is_safe(current: Path, recipes: list[Path]) -> bool:
    if not current.is_file():
        return True
    content = current.read_bytes()
    return any(recipe.read_bytes() == content for recipe in recipes) or _committed(current) == content


def _committed(path: Path) -> bytes | None:
    """What the last commit holds of a file; None without git, commit or file."""
    try:
        shown = subprocess.run(
            ["git", "show", f"HEAD:./{path.name}"], cwd=path.parent, capture_output=True, check=False
        )
    except FileNotFoundError:
        return None
    return shown.stdout if shown.returncode == 0 else None


def _replace(target: Path, content: bytes) -> None:
    partial = target.with_name(f".{target.name}.part")
    partial.write_bytes(content)
    partial.replace(target)
