"""Which recipe params.yaml is, or is nearest to, and where it differs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from thalweg.params import read_yaml

_ABSENT = "–"


class Origin(NamedTuple):
    """The nearest recipe."""

    recipe: str
    changes: tuple[tuple[str, str, str], ...]
    """Dotted key, value of the recipe, value of params.yaml; `–` where one has none. Empty: it is the recipe."""


def find_origin(file: Path, recipes: Path) -> Origin | None:
    """The recipe with the fewest other values, the first by name of equals; None where there is no file or recipe."""
    paths = sorted(recipes.glob("*.yaml"))
    if not paths or not file.is_file():
        return None
    ours = dict(_flat(read_yaml(file)))
    found = [Origin(path.stem, _changes(dict(_flat(read_yaml(path))), ours)) for path in paths]
    return min(found, key=lambda origin: len(origin.changes))


def _changes(theirs: dict[str, Any], ours: dict[str, Any]) -> tuple[tuple[str, str, str], ...]:
    keys = [*theirs, *(key for key in ours if key not in theirs)]
    return tuple((key, str(theirs.get(key, _ABSENT)), str(ours.get(key, _ABSENT))) for key in keys
                 if key not in theirs or key not in ours or theirs[key] != ours[key])  # fmt: skip


def _flat(data: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(data, dict) and data:
        for key, value in data.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, data
