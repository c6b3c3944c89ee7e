"""Section `fetch`: which products the pipeline works on and where they come from."""

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from thalweg.params import Section

STRICT = ConfigDict(frozen=True, strict=True, extra="forbid")


class SampleProduct(BaseModel):
    """One product that the embedded sample makes."""

    model_config = STRICT

    tile: str = Field(pattern=r"^T\d{2}[C-X][A-Z]{2}$")
    """MGRS tile; decides UTM zone and place."""
    date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    """Sensing date, quoted."""
    baseline: str = Field(pattern=r"^\d{2}\.\d{2}$")
    """Processing baseline, e.g. '05.11'; decides offset, checksum kind and band list."""


class Sample(BaseModel):
    """The seeded landscape."""

    model_config = STRICT

    seed: int = Field(ge=0)
    """Same seed, same ground; dates differ in season and clouds only."""
    size_60m_px: int = Field(ge=32, le=1830)
    """Edge of each product at 60 m; 1830 is a full tile. The 20 m bands have three times as many pixels."""
    cloud_cover: float = Field(ge=0, le=1)
    """Share of the ground under cloud, about."""
    products: tuple[SampleProduct, ...] = Field(min_length=1)


class LocalProducts(BaseModel):
    """One kind of product under `input`."""

    model_config = STRICT

    form: Literal["safe", "raster", "folder"]
    """`safe`: Sentinel-2 SAFE folders or zips; `raster`: one GeoTIFF/JP2 per product that holds all bands;
    `folder`: one folder per product with a file per band."""
    pattern: str
    """Glob below `input` of the SAFE folders or zips, of the rasters, or of the folders."""
    bands: dict[str, int | str]
    """Empty for `safe`; for `raster` band name → 1-based band number; for `folder` band name → file name."""
    scale: float = Field(gt=0)
    """Reflectance (or the channel's unit) per digital number; ignored for `safe`, whose XML says it."""
    offset: float
    """Added to the digital number before scaling; 0 where the offset is already applied; ignored for `safe`."""
    nodata: float | None
    """Digital number that means no measurement; null to trust the file's own tag; ignored for `safe`."""
    date: str | None
    """Sensing date of products that carry none, quoted, or null."""


class Local(BaseModel):
    """The user's own files."""

    model_config = STRICT

    products: tuple[LocalProducts, ...] = Field(min_length=1)


class Fetch(Section):
    """What `fetch` delivers into build/raw."""

    section: ClassVar[str] = "fetch"

    source: str = Field(pattern=r"^[a-z0-9_]+$")
    """File name in src/thalweg/sources/: `sample`, `local`."""
    input: str
    """The one path that the source reads and DVC tracks: the sample's module, `data`, or a products lock."""
    sample: Sample | None
    local: Local | None

    @model_validator(mode="after")
    def _has_its_options(self) -> "Fetch":
        if self.source in ("sample", "local") and getattr(self, self.source) is None:
            raise ValueError(f"source '{self.source}' needs its options under 'fetch.{self.source}'")
        return self
