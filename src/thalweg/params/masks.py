"""Section `masks`: where labels come from and what their values mean."""

import re
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from thalweg.params import Section


class Vector(BaseModel):
    """How polygons, lines and points become pixels."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    layer: str | None
    """Of a GeoPackage; null where the file has one."""
    attribute: str | None
    """Whose value is looked up in `values`; null: every feature has the value 1."""
    buffer_m: float = Field(ge=0)
    """Ground metres by which features are widened: lines and points need it."""
    all_touched: bool
    """Whether a feature takes every pixel that it touches, or those whose centre it covers."""


class Masks(Section):
    """Masks are matched to scenes by ground position, not by file name."""

    section: ClassVar[str] = "masks"

    input: str
    """The one path that DVC tracks: a folder of masks. Where `band` is set, any file that changes with the products."""
    patterns: tuple[str, ...]
    """Globs of GeoTIFFs below `input`; ignored where `band` is set."""
    match: Literal["ground", "name"]
    """`ground`: a mask labels every scene on whose ground it lies; `name`: the scene whose name its stem contains,
    pixel by pixel, for pictures without georeference."""
    band: str | None
    """Name of a product band that holds the labels (`SCL`), or null for mask files."""
    crs: str | None
    """CRS of masks that carry none (a PNG with its world file); null makes such a mask an error."""
    vector: Vector | None
    """For patterns of GeoPackage, GeoJSON or Shapefile; null where all masks are rasters."""
    zero: Literal["background", "unlabelled", "positive_unlabelled"]
    """What the value 0 (or ground without a feature) means, whatever the file's nodata tag says: class 0, nobody looked
    there, or anything: only positives were marked, and `prior` says how much of the rest is positive."""
    values: dict[str, str]
    """Other mask values (as text) → class name or `unlabelled`; colours of RGB-coded masks as "#rrggbb"; values of the
    vector attribute."""
    other: str
    """What a value that is not listed means: `error`, `unlabelled`, or a class."""
    threshold: float | None
    """Masks of shares or probabilities: from here on a value counts as 1, below as 0; null where values are codes."""
    encoder: str | None
    """File below `input` in the crop system's form (`labels: [{name, id}]`), which then replaces `values`; or null."""
    area: str | None
    """Glob below `input` of polygons; ground outside them is unlabelled, whatever masks say."""
    outside: Literal["background", "unlabelled"]
    """What the part of a scene (of its `area`, where given) that no mask covers means."""
    prior: float | None = Field(gt=0, lt=1)
    """Share of positives in unmarked ground, where `zero` is positive_unlabelled; else null."""

    @field_validator("values")
    @classmethod
    def _numbers_but_zero(cls, values: dict[str, str]) -> dict[str, str]:
        for value in values:
            if not re.fullmatch(r"-?\d+(\.\d+)?", value):
                continue
            if float(value) == 0:
                raise ValueError("what 0 means is said by masks.zero; take it out of masks.values")
        numbers = [value for value in values if re.fullmatch(r"-?\d+(\.\d+)?", value)]
        if len({float(value) for value in numbers}) < len(numbers):
            raise ValueError(f"two of the mask values {', '.join(values)} are one number; keep one of them")
        return values
