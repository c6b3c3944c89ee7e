"""How a product is named: its full name, its id, or torchbearer's key of tile and discriminator."""

import datetime
import re
import uuid
from typing import Literal, NamedTuple

from thalweg.errors import ParamsError

_NAME = re.compile(
    r"(?P<mission>S2[A-D])_MSI(?P<level>L1C|L2A)_(?P<sensing>\d{8}T\d{6})_N(?P<baseline>\d{4})_R(?P<orbit>\d{3})"
    r"_(?P<tile>T\d{2}[A-Z]{3})_(?P<discriminator>\d{8}T\d{6})"
)
_KEY = re.compile(r"T\d{2}[A-Z]{3}_\d{8}T\d{6}")


class ProductName(NamedTuple):
    """A Sentinel-2 product's name, taken apart.

    Source: Sentinel-2 Products Specification Document, naming convention since baseline 02.04.
    """

    mission: str
    level: str
    """`L1C` or `L2A`."""
    sensing: datetime.datetime
    """Start of the datatake, UTC."""
    baseline: str
    """`05.11`."""
    orbit: int
    """Relative orbit."""
    tile: str
    """`T20KNA`."""
    discriminator: str
    """Tells processings of one acquisition apart; it is no acquisition date."""

    @property
    def acquisition(self) -> tuple[str, str, datetime.datetime, int, str]:
        """Equal for all processings of the same acquisition, whatever their baseline."""
        return self.mission, self.level, self.sensing, self.orbit, self.tile

    @property
    def baseline_number(self) -> int:
        """Orders baselines: 511 for `05.11`."""
        return int(self.baseline.replace(".", ""))


class Wish(NamedTuple):
    """One product that params.yaml names."""

    kind: Literal["id", "name", "key"]
    value: str
    """The id in lower case, the name without `.SAFE`, or `T20KNA_20251003T174955`."""


def parse_name(name: str) -> ProductName:
    """Takes a product's name apart, with or without `.SAFE`.

    Raises:
        ParamsError: It is no Sentinel-2 product name of level 1C or 2A.
    """
    match = _NAME.fullmatch(name.removesuffix(".SAFE"))
    if match is None:
        raise ParamsError(
            f"'{name}' is no Sentinel-2 product name such as "
            "S2B_MSIL2A_20251003T141051_N0511_R110_T20KNA_20251003T174955; correct fetch.options.products"
        )
    sensing = datetime.datetime.strptime(match["sensing"], "%Y%m%dT%H%M%S").replace(tzinfo=datetime.UTC)
    baseline = f"{match['baseline'][:2]}.{match['baseline'][2:]}"
    return ProductName(
        match["mission"], match["level"], sensing, baseline, int(match["orbit"]), match["tile"], match["discriminator"]
    )


def parse_wish(text: str) -> Wish:
    """Tells an id, a name and a key apart.

    Raises:
        ParamsError: It is none of the three.
    """
    if _KEY.fullmatch(text):
        return Wish("key", text)
    try:
        return Wish("id", str(uuid.UUID(text)))
    except ValueError:
        pass
    try:
        parse_name(text)
    except ParamsError as error:
        raise ParamsError(
            f"fetch.options.products: '{text}' is neither a product's id (36 characters), nor its name "
            "(S2B_MSIL2A_…), nor a key of tile and discriminator (T20KNA_20251003T174955); correct params.yaml"
        ) from error
    return Wish("name", text.removesuffix(".SAFE"))


def bare_tile(tile: str) -> str:
    """The catalogue writes tiles without the leading T, and answers `T20KNA` with no rows and no error.

    Raises:
        ParamsError: It is no MGRS tile.
    """
    match = re.fullmatch(r"T?(\d{2}[C-HJ-NP-X][A-HJ-NP-Z][A-HJ-NP-V])", tile)
    if match is None:
        raise ParamsError(f"fetch.options.search.tiles: '{tile}' is no MGRS tile such as T20KNA; correct params.yaml")
    return match[1]
