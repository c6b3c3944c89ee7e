"""The only door to params.yaml: one frozen, strict pydantic model per section, read as DVC reads it.

YAML is 1.2 (ruamel), because PyYAML turns `1e-4` into text (docs/adr/0003). Every section that a stage loads is
remembered, and `check_unchanged` fails at the stage's end if the file no longer says the same, because dvc.lock
records params after a stage ends (iterative/dvc#11058).
"""

import copy
import difflib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from thalweg.errors import ParamsChangedError, ParamsError

PARAMS_FILE = Path("params.yaml")
NOTHING = "masks/none.yaml"
"""What a param that DVC tracks as a path names where nothing is needed: a path that is always there."""

_loaded: dict[tuple[Path, str], str] = {}


class Section(BaseModel):
    """Base of every section: frozen, strict, no unknown keys, no defaults."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    section: ClassVar[str]
    """Key in params.yaml; for the foreach sections each item has this model."""


SectionT = TypeVar("SectionT", bound=Section)


def load(model: type[SectionT], key: str | None = None, path: Path | None = None) -> SectionT:
    """One validated section of params.yaml, or one item of it.

    Args:
        model: The section's model.
        key: Name of the item where the section is a mapping of items (grids, models, ensembles).
        path: The params file; `params.yaml` of the working directory if None.

    Raises:
        ParamsError: The file, section or key is missing, or a value does not fit; all faults are named.
    """
    file = path or PARAMS_FILE
    raw = pick(read_yaml(file), model.section, key, file)
    dotted = model.section if key is None else f"{model.section}.{key}"
    _loaded[(file.absolute(), dotted)] = json.dumps(raw, sort_keys=True, default=str)
    return parse(model, raw, dotted, file)


def load_items(model: type[SectionT], path: Path | None = None) -> dict[str, SectionT]:
    """All items of a section that maps names to items, sorted by name because DVC does not see their order.

    Raises:
        ParamsError: The section is no mapping, a name is one that DVC misreads, or an item does not fit.
    """
    file = path or PARAMS_FILE
    raw = pick(read_yaml(file), model.section, None, file)
    if not isinstance(raw, dict):
        raise ParamsError(f"{file}: '{model.section}' should be a mapping of names, not {type(raw).__name__}")
    for key in raw:
        if not isinstance(key, str) or not set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-"):
            raise ParamsError(
                f"{file}: '{model.section}.{key}' should be lower-case letters, digits, _ or - (DVC reads . and @)"
            )
    _loaded[(file.absolute(), model.section)] = json.dumps(raw, sort_keys=True, default=str)
    return {key: load(model, key, file) for key in sorted(raw)}


def parse(model: type[SectionT], raw: Any, dotted: str, file: Path) -> SectionT:
    """Validates a raw section; lists become tuples, anything else must have its exact type.

    Raises:
        ParamsError: A value does not fit the model, or is of a type that JSON does not know (an unquoted date).
    """
    try:
        return model.model_validate_json(json.dumps(raw))
    except TypeError as error:
        raise ParamsError(f"{file}: {dotted} holds a value that DVC cannot track ({error}); quote dates") from error
    except ValidationError as error:
        raise ParamsError(f"{file}: {_faults(error, dotted, model)}") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file as plain Python values, YAML 1.2 as DVC reads it.

    Raises:
        ParamsError: The file is missing or is no YAML mapping.
    """
    if not path.is_file():
        raise ParamsError(
            f"{path} is missing in {Path.cwd()}; run from the project's root, or `make use RECIPE=<name>`"
        )
    try:
        data = copy.deepcopy(_parsed(path.read_text("utf-8")))
    except UnicodeDecodeError as error:
        raise ParamsError(f"{path} is no text in UTF-8 ({error}); save it as such") from error
    except YAMLError as error:
        raise ParamsError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise ParamsError(f"{path} should hold a mapping of sections, not {type(data).__name__}")
    return data


@lru_cache(maxsize=4)
def _parsed(text: str) -> Any:
    """By content, since sections and items are loaded one by one of a text that takes a quarter of a second."""
    return YAML(typ="safe").load(text)


def pick(data: dict[str, Any], section: str, key: str | None, file: Path) -> Any:
    """The raw value of a section or of one of its items.

    Raises:
        ParamsError: It is not there; the message names the nearest that is.
    """
    if section not in data:
        raise ParamsError(f"{file} has no section '{section}'{_near(section, data)}")
    raw = data[section]
    if key is None:
        return raw
    if not isinstance(raw, dict) or key not in raw:
        known = raw if isinstance(raw, dict) else {}
        raise ParamsError(
            f"{file}: '{section}' has no '{key}'{_near(key, known)}; it has {', '.join(known) or 'nothing'}"
        )
    return raw[key]


def check_unchanged() -> None:
    """Compares every section loaded so far with the file as it is now.

    Raises:
        ParamsChangedError: One of them differs; what the stage made belongs to the old values.
    """
    for (file, dotted), before in _loaded.items():
        section, _, key = dotted.partition(".")
        now = pick(read_yaml(file), section, key or None, file)
        if json.dumps(now, sort_keys=True, default=str) != before:
            raise ParamsChangedError(
                f"{file}: '{dotted}' changed while the stage was running, so its result is thrown away; "
                "run `dvc repro` again"
            )


def _faults(error: ValidationError, dotted: str, model: type[Section]) -> str:
    faults = []
    for fault in error.errors():
        where = ".".join([dotted, *(str(part) for part in fault["loc"])])
        match fault["type"]:
            case "extra_forbidden":
                faults.append(f"unknown key '{where}'{_near(str(fault['loc'][-1]), model.model_fields)}")
            case "missing":
                faults.append(f"'{where}' is missing")
            case _:
                faults.append(f"'{where}' is {fault['input']!r}: {fault['msg'][0].lower()}{fault['msg'][1:]}")
    return "; ".join(faults)


def _near(word: str, known: Any) -> str:
    match = difflib.get_close_matches(word, [str(name) for name in known], n=1)
    return f" (did you mean '{match[0]}'?)" if match else ""
