"""Section `masks`: where labels come from and what their values mean."""

import re
from typing import ClassVar, Literal

from pydantic import field_validator

from thalweg.params import Section


class Masks(Section):
    """Masks are matched to scenes by ground position, not by file name."""

    section: ClassVar[str] = "masks"

    input: str
    """The one path that DVC tracks: a folder of masks. Where `band` is set, any file that changes with the products."""
    patterns: tuple[str, ...]
    """Globs of GeoTIFFs below `input`; ignored where `band` is set."""
    band: str | None
    """Name of a product band that holds the labels (`SCL`), or null for mask files."""
    zero: Literal["background", "unlabelled"]
    """What the value 0 means, whatever the file's nodata tag says: class 0, or nobody looked there."""
    values: dict[str, str]
    """Other mask values (as text) → class name or `unlabelled`. A value that is not listed is an error."""
    outside: Literal["background", "unlabelled"]
    """What the part of a scene that no mask covers means."""

    @field_validator("values")
    @classmethod
    def _numbers_but_zero(cls, values: dict[str, str]) -> dict[str, str]:
        for value in values:
            if not re.fullmatch(r"-?\d+(\.\d+)?", value):
                raise ValueError(f"the mask value '{value}' should be a number in quotes")
            if float(value) == 0:
                raise ValueError("what 0 means is said by masks.zero; take it out of masks.values")
        if len({float(value) for value in values}) < len(values):
            raise ValueError(f"two of the mask values {', '.join(values)} are one number; keep one of them")
        return values
