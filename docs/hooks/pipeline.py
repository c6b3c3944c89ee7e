"""Draws docs/images/pipeline.svg from dvc.yaml: `python docs/hooks/pipeline.py` after a change of stages.

Stages stand in columns by the longest way to the end; an arrow is an out of one that another names as a dep.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "docs" / "images" / "pipeline.svg"
_WIDE, _HIGH, _GAP_X, _GAP_Y, _EDGE = 132, 48, 62, 26, 16
_COLORS = {"data": "#4c78a8", "models": "#2e7d5b", "results": "#a8552f"}
_KINDS = {
    "fetch": "data",
    "preprocess": "data",
    "split": "data",
    "plot": "results",
    "ensemble": "results",
    "report": "results",
}


def draw(path: Path = ROOT / "dvc.yaml") -> str:
    """The pipeline as SVG, the same text for the same file."""
    stages = YAML(typ="safe").load(path.read_text("utf-8"))["stages"]
    before = {name: _sources(name, stages) for name in stages}
    column = _columns(before)
    places = _places(column)
    columns, rows = max(x for x, _ in places.values()) + 1, max(y for _, y in places.values()) + 1
    width = columns * _WIDE + (columns - 1) * _GAP_X + 2 * _EDGE
    height = rows * _HIGH + (rows - 1) * _GAP_Y + 2 * _EDGE
    lines = [
        _arrow(places[one], places[name]) for name, many in before.items() for one in sorted(_direct(many, before))
    ]
    boxes = [_box(name, "foreach" in stage, places[name], _about(stage)) for name, stage in stages.items()]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' role="img" font-family="system-ui, sans-serif">',
        "<title>The pipeline's stages, and what passes between them</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#8a8f98"/></marker></defs>',
        *lines, *boxes, "</svg>", "",
    ])  # fmt: skip


def _body(stage: Mapping[str, object]) -> Mapping[str, object]:
    inner = stage.get("do", stage)
    return inner if isinstance(inner, Mapping) else {}


def _about(stage: Mapping[str, object]) -> str:
    return str(_body(stage).get("desc", ""))


def _outs(stage: Mapping[str, object]) -> list[str]:
    named = [out for kind in ("outs", "metrics") for out in _body(stage).get(kind, [])]  # type: ignore[attr-defined]
    return [next(iter(out)) if isinstance(out, Mapping) else str(out) for out in named]


def _sources(name: str, stages: Mapping[str, Mapping[str, object]]) -> set[str]:
    """Stages whose outs a stage reads; what stands below a folder counts, and so does the folder above."""
    deps = [str(dep).split("${")[0].rstrip("/") for dep in _body(stages[name]).get("deps", [])]  # type: ignore[attr-defined]
    found = set()
    for other, stage in stages.items():
        for out in _outs(stage):
            stem = out.split("${")[0].rstrip("/")
            if other != name and any(
                dep and (f"{stem}/".startswith(f"{dep}/") or f"{dep}/".startswith(f"{stem}/")) for dep in deps
            ):
                found.add(other)
    return found


def _columns(before: Mapping[str, set[str]]) -> dict[str, int]:
    """As late as what reads a stage allows, so that arrows are short."""

    @cache
    def to_end(name: str) -> int:
        return max((to_end(other) + 1 for other, sources in before.items() if name in sources), default=0)

    longest = max(to_end(name) for name in before)
    return {name: longest - to_end(name) for name in before}


def _direct(many: set[str], before: Mapping[str, set[str]]) -> set[str]:
    """Those that are not reached through another of them, so that the drawing stays readable."""

    def above(name: str) -> set[str]:
        return before[name] | {far for one in before[name] for far in above(one)}

    return {one for one in many if not any(one in above(other) for other in many)}


def _places(column: Mapping[str, int]) -> dict[str, tuple[int, float]]:
    places: dict[str, tuple[int, float]] = {}
    most = max(list(column.values()).count(at) for at in set(column.values()))
    for at in sorted(set(column.values())):
        names = [name for name, place in column.items() if place == at]
        for number, name in enumerate(names):
            places[name] = at, number + (most - len(names)) / 2
    return places


def _corner(place: tuple[int, float]) -> tuple[float, float]:
    return _EDGE + place[0] * (_WIDE + _GAP_X), _EDGE + place[1] * (_HIGH + _GAP_Y)


def _arrow(start: tuple[int, float], end: tuple[int, float]) -> str:
    (x0, y0), (x1, y1) = _corner(start), _corner(end)
    x0, y0, y1 = x0 + _WIDE, y0 + _HIGH / 2, y1 + _HIGH / 2
    bend, turn = x0 + _GAP_X / 2, x0 + _GAP_X  # at once, then level with the end
    return (
        f'<path d="M{x0:g} {y0:g}C{bend:g} {y0:g} {bend:g} {y1:g} {turn:g} {y1:g}L{x1:g} {y1:g}" fill="none" '
        'stroke="#8a8f98" stroke-width="1.4" marker-end="url(#tip)"/>'
    )


def _box(name: str, many: bool, place: tuple[int, float], about: str) -> str:
    x, y = _corner(place)
    color = _COLORS[_KINDS.get(name, "models")]
    behind = (
        f'<rect x="{x + 4:g}" y="{y - 4:g}" width="{_WIDE}" height="{_HIGH}" rx="7" fill="{color}" opacity=".35"/>'
        if many
        else ""
    )
    return (
        f'<g>{behind}<rect x="{x:g}" y="{y:g}" width="{_WIDE}" height="{_HIGH}" rx="7" fill="{color}"/>'
        f"<title>{about}</title>"
        f'<text x="{x + _WIDE / 2:g}" y="{y + _HIGH / 2 + 5:g}" text-anchor="middle" font-size="15" fill="#fff">'
        f"{name}{'@…' if many else ''}</text></g>"
    )


if __name__ == "__main__":
    TARGET.write_text(draw(), "utf-8")
