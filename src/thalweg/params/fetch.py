"""Section `fetch`: where the products come from."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from thalweg.params import Section


class Elevation(BaseModel):
    """Tiles of the Copernicus DEM GLO-30 to fetch beside the products."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    bucket: str = Field(pattern=r"^(https?|file)://\S+[^/]$")
    """`https://copernicus-dem-30m.s3.amazonaws.com`, or a copy of it."""
    tiles: tuple[str, ...] = Field(min_length=1)
    """South-west corners, `S22W063`."""


class Fetch(Section):
    """What `fetch` delivers into build/raw."""

    section: ClassVar[str] = "fetch"

    source: str = Field(pattern=r"^[a-z0-9_]+$")
    """File name in src/thalweg/sources/: `sample`, `crops`, `local`, `copernicus`, `stac`, `archive`, `dem`."""
    input: str
    """The one path that the source reads and DVC tracks: the sample's module, `data`, a products lock, a file list."""
    masks: str
    """Catalogue of masks to fetch into build/raw/masks: `masks/none.yaml` where there are none to fetch."""
    elevation: Elevation | None
    """Heights for the channels elevation and slope; null where none are wanted or `source` delivers its own."""
    options: dict[str, Any]
    """What the source's own model `Options` says."""

    @model_validator(mode="after")
    def _tiles_once(self) -> "Fetch":
        if self.source == "dem" and self.elevation is not None:
            raise ValueError("the source dem delivers tiles itself; set fetch.elevation to null")
        return self
