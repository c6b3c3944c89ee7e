"""Keys of params.yaml with unit, range and meaning, as their pydantic models say them."""

import ast
import difflib
import inspect
import itertools
import textwrap
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel

from thalweg import sources
from thalweg.errors import ParamsError
from thalweg.params import Section
from thalweg.params.recipe import SECTIONS

_UNITS = {"_m": "m", "_m2": "m²", "_px": "pixels", "_days": "days", "_epochs": "epochs", "_s": "s", "_gib": "GiB"}
_WORDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "null": "null",
          "object": "mapping", "array": "list"}  # fmt: skip
_BOUNDS = {"minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}"}


class Key(NamedTuple):
    """One key."""

    path: str
    """Dotted; `<name>` stands for any name, `[]` for any item of a list."""
    unit: str
    """`m`, `pixels`, …; empty where the value has none."""
    values: str
    """Types and ranges."""
    meaning: str
    """The docstring below the field; empty where the name says it all."""


def sections() -> dict[str, tuple[str, list[Key]]]:
    """Section → what it is for, and its keys, in the order of the models."""
    found = {}
    for model, named in SECTIONS:
        prefix = f"{model.section}.<name>" if named else model.section
        found[model.section] = (_first(model), list(iter_keys(model, prefix)))
    return found


def source_options(names: Mapping[str, str]) -> dict[str, list[Key]]:
    """Source → keys of its `fetch.options`, for sources by name."""
    return {name: list(iter_keys(sources.load(name).Options, "fetch.options")) for name in names}


def iter_keys(model: type[BaseModel], prefix: str) -> Iterator[Key]:
    """Keys of a model and of the models that it holds, depth first."""
    schema = model.model_json_schema()
    said = _docstrings(model)
    for name, field in model.model_fields.items():
        shown = field.alias or name
        path = f"{prefix}.{shown}"
        values = describe(schema["properties"][shown])
        yield Key(path, _unit(name, values), values, said.get(name, ""))
        for inner, way in _inner(field.annotation, ""):
            yield from iter_keys(inner, path + way)


def find(asked: str, names: Collection[str] = ()) -> list[Key]:
    """The key that a person asks for, and what lies below it; names of members, grids and maps may be given or not.

    Args:
        asked: `models.unet.lr`, `models.lr`, `models`.
        names: Those in the section, so that `models.unet` is no misspelt key.

    Raises:
        ParamsError: There is none.
    """
    every = [key for _, keys in sections().values() for key in keys]
    wanted = asked.removesuffix(".").split(".")
    named = {model.section for model, is_named in SECTIONS if is_named}
    if len(wanted) == 2 and wanted[0] in named and wanted[1] in names:
        wanted = wanted[:1]
    fits = [key for key in every if _fits(key.path, wanted)]
    if not fits:
        lasts = {key.path.rpartition(".")[2] for key in every}
        near = difflib.get_close_matches(wanted[-1], lasts, n=1, cutoff=0.75)
        like = [key.path for key in every if near and key.path.endswith(f".{near[0]}")]
        known = f"there is {', '.join(like[:5])}" if like else f"the sections are {', '.join(sections())}"
        raise ParamsError(f"there is no key '{asked}' in params.yaml; {known}")
    return fits


def _fits(path: str, wanted: list[str]) -> bool:
    """Whether a path begins with what is wanted: `models.unet.lr` and `models.lr` fit `models.<name>.lr`."""
    parts = path.split(".")
    for skipped in (False, True):
        mine = [part.removesuffix("[]") for part in parts if not (skipped and part == "<name>")]
        pairs = list(zip(mine, wanted, strict=False))
        if (
            len(mine) >= len(wanted)
            and all(have in (part, "<name>") for have, part in pairs)
            and pairs[-1][0] != "<name>"
        ):
            return True
    return False


def describe(schema: Mapping[str, Any]) -> str:
    """A JSON schema in words: `whole number ≥ 1, or null`."""
    if words := schema.get("enum") or ([schema["const"]] if "const" in schema else []):
        return " · ".join(f"`{value}`" for value in words)
    if "$ref" in schema:
        return "mapping"
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return ", or ".join(dict.fromkeys(describe(choice) for choice in choices))
    kind = schema.get("type", "")
    if kind == "array":
        return _list(schema)
    if kind == "object" and isinstance(inner := schema.get("additionalProperties"), dict):
        return f"mapping of names to {describe(inner)}"
    bounds = [words.format(f"{schema[key]:g}") for key, words in _BOUNDS.items() if key in schema]
    shape = [f"of the form `{schema['pattern']}`"] if "pattern" in schema else []
    return " ".join(part for part in (_WORDS.get(kind, "anything"), ", ".join(bounds), *shape) if part)


def _list(schema: Mapping[str, Any]) -> str:
    if "prefixItems" in schema:
        return f"list of {', '.join(describe(item) for item in schema['prefixItems'])}"
    least = f" (at least {schema['minItems']})" if schema.get("minItems") else ""
    return f"list of {describe(schema.get('items', {}))}{least}"


def _unit(name: str, values: str) -> str:
    if "number" not in values:
        return ""
    return next((unit for ending, unit in _UNITS.items() if name.endswith(ending)), "")


def _inner(annotation: Any, way: str) -> Iterator[tuple[type[BaseModel], str]]:
    """Models inside a type, each with what leads there."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation, way
        return
    origin = getattr(annotation, "__origin__", None)
    step = {tuple: "[]", dict: ".<name>"}.get(origin, "") if origin else ""
    for argument in dict.fromkeys(get_args(annotation)):
        yield from _inner(argument, way + step)


@cache
def _docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Field → the text that stands below it, those of the models that it extends included."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if not issubclass(base, BaseModel) or base in (BaseModel, Section):
            continue
        [body] = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        nodes = body.body if isinstance(body, ast.ClassDef) else []
        for field, text in itertools.pairwise(nodes):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                found[ast.unparse(field.target)] = " ".join(str(text.value.value).split())
    return found


def _first(model: type[BaseModel]) -> str:
    return (inspect.getdoc(model) or "").partition("\n")[0]
