"""The viewer as HTML: one template, one style and one script, the same in the report and before the server."""

import json
from collections.abc import Mapping
from typing import Any

import jinja2
from markupsafe import Markup


def view(config: Mapping[str, Any], name: str, others: Mapping[str, str], data: bool) -> str:
    """A page of one viewer.

    Args:
        config: What `held.describe` says, and where tiles are.
        name: Of what is shown.
        others: Name → address of all that can be shown.
        data: Whether there is a page about the data.
    """
    return environment().get_template("view.html.j2").render(config=config, name=name, others=others, data=data)


def environment() -> jinja2.Environment:
    """Templates, with `json` for data in a script element and `file` for scripts and styles that stand in the page."""
    loader = jinja2.PackageLoader("thalweg", "templates")
    room = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    room.filters["json"] = _json
    room.globals["file"] = lambda path: Markup(loader.get_source(room, path)[0])
    return room


def _json(data: object) -> Markup:
    """JSON that cannot end its script element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028"))
