"""Section `grids`: the pixel grids that products are brought to."""

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from thalweg.params import Section


class GridParams(Section):
    """One grid: resolution, bands in order, extra channels, and what counts as valid."""

    section: ClassVar[str] = "grids"

    resolution_m: int | None = Field(gt=0)
    """Pixel size in the units of the CRS; null keeps that of plain rasters."""
    bands: tuple[str, ...] = Field(min_length=1)
    """Bands in the order of the image's channels; one that a product lacks is an error."""
    channels: tuple[str, ...]
    """Extra channels by formula after the bands: `nd(B08,B04)`, `sqrt(B02)`, `log(B02)`, `diff(B02,B04)`, or a name
    from thalweg/indices.py (`ndvi`, `ndmi`, `nbr`, `ndwi`, `whiteness`, `hot`)."""
    scl_invalid: tuple[Annotated[int, Field(ge=0, le=255)], ...]
    """SCL classes that make a pixel unusable; empty where there is no SCL or where the labels are clouds."""

    @model_validator(mode="after")
    def _distinct(self) -> "GridParams":
        names = (*self.bands, *self.channels)
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{', '.join(twice)} is named twice in bands and channels; name each channel once")
        return self
