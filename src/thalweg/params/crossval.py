"""Section `crossval`: which members are cross-validated, keyed by their names under `models`; empty by default."""

from typing import ClassVar

from pydantic import Field

from thalweg.params import Section


class Crossval(Section):
    """How one member is cross-validated."""

    section: ClassVar[str] = "crossval"

    folds: int = Field(ge=2)
    """Spatial folds; the member is trained once for each, tested on its ground, validated on the next one's."""
    random: bool
    """Train once more on a random split of windows, so that the optimism of such a split is known."""
