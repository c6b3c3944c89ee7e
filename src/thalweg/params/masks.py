"""Section `masks`: where labels come from and what their values mean."""

import re
from pathlib import PurePosixPath
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from thalweg.params import Section


def is_number(value: str) -> bool:
    """Whether a key of `values` is a number: a code, or the number that an attribute holds."""
    return re.fullmatch(r"-?\d+(\.\d+)?(e[-+]?\d+)?", value) is not None


def number_of(value: str) -> int | float:
    """The number that a key of `values` is: whole ones exactly, however many digits they have."""
    return int(value) if re.fullmatch(r"-?\d+", value) else float(value)


class Vector(BaseModel):
    """How polygons, lines and points become pixels."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    layer: str | None
    """Of a GeoPackage; null where the file has one."""
    attribute: str | None
    """Whose value is looked up in `values`; null: every feature has the value 1."""
    buffer_m: float = Field(ge=0)
    """True ground metres by which features are widened: lines and points have no width without it."""
    all_touched: bool
    """Whether a feature takes every pixel that it touches, or those whose centre it covers. Lines and points without a
    width always take those that they touch."""


class Masks(Section):
    """Which labels pixels have. What overrules what is said in one place: preprocess/masks/__init__.py."""

    section: ClassVar[str] = "masks"

    input: str
    """The one path that DVC tracks: a folder of masks. Where `band` is set, any file that changes with the products."""
    patterns: tuple[str, ...]
    """Globs below `input` of rasters (GeoTIFF, PNG or JPG with a world file; one band of codes, with or without a
    colour table, or red, green and blue) and of vectors (GeoPackage, GeoJSON, Shapefile); ignored where `band` is set.
    """
    match: Literal["ground", "name"]
    """`ground`: a mask labels every scene on whose ground it lies; `name`: the scene whose name its stem contains (the
    longest that it does; a last part of letters such as `_IRRG` may be missing), a raster pixel by pixel, for pictures
    without georeference."""
    band: str | None
    """Name of a product band that holds the labels (`SCL`), or null for mask files."""
    crs: str | None
    """CRS of masks and areas that carry none (a PNG with its world file); null makes such a file an error."""
    vector: Vector | None
    """For patterns of GeoPackage, GeoJSON or Shapefile; null where all masks are rasters."""
    zero: Literal["background", "unlabelled", "positive_unlabelled"]
    """What the value 0 (or ground without a feature) means, whatever the file's nodata tag says: class 0, nobody looked
    there, or anything: only positives were marked, and `prior` says how much of the rest is positive. Any other value
    that a file tags as nodata is unlabelled, unless it is listed."""
    values: dict[str, str]
    """Other mask values (as text) → class name or `unlabelled`; colours of RGB-coded masks or of a colour table as
    "#rrggbb"; values of the vector attribute (1 where there is none). Several values may mean one class."""
    other: str
    """What a value, colour or attribute that is not listed means: `error`, `unlabelled`, or a class."""
    threshold: float | None
    """Masks of shares or probabilities: a value from here on counts as 1, one below as 0; NaN and the file's nodata are
    unlabelled. null where values are codes."""
    encoder: str | None
    """File below `input` in the crop system's form (`labels: [{name, id}]`), which then replaces `values` and `other`:
    a code has the class in whose place it is listed; the first class, and any code that is not listed, is what `zero`
    says, and where that is unlabelled, the legend may leave the first class out. Null where there is none."""
    area: str | None
    """Glob below `input` of polygons; ground outside them is unlabelled, whatever masks say; or null."""
    outside: Literal["background", "unlabelled"]
    """What the part of a scene (of its `area`, where given) that no mask covers means."""
    prior: float | None = Field(gt=0, lt=1)
    """Share of positives in unmarked ground, where `zero` is positive_unlabelled; else null."""

    @field_validator("values")
    @classmethod
    def _one_meaning_each(cls, values: dict[str, str]) -> dict[str, str]:
        numbers = [value for value in values if is_number(value)]
        if any(number_of(value) == 0 for value in numbers):
            raise ValueError("what 0 means is said by masks.zero; take it out of masks.values")
        if len({number_of(value) for value in numbers}) < len(numbers):
            raise ValueError(f"two of the mask values {', '.join(values)} are one number; keep one of them")
        colors = [value for value in values if value.startswith("#")]
        if wrong := [value for value in colors if not re.fullmatch(r"#[0-9a-fA-F]{6}", value)]:
            raise ValueError(f"'{wrong[0]}' is no colour; write six hexadecimal digits, as in \"#ff0000\"")
        if len({value.lower() for value in colors}) < len(colors):
            raise ValueError(f"two of the mask values {', '.join(values)} are one colour; keep one of them")
        return values

    @field_validator("encoder")
    @classmethod
    def _below_input(cls, encoder: str | None) -> str | None:
        path = PurePosixPath(encoder or "labels.yaml")
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise ValueError(f"'{encoder}' is no file below masks.input, which DVC tracks; put the label encoder there")
        return encoder

    @model_validator(mode="after")
    def _agree(self) -> "Masks":
        if self.zero == "positive_unlabelled" and self.prior is None:
            raise ValueError(
                "zero is positive_unlabelled, so prior must say what share of unmarked ground is positive, such as 0.05"
            )
        if self.zero != "positive_unlabelled" and self.prior is not None:
            raise ValueError(
                f"prior is for masks whose zero is positive_unlabelled, but zero is {self.zero}; set prior to null"
            )
        if self.encoder is not None and self.values:
            raise ValueError("encoder says what values mean, so masks.values must be empty ({}); keep one of the two")
        if self.threshold is not None and self.encoder is None and [*self.values] != ["1"]:
            raise ValueError(
                'threshold turns masks into 1 and 0, so masks.values must say what "1" means, and nothing else'
            )
        return self
