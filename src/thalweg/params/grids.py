"""Section `grids`: the pixel grids that products are brought to."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from thalweg.params import Section

Resampling = Literal["nearest", "bilinear", "cubic", "average"]


class Valid(BaseModel):
    """What makes a pixel unusable, beside nodata and saturation."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    scl: tuple[Annotated[int, Field(ge=0, le=255)], ...]
    """SCL classes; empty where there is no SCL or where the labels are clouds."""
    product_masks: bool
    """Whether a product without SCL (L1C, old baselines) gives its own cloud mask instead: MSK_CLASSI or MSK_CLOUDS."""
    cloud_probability: int | None = Field(ge=1, le=100)
    """Percent of MSK_CLDPRB from which a pixel is cloud, or null."""
    cloud_buffer_m: float = Field(ge=0)
    """Ground metres by which clouds and their shadows are widened."""


class Further(BaseModel):
    """Bands of other products (radar, another sensor) as further channels of every scene on whose ground they lie."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    products: str
    """Glob on product names. These products make no scenes of their own on this grid."""
    bands: tuple[str, ...] = Field(min_length=1)
    """As their layout names them; the channels' names."""
    resampling: Resampling
    within_days: int | None = Field(ge=0)
    """Only products sensed within so many days of the scene, the nearest first; null takes any date (static layers)."""
    missing: Literal["error", "nodata"]
    """What a scene without such a product means."""


class SeriesParams(BaseModel):
    """A time series per scene instead of one date: composites by calendar bins."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    by: Literal["product", "tile"]
    """`product`: each product is a series (NetCDF cubes); `tile`: products on the same pixel grid are one, named by
    their MGRS tile, or by their place where their names have none."""
    start: str = Field(pattern=r"^\d{4}-\d\d-\d\d$|^\d\d-\d\d$")
    """First day of the first bin, quoted; without a year (`01-01`) the bins lie where they hold most of the dates."""
    bins: int = Field(ge=1)
    """Number of bins; all scenes have as many."""
    frequency: str
    """Length of a bin as a pandas offset: `1MS` (calendar months), `QS`, `W-MON`, which begin where the calendar says;
    `2W` and `10D` are counted from `start`. A bin ends before the first day of the next."""
    composite: Literal["median", "mean", "first", "max_ndvi", "medoid"]
    """Of the valid measurements of a bin, per pixel. `median` and `mean` take each band by itself; `first`, `max_ndvi`
    (B08 or B8A, and B04) and `medoid` (of the bands of reflectance) take the spectrum of one date."""
    max_gap: int = Field(ge=0)
    """Bins in a row without a measurement that are filled by interpolation in time; longer gaps stay nodata, and ends
    are never extrapolated. Above 0, the channel `filled` follows the others: 1 where a value was filled."""


_FILLED = "filled"


class GridParams(Section):
    """One grid: resolution, bands in order, extra channels, and what counts as valid."""

    section: ClassVar[str] = "grids"

    products: str
    """Glob on product names: which products make scenes on this grid."""
    resolution_m: int | None = Field(gt=0)
    """Pixel size in the units of the CRS; null keeps that of plain rasters."""
    bands: tuple[str, ...] = Field(min_length=1)
    """Bands in the order of the image's channels; one that a product lacks is an error."""
    resampling: Resampling
    """Of bands that the product delivers at another resolution only. Codes (SCL) and masks are always nearest."""
    channels: tuple[str, ...]
    """Extra channels after the bands: a formula `nd(B08,B04)`, `sqrt(B02)`, `log(B02)`, `diff(B02,B04)`, an index by
    name (thalweg/indices, or as the catalogue spyndex spells it: `EVI`), `elevation` and `slope` (of the delivered
    height model), `month_sin` and `month_cos`."""
    further: tuple[Further, ...]
    """Bands of other products, after the channels."""
    dtype: Literal["int16", "float32"]
    """Of image.tif. int16 holds reflectance × 10 000, and other channels by a scale of their own."""
    valid: Valid
    series: SeriesParams | None
    """null: one date per scene."""
    pack: int = Field(ge=1)
    """Products per scene folder: 1, or some hundreds for small patches in thousands, which then share files."""

    @model_validator(mode="after")
    def _distinct(self) -> "GridParams":
        names = (*self.bands, *self.channels, *(band for other in self.further for band in other.bands))
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{', '.join(twice)} is named twice in bands and channels; name each channel once")
        if strange := sorted(name for name in names if "/" in name or name == _FILLED):
            raise ValueError(
                f"{', '.join(strange)} cannot name a channel: '/' parts time steps, and '{_FILLED}' flags gaps"
            )
        return self

    @property
    def count(self) -> int:
        """Channels of a scene; of a series those of all bins."""
        one = len(self.bands) + len(self.channels) + sum(len(other.bands) for other in self.further)
        return one if self.series is None else (one + (self.series.max_gap > 0)) * self.series.bins
