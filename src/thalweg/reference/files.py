"""What a file's name puts into params.yaml: architectures, losses, reducers, scores, sources. Read, never imported."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import thalweg

ROOMS = {
    "models": "models.<name>.model",
    "losses": "models.<name>.loss",
    "active/scores": "models.<name>.active.scores",
    "reducers": "ensembles.<name>.reducer",
    "sources": "fetch.source",
}
"""Folder in src/thalweg → key that takes its files' names."""
_HANDED = {"channels", "classes", "class_weights", "wavelengths_nm", "pixel_m", "days"}
_LAST_IS_ALL = "Args:"


class Named(NamedTuple):
    """One file."""

    name: str
    about: str
    """First paragraph of its docstring."""
    options: Mapping[str, str]
    """What its `build` takes from params → what it means."""


def iter_named(room: str) -> Iterator[Named]:
    """The files of a room, sorted."""
    for path in sorted((Path(thalweg.__file__).parent / room).glob("*.py")):
        if path.stem != "__init__":
            tree = ast.parse(path.read_text("utf-8"))
            about = (ast.get_docstring(tree) or "").split("\n\n")[0]
            yield Named(path.stem, " ".join(about.split()), _options(tree))


def _options(tree: ast.Module) -> dict[str, str]:
    build = next((node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "build"), None)
    if build is None:
        return {}
    said = _arguments(ast.get_docstring(build) or "")
    return {arg.arg: said.get(arg.arg, "").removesuffix(".") for arg in build.args.kwonlyargs if arg.arg not in _HANDED}


def _arguments(docstring: str) -> dict[str, str]:
    """Argument → meaning, of a Google docstring."""
    found: dict[str, str] = {}
    last = ""
    for line in docstring.partition(_LAST_IS_ALL)[2].split("\n"):
        indent = len(line) - len(line.lstrip())
        name, colon, text = line.strip().partition(": ")
        if line.strip() and indent == 0:
            break
        if indent == 4 and colon:
            last = name
            found[last] = text
        elif line.strip() and last:
            found[last] += " " + line.strip()
    return found
