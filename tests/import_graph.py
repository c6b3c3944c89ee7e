"""The project's import graph, read from the source without running it: late imports count, type-checking ones do not."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]


@cache
def modules() -> dict[str, Path]:
    """Module name → file, of `thalweg` and `stages`."""
    found = {}
    for base, top in ((ROOT / "src", "thalweg"), (ROOT, "stages")):
        for path in sorted((base / top).rglob("*.py")):
            parts = path.relative_to(base).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(path: Path) -> ast.Module:
    """The file's syntax tree."""
    return ast.parse(path.read_text("utf-8"), str(path))


@cache
def imported(name: str) -> frozenset[str]:
    """Full names that a module imports, ours and others'; packages on the way to one of ours are included."""
    found: set[str] = set()
    for node in _nodes(tree(modules()[name])):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{name} imports relatively"
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            found.update(way if way in modules() else node.module for way in full)
            if any(way not in modules() for way in full):
                found.add(node.module)
    for full_name in list(found):
        parts = full_name.split(".")
        if parts[0] in ("thalweg", "stages"):
            found.update(".".join(parts[:length]) for length in range(1, len(parts)))
    return frozenset(found)


def ours(name: str) -> set[str]:
    """Modules of the project that a module imports, packages without code of their own left out."""
    return {other for other in imported(name) if other in modules() and other != name and not is_empty(other)}


def closure(*names: str, stop: frozenset[str] = frozenset()) -> set[str]:
    """All project modules that these import, themselves included; those in `stop` are neither taken nor followed."""
    seen: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in seen and name not in stop:
            seen.add(name)
            todo += ours(name)
    return seen


def is_empty(name: str) -> bool:
    """Whether a module holds a docstring only."""
    return all(
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in tree(modules()[name]).body
    )


def relative(name: str) -> str:
    """A module's file as dvc.yaml writes it."""
    return modules()[name].relative_to(ROOT).as_posix()


def _nodes(top: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(top):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        yield from _nodes(node)
