"""The ground of one block: what covers each 20 m cell, in which season, and where palaeochannels run under it."""

from dataclasses import dataclass

import numpy as np

from thalweg.sample.channels import CELL_M, Courses, courses
from thalweg.sample.noise import Floats, fractal, gradient, key_of, ramp
from thalweg.sample.parcels import Parcels, parcels
from thalweg.sample.spectra import COVERS, SPECTRA, index_of


@dataclass(frozen=True)
class Place:
    """Which cells: a rectangle of the 20 m lattice of one UTM zone, counted east and south from the zone's origin."""

    epsg: int
    top: int
    left: int
    rows: int
    cols: int

    @property
    def xs(self) -> Floats:
        """(1, W) eastings of cell middles, metres."""
        return np.asarray((np.arange(self.left, self.left + self.cols)[None, :] + 0.5) * CELL_M, np.float64)

    @property
    def ys(self) -> Floats:
        """(H, 1) northings of cell middles from the equator, metres, negative in the south."""
        return np.asarray(-(np.arange(self.top, self.top + self.rows)[:, None] + 0.5) * CELL_M, np.float64)


class Cover:
    """Shares of the end members per cell; each new layer hides part of what was there."""

    def __init__(self, shape_yx: tuple[int, int], cover: str) -> None:
        self.shares = np.zeros((len(COVERS), *shape_yx))
        self.shares[index_of(cover)] = 1.0

    def lay(self, cover: str, share: Floats) -> None:
        """Covers `share` (0 … 1) of each cell with an end member."""
        self.shares *= 1.0 - share
        self.shares[index_of(cover)] += share

    def reflectance(self) -> Floats:
        """(band, H, W) of the mixture."""
        mixture: Floats = np.einsum("chw,cb->bhw", self.shares, SPECTRA)
        return mixture


def in_channel(seed: int, place: Place) -> np.ndarray:
    """Whether each cell lies within a palaeochannel."""
    course = _courses(seed, place)
    return course.distance_m <= course.half_width_m


def reflectance(seed: int, place: Place, green: float) -> tuple[Floats, Floats]:
    """Surface reflectance (band, H, W), and the share of open water (H, W).

    Args:
        seed: Which ground.
        place: Which cells.
        green: Season, 0 (end of the dry months) to 1 (rains).
    """
    xs, ys = place.xs, place.ys
    key = key_of(seed, place.epsg, "ground")
    course, fields = _courses(seed, place), parcels(key + 7000, xs, ys)
    wet = fractal(key + 100, xs, ys, 15_000, 4)
    cover = _nature(key, xs, ys, wet, green)
    _farm(cover, fields, wet, green)
    _channel(cover, key, xs, ys, course, green)
    _edges(cover, fields)
    water = _water(cover, key, xs, ys, wet)
    texture = _texture(key, xs, ys, course)
    return cover.reflectance() * (1 + texture * (1 - water)), water


def _courses(seed: int, place: Place) -> Courses:
    return courses(key_of(seed, place.epsg, "courses"), place.left, place.top, place.rows, place.cols)


def _nature(key: int, xs: Floats, ys: Floats, wet: Floats, green: float) -> Cover:
    """Dry woods, thicket and grass by large gradients; damp hollows and saline flats as confusers of the channels."""
    woods = fractal(key + 200, xs, ys, 9_000, 5, 0.6)
    clumps = fractal(key + 300, xs, ys, 420, 3, 0.7)
    cover = Cover(woods.shape, "straw")
    cover.lay("green", np.clip(0.06 + 0.60 * green + 0.12 * wet, 0, 0.8))
    cover.lay("soil", 0.30 * ramp(clumps - 0.5 * woods, 0.2, 1.6))
    cover.lay("bare_woods", 0.8 * ramp(woods + 0.45 * clumps, -0.6, 1.0))
    cover.lay("woods", np.clip(0.45 + 0.5 * green, 0, 1) * ramp(woods + 0.35 * clumps + 0.25 * wet, -0.1, 1.5))
    patches = fractal(key + 400, xs + 260 * clumps, ys, 1_500, 3)
    cover.lay("marsh", 0.60 * ramp(patches + 0.35 * wet, 0.75, 1.7))
    cover.lay("pale", 0.55 * ramp(-patches - 0.35 * wet + 0.25 * clumps, 0.75, 1.8))
    return cover


def _farm(cover: Cover, fields: Parcels, wet: Floats, green: float) -> None:
    """Crops, stubble, ploughed and burnt parcels."""
    kind, vigour, _ = fields.luck
    rows = 0.06 * np.sin(fields.along_m * (2 * np.pi / 130)) + 0.05 * wet
    ripe = np.clip(0.20 + 0.70 * green + 0.35 * (vigour - 0.5) + rows, 0, 1)
    cover.lay("soil", fields.farmed)
    cover.lay("green", 0.45 * green * fields.farmed)
    for low, high, name, share in (
        (0.00, 0.24, "green", 0.35 + 0.6 * ripe),
        (0.24, 0.50, "straw", 0.85 - 0.3 * ripe),
        (0.50, 0.62, "pale", 0.25 + 0.45 * vigour + rows),
        (0.62, 0.70, "ash", 0.2 + 0.5 * vigour),
        (0.70, 0.84, "marsh", 0.3 + 0.4 * vigour),
    ):
        cover.lay(name, np.clip(share, 0, 1) * fields.farmed * ((kind >= low) & (kind < high)))


def _channel(cover: Cover, key: int, xs: Floats, ys: Floats, course: Courses, green: float) -> None:
    """A little moister and greener, or a little paler, than the ground about; more so in the scrolls at the rims."""
    depth = course.half_width_m - course.distance_m
    inside = ramp(depth, -25, 45)
    grain = fractal(key + 500, xs, ys, 340, 3, 0.9)
    scroll = np.sin(course.distance_m * (2 * np.pi / 190)) * np.exp(-(((depth + 90) / 130) ** 2))
    strength = inside * np.clip(0.42 + 0.18 * grain, 0, 0.75) + 0.10 * np.clip(scroll, 0, 1)
    moist, dry = np.clip(course.contrast, 0, 1) ** 0.5, np.clip(-course.contrast, 0, 1) ** 0.5
    cover.lay("marsh", strength * moist * (0.75 - 0.35 * green))
    cover.lay("green", strength * moist * (0.25 + 0.35 * green))
    cover.lay("pale", strength * dry * 0.75)
    cover.lay("straw", strength * dry * 0.45)


def _edges(cover: Cover, fields: Parcels) -> None:
    """Windbreaks of trees and tracks of bare soil along parcel edges."""
    edge = ramp(-fields.edge_m, -38, -18) * fields.farmed
    cover.lay("woods", 0.7 * edge * (1 - fields.track) * (fields.luck[2] < 0.6))
    cover.lay("pale", 0.7 * ramp(-fields.edge_m, -24, -10) * fields.track)


def _water(cover: Cover, key: int, xs: Floats, ys: Floats, wet: Floats) -> Floats:
    water = ramp(fractal(key + 600, xs, ys, 2_600, 5, 0.5) + 0.5 * wet, 2.2, 2.35)
    cover.lay("marsh", 0.6 * ramp(water, 0.0, 0.4))
    cover.lay("water", 0.95 * water)
    return water


def _texture(key: int, xs: Floats, ys: Floats, course: Courses) -> Floats:
    """Relative brightness: soft relief everywhere, and a rougher grain in the channels."""
    inside = ramp(course.half_width_m - course.distance_m, -25, 45)
    relief = 0.045 * fractal(key + 700, xs, ys, 900, 4, 0.75)
    return relief + 0.065 * inside * gradient(key + 800, xs, ys, 95)
