"""`runs/<member>/<time>/run.json`: how a run went, for those who come after it."""

import json
from pathlib import Path
from typing import Any, NamedTuple

RUN = "run.json"
CONSOLE = "console.log"


class Run(NamedTuple):
    """The newest run of a member."""

    folder: Path
    facts: dict[str, Any]
    """`status` is running (or killed), done, failed or interrupted; `seconds`, `error`, … as far as it came."""


def read_newest(runs: Path, member: str) -> Run | None:
    """The newest run with a readable record, or None."""
    for folder in sorted((runs / member).glob("*/"), reverse=True):
        try:
            facts = json.loads((folder / RUN).read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            continue
        return Run(folder, facts)
    return None
