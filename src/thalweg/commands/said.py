"""Options of the commands that read images: what is said of images that do not say it themselves."""

import datetime
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thalweg.errors import ImageError

if TYPE_CHECKING:
    from thalweg.prepare import Said

Bands = Annotated[
    str | None,
    typer.Option(help="B02=1,B03=2,…: which band of a raster is which; of a folder, files. Default: the bands' names."),
]
Scale = Annotated[float | None, typer.Option(help="Physical value = (stored + offset) × scale. Default: the tags.")]
Offset = Annotated[float | None, typer.Option(help="Added before scaling; -1000 for Sentinel-2 since 04.00.")]
Nodata = Annotated[float | None, typer.Option(help="Stored value that means no measurement. Default: the tag.")]
Date = Annotated[str | None, typer.Option(help="Sensing day, 2025-10-03, for models that read the season.")]
PixelM = Annotated[float | None, typer.Option(min=0, help="Pixel edge of pictures without georeference, metres.")]
Elevation = Annotated[list[Path] | None, typer.Option(help="Tile of a height model, for models that read it; repeat.")]
Resample = Annotated[
    bool, typer.Option("--resample", help="Bring images of another resolution to the model's; else an error.")
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps, or auto.")]
MemoryGib = Annotated[float, typer.Option(min=0.01, help="Budget beside the model.")]


def to_said(bands: str | None, scale: float | None, offset: float | None, nodata: float | None, date: str | None,
            pixel_m: float | None, elevation: list[Path] | None, resample: bool) -> "Said":  # fmt: skip
    """The options as one record.

    Raises:
        ImageError: --bands is no list of name=number, or a value is none.
    """
    from thalweg.prepare import Said  # noqa: PLC0415 - the other commands need not wait for it

    for name, value, lacking in (("scale", scale, "0.0001"), ("offset", offset, "-1000")):
        if value is not None and (not math.isfinite(value) or (name == "scale" and value == 0)):
            raise ImageError(f"--{name} {value:g} makes every pixel the same or none; give a number such as {lacking}")
    if pixel_m == 0:
        raise ImageError("--pixel-m is 0, but pixels have an edge; give it in metres, such as 10")
    if date is not None:
        _check_date(date)

    return Said(to_bands(bands), scale, offset, nodata, date, pixel_m, resample, tuple(elevation or ()))


def to_bands(given: str | None) -> dict[str, int | str] | None:
    """Band name → number or file of `B02=1,B03=2`.

    Raises:
        ImageError: It is no such list, or names a band twice.
    """
    if given is None:
        return None
    pairs = [each.partition("=") for each in given.split(",")]
    if not all(name.strip() and sign and place.strip() for name, sign, place in pairs):
        raise ImageError(f"--bands should be B02=1,B03=2,…, got '{given}'; correct it")
    names = [name.strip() for name, _, _ in pairs]
    if len(set(names)) < len(names):
        raise ImageError(f"--bands names a band twice ('{given}'); give each once")
    return {name.strip(): int(place) if place.strip().isdigit() else place.strip() for name, _, place in pairs}


def _check_date(given: str) -> None:
    try:
        datetime.date.fromisoformat(given)
    except ValueError as error:
        raise ImageError(f"--date should be a day such as 2025-10-03, got '{given}'; correct it") from error
