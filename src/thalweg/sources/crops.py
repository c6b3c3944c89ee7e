"""The crop world as a source: makes the patches that the store lacks, then links them, with a height model beside."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from thalweg import bands
from thalweg.errors import ParamsError
from thalweg.manifest.products import Product
from thalweg.params import Section
from thalweg.sample import crops
from thalweg.sources import describe_files, kept_in_store, link_tree, sha256_of

_LAYERS = ("labels", "parcels", "truth")
_BANDS = {name: name for names in crops.PIXEL_M.values() for name in names}
HEIGHT = "DEM"
"""Name of the height model's one band."""


class Patches(BaseModel):
    """Patches of one tile in one year that were declared alike."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    tile: str = Field(pattern=r"^\d{2}[C-X][A-Z]{2}$")
    """MGRS tile without its T, as Sen4AgriNet writes it."""
    year: int = Field(ge=2015, le=2100)
    patch_x: tuple[int, ...] = Field(min_length=1)
    """Columns of the tile's 30 × 30 patches, counted eastwards from 0."""
    patch_y: tuple[int, ...] = Field(min_length=1)
    """Rows, southwards: every column is combined with every row."""
    label_noise: float = Field(ge=0, le=1)
    """Share of the parcels for which another crop was declared than grows."""
    undeclared: float = Field(ge=0, le=1)
    """Share of the parcels for which nothing was declared."""

    @field_validator("patch_x", "patch_y")
    @classmethod
    def _in_the_tile(cls, places: tuple[int, ...]) -> tuple[int, ...]:
        if outside := [place for place in places if not 0 <= place < crops.PATCHES]:
            raise ValueError(f"a tile has patches 0 to {crops.PATCHES - 1}, not {outside[0]}")
        return places

    @property
    def places(self) -> list[crops.Place]:
        """Each of them."""
        return [crops.Place(self.year, self.tile, x, y, self.label_noise, self.undeclared)
                for x in self.patch_x for y in self.patch_y]  # fmt: skip


class Options(Section):
    """The crop world: `fetch.options` of the source `crops`."""

    section: ClassVar[str] = "fetch"

    seed: int = Field(ge=0)
    """Same seed, same fields, weather and declarations."""
    edge_px: int = Field(ge=60, le=366, multiple_of=6)
    """Edge of a patch at 10 m; 366 in Sen4AgriNet. Patches lie 3660 m apart, so that smaller ones leave gaps."""
    revisit_days: int = Field(ge=1, le=60)
    """Days between two dates of a tile."""
    missing: float = Field(ge=0, le=1)
    """Share of the dates that a patch lacks."""
    cloud_cover: float = Field(ge=0, le=1)
    """Share of the ground under cloud, about."""
    imbalance: float = Field(ge=0, le=3)
    """0: all 14 crops as common; a crop's share of parcels is its rank to the power of minus this."""
    spread: float = Field(ge=0, le=3)
    """How much parcels of one crop differ in time and vigour; from 1 on as much as their look-alikes."""
    patches: tuple[Patches, ...] = Field(min_length=1)


def deliver(options: Options, given: Path, raw: Path, store: Path) -> list[Product]:  # noqa: ARG001 - its own module
    """Makes the patches of the options, and the tiles of the height model under them.

    Raises:
        ParamsError: The options name a tile that does not exist, a patch twice, or tiles of two UTM zones.
    """
    places = [place for group in options.patches for place in group.places]
    names = [place.name for place in places]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ParamsError(f"fetch.options.patches names {twice[0]} twice; remove one of the two from params.yaml")
    zones = sorted({place.square.epsg for place in places})
    if len(zones) > 1:
        raise ParamsError(
            f"fetch.options.patches lie in the UTM zones {', '.join(f'EPSG:{zone}' for zone in zones)}, but a crop "
            "world lies in one; keep tiles of one zone in params.yaml"
        )
    return [*(_patch(options, place, raw, store) for place in places), *_heights(options, places, raw, store)]


def _patch(options: Options, place: crops.Place, raw: Path, store: Path) -> Product:
    world = crops.World(**options.model_dump(exclude={"patches"}))
    path = _made(store, [vars(world), vars(place)], lambda folder: crops.make_patch(folder, world, place))
    target = raw / "products" / path.name
    link_tree(path, target)
    return Product(name=place.name, form="netcdf", path=target.relative_to(raw).as_posix(),
                   files=describe_files(target, raw), bands={**_BANDS, **{name: name for name in _LAYERS}},
                   scale=1e-4, offset=0.0, nodata=0.0, date=None)  # fmt: skip


def _heights(options: Options, places: list[crops.Place], raw: Path, store: Path) -> list[Product]:
    epsg = places[0].square.epsg
    corners = sorted(set().union(*(crops.tiles_under(epsg, place.bounds(options.edge_px)) for place in places)))
    products = []
    for south, west in corners:
        said = {"seed": options.seed, "epsg": epsg, "south": south, "west": west}
        path = _made(store, said, lambda folder, said=said: crops.make_heights(folder, **said))  # type: ignore[misc]
        target = raw / "dem" / path.name
        link_tree(path, target)
        products.append(
            Product(name=path.stem, form="raster", path=target.relative_to(raw).as_posix(),
                    files=describe_files(target, raw), bands={HEIGHT: 1}, scale=1.0, offset=0.0, nodata=None, date=None,
                    role="elevation", unit="m")
        )  # fmt: skip
    return products


def _made(store: Path, said: object, make: Callable[[Path], Path]) -> Path:
    folder = Path(crops.__file__).parent
    code = [*sorted(folder.glob("*.py")), *sorted(folder.parent.glob("*.py")), Path(bands.__file__)]
    return kept_in_store(store, [said, [sha256_of(path) for path in code]], make)
