"""Names and times of a made product, in the scheme of real ones, fixed by tile, date, baseline and seed."""

import datetime
from dataclasses import dataclass

from thalweg.errors import ParamsError
from thalweg.sample.mgrs import Tile, locate
from thalweg.sample.noise import key_of

_FIRST_ORBIT = datetime.date(2015, 6, 23)
_ORBITS_PER_DAY = 14.3


@dataclass(frozen=True)
class Identity:
    """Everything in a product's metadata that does not come from its pixels.

    Source: product naming convention, Sentinel-2 Products Specification Document, section on the compact SAFE format.
    """

    tile: Tile
    baseline: str
    """`05.11`."""
    sensing: datetime.datetime
    """Start of the datatake, UTC."""
    made: datetime.datetime
    """Generation time, UTC; the product's discriminator."""

    @property
    def has_offset(self) -> bool:
        """Baselines from 04.00 on add 1000 to every digital number and deliver B01 at 20 m."""
        return self.baseline >= "04.00"

    @property
    def checksum(self) -> str:
        """Kind of checksum in manifest.safe: MD5 before baseline 03.01."""
        return "SHA3-256" if self.baseline >= "03.01" else "MD5"

    @property
    def mission(self) -> str:
        """`S2A` or `S2B`, five days apart."""
        return "S2A" if (self.sensing.date() - _FIRST_ORBIT).days // 5 % 2 else "S2B"

    @property
    def relative_orbit(self) -> int:
        """1 … 143, the same for all tiles of a zone."""
        return (109 + 14 * (self.tile.zone - 20)) % 143 + 1

    @property
    def absolute_orbit(self) -> int:
        """Orbits since launch, about."""
        return int((self.sensing.date() - _FIRST_ORBIT).days * _ORBITS_PER_DAY)

    @property
    def name(self) -> str:
        """Product name with `.SAFE`."""
        number = f"N{self.baseline.replace('.', '')}_R{self.relative_orbit:03d}"
        return f"{self.mission}_MSIL2A_{stamp(self.sensing)}_{number}_{self.tile.name}_{stamp(self.made)}.SAFE"

    @property
    def granule(self) -> str:
        """Folder below GRANULE."""
        seen = self.sensing + datetime.timedelta(seconds=412)
        return f"L2A_{self.tile.name}_A{self.absolute_orbit:06d}_{stamp(seen)}"

    def image(self, band: str, resolution_m: int) -> str:
        """Path of an image below the SAFE folder, without extension, as IMAGE_FILE gives it."""
        file = f"{self.tile.name}_{stamp(self.sensing)}_{band}_{resolution_m}m"
        return f"GRANULE/{self.granule}/IMG_DATA/R{resolution_m}m/{file}"


def identify(tile: str, date: str, baseline: str, seed: int) -> Identity:
    """The identity of one product of the sample.

    Raises:
        ParamsError: The tile or date does not exist.
    """
    place = locate(tile)
    try:
        day = datetime.datetime.fromisoformat(date)
    except ValueError as error:
        raise ParamsError(f"date '{date}' is no day; correct fetch.sample.products in params.yaml") from error
    minutes = (14 * 60 + 10 - 24 * (place.zone - 20)) % 1440  # 10 h local solar time, 24 minutes a zone
    sensing = day + datetime.timedelta(minutes=minutes, seconds=51)
    wait = 9_000 + key_of(seed, tile, date, baseline) % 14_400
    return Identity(place, baseline, sensing, sensing + datetime.timedelta(seconds=wait))


def stamp(time: datetime.datetime) -> str:
    """`20251003T141051`."""
    return time.strftime("%Y%m%dT%H%M%S")
