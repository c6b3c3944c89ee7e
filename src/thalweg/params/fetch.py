"""Section `fetch`: where the products come from."""

from typing import Any, ClassVar

from pydantic import Field

from thalweg.params import Section


class Fetch(Section):
    """What `fetch` delivers into build/raw."""

    section: ClassVar[str] = "fetch"

    source: str = Field(pattern=r"^[a-z0-9_]+$")
    """File name in src/thalweg/sources/: `sample`, `local`."""
    input: str
    """The one path that the source reads and DVC tracks: the sample's module, `data`, or a products lock."""
    options: dict[str, Any]
    """What the source's own model `Options` says."""
