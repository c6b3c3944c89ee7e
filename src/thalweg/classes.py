"""Class ids, names and colours, and the one value that means "ignored" from mask to loss to metric to map."""

from pydantic import BaseModel, ConfigDict, Field

IGNORE = 255
"""Label of a pixel that takes no part in loss or metric: unlabelled, or not valid."""


class ClassInfo(BaseModel):
    """One class; its id is its place in the list."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    """Name as it stands in params.yaml, metrics, map legends and reports."""
    color: str = Field(pattern=r"^#[0-9a-f]{6}$")
    """Colour on maps and plots, `#rrggbb`."""

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The colour as three bytes."""
        return int(self.color[1:3], 16), int(self.color[3:5], 16), int(self.color[5:7], 16)
