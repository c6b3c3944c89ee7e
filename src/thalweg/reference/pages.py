"""The reference as Markdown pages."""

from collections.abc import Iterable, Iterator

from thalweg.reference.files import ROOMS, iter_named
from thalweg.reference.keys import Key, sections, source_options

_HEADINGS = {
    "models": "Architectures",
    "losses": "Losses",
    "active/scores": "Scores that choose chips",
    "reducers": "Reducers",
}


def params_page() -> str:
    """Every section of params.yaml with its keys."""
    return "\n".join(_iter_params())


def names_page() -> str:
    """Every name that a file gives, with its options."""
    return "\n".join(_iter_names())


def _iter_params() -> Iterator[str]:
    yield "# Keys of params.yaml\n"
    yield (
        "Made from the models in `src/thalweg/params/` when this manual is built. Every key must be given, and no "
        "other may be: nothing has a default in the code. `thalweg explain models.lr` says the same in a terminal.\n"
    )
    for name, (about, keys) in sections().items():
        yield f"## {name}\n\n{about}\n"
        yield from _table(keys)
    yield "## fetch.options\n\nEach source has its own.\n"
    named = {each.name: each.about for each in iter_named("sources")}
    for name, keys in source_options(named).items():
        yield f"### {name}\n\n{named[name]}\n"
        yield from _table(keys)


def _iter_names() -> Iterator[str]:
    yield "# Names in params.yaml that are files\n"
    yield "A file's name is its name. What `build` takes beside what it is handed stands as its options.\n"
    for room, heading in _HEADINGS.items():
        yield f"## {heading}\n\n`{ROOMS[room]}`, files of `src/thalweg/{room}/`.\n"
        yield "| name | what it is | options |\n|---|---|---|"
        for each in iter_named(room):
            options = "; ".join(f"`{name}`: {said}" if said else f"`{name}`" for name, said in each.options.items())
            yield f"| `{each.name}` | {_cell(each.about)} | {_cell(options)} |"
        yield ""


def _table(keys: Iterable[Key]) -> Iterator[str]:
    yield "| key | unit | values | meaning |\n|---|---|---|---|"
    for key in keys:
        yield f"| `{key.path}` | {key.unit} | {_cell(key.values)} | {_cell(key.meaning)} |"
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;") if "`" not in text else text.replace("|", "\\|")
