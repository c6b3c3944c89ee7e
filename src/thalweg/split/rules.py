"""Split rules of the crop system, read as they are: ordered, filtered, nested, with random shares.

Rules are tried in order, depth first, and the first that fits decides. Inside a nested list that fits nowhere the
search ends: the scene gets no part. Where the seed's own code compared a `path` given as text with a path object, so
that it never fitted, it fits here. A scene has no path: the last name of the filter without its ending is compared.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from thalweg.errors import SplitError
from thalweg.split.patches import Patch
from thalweg.split.strata import shuffled, strata_of, stratified

FILTERS = ("year", "tile", "patch_x", "patch_y", "path")
_OUTCOMES = ("target", "rules", "assert_none")
_ENDINGS = (".npz", ".nc", ".tif", ".tiff", ".jp2", ".jpg", ".jpeg", ".png", ".SAFE", ".zip")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Bounds(_Strict):
    """A filter that is a mapping: all that it says must hold."""

    among: list[int | float | str] | None = Field(default=None, alias="in")
    min: int | float | str | None = None
    max: int | float | str | None = None


Filter = int | str | list[int | str] | Bounds | None


class Share(_Strict):
    """One target of a random division."""

    target: str
    split: Annotated[float, Field(ge=0, le=1)] | None = None


class Stratum(_Strict):
    """A numeric column in bins of equal width."""

    column: str
    bins: Annotated[int, Field(ge=1)] | None = None


class CropRule(_Strict):
    """Filters, which must all fit, and exactly one outcome."""

    year: Filter = None
    tile: Filter = None
    patch_x: Filter = None
    patch_y: Filter = None
    path: Filter = None
    target: str | list[Share] | None = None
    rules: list["CropRule"] | None = None
    assert_none: bool | None = None
    stratify_on: list[Stratum] | None = None

    @model_validator(mode="after")
    def _one_outcome(self) -> "CropRule":
        given = [name for name in _OUTCOMES if getattr(self, name) is not None]
        if len(given) != 1 or self.assert_none is False:
            raise ValueError(f"has the outcomes {', '.join(given) or 'none'}; give one of target, rules, assert_none")
        shares = self.target if isinstance(self.target, list) else []
        if self.stratify_on is not None and (not shares or any(share.split is None for share in shares)):
            raise ValueError("has stratify_on, which needs a list of targets with a 'split' each")
        if sum(share.split or 0 for share in shares) > 1 + 1e-9:
            raise ValueError("has shares that sum to more than 1")
        return self


class _File(_Strict):
    rules: list[CropRule]


def read_rules(path: Path) -> list[CropRule]:
    """The rules of a file.

    Raises:
        SplitError: The file is missing, is no YAML, or holds an unknown key or a value that does not fit.
    """
    if not path.is_file():
        raise SplitError(f"{path} is missing; correct split.official.rules or split.input")
    try:
        raw: Any = yaml.safe_load(read_text(path))
        return _File.model_validate(raw).rules
    except yaml.YAMLError as error:
        raise SplitError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        fault = max(error.errors(), key=lambda each: len(each["loc"]))  # of a union, the form that fits best
        where = ".".join(str(part) for part in fault["loc"])
        raise SplitError(f"{path}: '{where}' {fault['msg'].removeprefix('Value error, ')}; correct the rule") from error


def read_text(path: Path) -> str:
    """A file of rules or names, with or without the mark that Windows puts before UTF-8.

    Raises:
        SplitError: It is in another encoding.
    """
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SplitError(f"{path} is no UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from error


def apply_rules(rules: Sequence[CropRule], patches: Iterable[Patch], column: Callable[[str], dict[str, float]],
                seed: int) -> dict[str, str]:  # fmt: skip
    """Scene name → target, for the scenes that get one.

    Args:
        rules: Of a file.
        patches: All scenes; their order plays no part.
        column: Values of a numeric column by scene name.
        seed: Of the random shares.

    Raises:
        SplitError: A scene reaches a rule that asserts that none does, or a filter asks what a name does not say.
    """
    reached: dict[tuple[int, ...], tuple[CropRule, list[str]]] = {}
    for patch in sorted(patches, key=lambda each: each.name):
        found = _first(rules, patch, ())
        if found is not None:
            reached.setdefault(found[0], (found[1], []))[1].append(patch.name)
    targets: dict[str, str] = {}
    for where, (rule, names) in sorted(reached.items(), key=lambda each: each[0]):
        targets |= _outcome(rule, where, names, column, np.random.default_rng([seed, *where]))
    return targets


def _first(rules: Sequence[CropRule], patch: Patch, where: tuple[int, ...]) -> tuple[tuple[int, ...], CropRule] | None:
    for number, rule in enumerate(rules):
        if all(_fits(getattr(rule, name), name, patch) for name in FILTERS):
            here = (*where, number)
            return (here, rule) if rule.rules is None else _first(rule.rules, patch, here)
    return None


def _fits(wanted: Filter, name: str, patch: Patch) -> bool:
    if wanted is None:
        return True
    value: Any = getattr(patch, name)
    if value is None:
        raise SplitError(
            f"split.official.rules ask for the {name} of {patch.name}, whose name does not say it; names should be "
            "like 2019_31TCJ_patch_20_29"
        )
    stem: Callable[[Any], Any] = stem_of if name == "path" else lambda given: given
    if isinstance(wanted, Bounds):
        for bound in (wanted.min, wanted.max):
            if bound is not None and isinstance(bound, str) != isinstance(value, str):
                raise SplitError(
                    f"split.official.rules bound the {name} by {bound!r}, but that of {patch.name} is {value!r}; "
                    "write text in quotes and numbers without"
                )
        inside = wanted.among is None or value in [stem(each) for each in wanted.among]
        return inside and (wanted.min is None or value >= wanted.min) and (wanted.max is None or value <= wanted.max)
    return value in [stem(each) for each in (wanted if isinstance(wanted, list) else [wanted])]


def stem_of(path: str) -> str:
    """The last name of a path without the endings of rasters and archives, which is how scenes are called."""
    name = PurePosixPath(str(path).strip().replace("\\", "/")).name
    while True:
        short = next((name.removesuffix(ending) for ending in _ENDINGS if name.endswith(ending)), name)
        if short == name:
            return name
        name = short


def _outcome(rule: CropRule, where: tuple[int, ...], names: list[str], column: Callable[[str], dict[str, float]],
             rng: np.random.Generator) -> dict[str, str]:  # fmt: skip
    if rule.assert_none:
        raise SplitError(
            f"{len(names)} scene(s), such as {names[0]}, reach rule {'.'.join(map(str, where))} of "
            "split.official.rules, which asserts that none does; add a rule for them before it"
        )
    if not isinstance(rule.target, list):
        return dict.fromkeys(names, rule.target or "")
    given = sum(share.split or 0 for share in rule.target)
    open_shares = sum(share.split is None for share in rule.target)
    shares = [(1 - given) / open_shares if share.split is None else share.split for share in rule.target]
    if rule.stratify_on:
        values = [(_values(column(each.column), names), each.bins) for each in rule.stratify_on]
        dealt = stratified(strata_of(values), shares, rng)
    else:
        dealt = shuffled(len(names), shares, rng)
    return {name: rule.target[number].target for name, number in zip(names, dealt.tolist(), strict=True) if number >= 0}


def _values(by_name: dict[str, float], names: list[str]) -> np.ndarray:
    return np.array([by_name[name] for name in names])
