"""What a model may be shown: scenes whose channels mean what its training scenes' did, checked wherever the two meet.

The criterion is the channels, not the grid's name. A scene that differs in kind is an error (`check`); one whose values
are merely distributed otherwise is measured (`shift`), for a counted warning in the report.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from thalweg import raster
from thalweg.bands import SENTINEL2
from thalweg.distribution import Distribution
from thalweg.errors import ContractError
from thalweg.manifest.card import ModelCard
from thalweg.manifest.scene import Channel, Scene

_FLOOR = 1e-4
"""Least share of a bin, so that an empty one does not count infinitely."""
_SAMPLE_PX = 1 << 20
_BAND_PX = 256
_RESOLUTION_TOLERANCE = 0.02
_WAVELENGTH_NM = 20.0
"""The same band of two Sentinel-2 satellites lies up to 17 nm apart (B12: 2202.4 and 2185.7)."""
_OFFSET_SINCE = (4, 0)
"""Processing baseline from which Sentinel-2 products state an offset of their digital numbers."""
_DTYPES = ("int16", "float32")


class Fault(NamedTuple):
    """How a scene differs from what the model was trained on."""

    trained: str
    found: str
    remedy: str


def check(card: ModelCard, scene: Scene) -> None:
    """Compares a scene with the card of the model that is to read it.

    Compared are: the number of time steps and the days of the year on which they begin; names and order of the
    channels; per channel unit, scale, offset and, where both know it, wavelength; ground size of a pixel within 2 % of
    the training scenes' range (not of pictures without georeference); the type of the pixels; and that every
    reflectance band of a Sentinel-2 product of baseline 04.00 or later had the product's offset applied, as in all
    training scenes, so that reflectances of any baseline compare.

    Raises:
        ContractError: They do not fit; the message names both sides and what to do.
    """
    for fault in _faults(card, scene):
        raise ContractError(
            f"member '{card.member}' was trained on {fault.trained}, but scene {scene.folder} has {fault.found}; "
            f"{fault.remedy}"
        )


class Pool:
    """Valid pixels of some scenes, to be held against a member's training pixels.

    A scene of more than 2²⁰ pixels is sampled on a regular lattice of about as many, and counts as many.
    """

    def __init__(self, card: ModelCard) -> None:
        self._card = card
        self._found: list[Distribution] = []
        self._pixels = 0

    def add(self, scene: Scene) -> None:
        """Takes in a scene that the member can read; nothing where the card does not know its training pixels."""
        if not self._card.deciles:
            return
        self._found = self._found or [Distribution(channel, scene.image.dtype) for channel in self._card.channels]
        step = max(math.ceil(math.sqrt(math.prod(scene.grid.shape_yx) / _SAMPLE_PX)), 1)
        for top in range(0, scene.grid.shape_yx[0], _BAND_PX * step):
            rows = slice(top, top + _BAND_PX * step, step)
            pixels = np.asarray(scene.image[rows, ::step])[np.asarray(scene.valid[rows, ::step]) > 0]
            self._pixels += len(pixels)
            for channel, distribution in enumerate(self._found):
                distribution.add(pixels[:, channel])
            raster.release(scene.image)

    def merge(self, other: "Pool") -> None:
        """Takes in what another pool of the same member has."""
        if not self._found:
            self._found = [Distribution(each.channel, np.dtype("int16" if each.exact else "float32"))
                           for each in other._found]  # fmt: skip
        self._pixels += other._pixels
        for mine, its in zip(self._found, other._found, strict=bool(other._found)):
            mine.merge(its)

    def index(self) -> dict[str, float]:
        """Channel → population stability index, 4 decimals; empty where nothing is known, or no pixel is valid."""
        if not self._pixels:
            return {}
        bins = zip(self._found, self._card.deciles, self._card.shares, strict=True)
        return {
            distribution.channel.name: round(stability(shares, distribution.shares(edges)), 4)
            for distribution, edges, shares in bins
        }


def shift(card: ModelCard, scene: Scene) -> dict[str, float]:
    """Population stability index per channel of a scene's valid pixels against the training pixels; see `Pool`."""
    pool = Pool(card)
    pool.add(scene)
    return pool.index()


def stability(expected: Sequence[float], found: Sequence[float]) -> float:
    """Population stability index of shares per bin: Σ (found − expected) ln(found / expected), with shares ≥ 10⁻⁴.

    Source: Siddiqi 2006, Credit Risk Scorecards, ISBN 978-0-471-75451-0, system stability report.
    """
    before, now = np.maximum(expected, _FLOOR), np.maximum(found, _FLOOR)
    return float(((now - before) * np.log(now / before)).sum())


def _faults(card: ModelCard, scene: Scene) -> Iterator[Fault]:
    sizes = {len(card.channels), len(card.normalisation.mean), len(card.normalisation.std)}
    if len(sizes) > 1:
        mean, std = len(card.normalisation.mean), len(card.normalisation.std)
        lengths = f"{mean} means and {std} standard deviations for {len(card.channels)} channels"
        said = f"{len(scene.record.channels)} channels"
        yield Fault(lengths, said, f"{card.member}'s card is broken: copy the whole model directory again or retrain")
    yield from _channels(card, scene.record.channels)
    yield from _calendar(card, scene.record.preparation.get("series"))
    yield from _pixels(card, scene)
    yield from _offsets(scene)


def _channels(card: ModelCard, channels: Sequence[Channel]) -> Iterator[Fault]:
    retrain = f"make scenes with these channels in this order (params 'grids'), or run `dvc repro train@{card.member}`"
    steps, found = _steps(card.channels), _steps(channels)
    if steps != found:
        again = f"set the grid's series.bins to {steps}" if steps > 1 else "set the grid's series to null"
        yield Fault(f"{_time(steps)}", f"{_time(found)}", f"{again}, or run `dvc repro train@{card.member}`")
    mine, other = (", ".join(channel.name for channel in each) for each in (card.channels, channels))
    if mine != other:
        yield Fault(f"channels {mine}", f"channels {other}", retrain)
    for one, two in zip(card.channels, channels, strict=False):
        yield from _meaning(card, one, two)


def _calendar(card: ModelCard, found: Mapping[str, Any] | None) -> Iterator[Fault]:
    """The first step of a series from April is April, wherever the model is shown one: months go by the calendar.

    A start with a year and one without are the same day of the year. Nothing is said where either is not known.
    """
    series = card.preparation.get("series")
    if series is None or found is None:
        return
    mine, other = ((each["start"][-5:], each["frequency"]) for each in (series, found))
    if mine != other:
        again = f"give the grid's series that start and frequency, or run `dvc repro train@{card.member}`"
        yield Fault(f"steps of {mine[1]} from {mine[0]} on", f"steps of {other[1]} from {other[0]} on", again)


def _meaning(card: ModelCard, one: Channel, two: Channel) -> Iterator[Fault]:
    """What the values of the model's and the scene's channel of one name stand for."""
    for what in ("unit", "scale", "offset"):
        mine, other = getattr(one, what), getattr(two, what)
        if mine != other:
            yield Fault(f"{one.name} with {what} {mine}", f"{one.name} with {what} {other}",
                        "bring the scene to the same physical values (scale, offset and unit of the product in params),"
                        f" or run `dvc repro train@{card.member}`")  # fmt: skip
    mine, other = one.wavelength_nm, two.wavelength_nm
    if mine is not None and other is not None and abs(mine - other) > _WAVELENGTH_NM:
        yield Fault(f"{one.name} at {mine:g} nm", f"{one.name} at {other:g} nm",
                    f"name the band of that wavelength, or run `dvc repro train@{card.member}`")  # fmt: skip


def _pixels(card: ModelCard, scene: Scene) -> Iterator[Fault]:
    low, high = card.pixel_m_range
    pixel_m = float(np.mean(scene.grid.pixel_m_yx))
    inside = low * (1 - _RESOLUTION_TOLERANCE) <= pixel_m <= high * (1 + _RESOLUTION_TOLERANCE)
    if scene.record.georeferenced and not inside:
        range_m = f"{low:.4g}" if f"{low:.4g}" == f"{high:.4g}" else f"{low:.4g} to {high:.4g}"
        yield Fault(f"ground pixels of {range_m} m", f"pixels of {pixel_m:.4g} m",
                    f"set the grid's resolution_m to that, or run `dvc repro train@{card.member}`")  # fmt: skip
    if str(scene.image.dtype) not in _DTYPES:
        yield Fault(f"pixels of {' or '.join(_DTYPES)}", f"{scene.image.dtype}", "run `dvc repro preprocess`")


def _offsets(scene: Scene) -> Iterator[Fault]:
    record = scene.record
    if not any(_states_offsets(baseline) for baseline in (record.baseline or "").split(", ")):
        return
    applied = {key.partition(" ")[0] for key in record.offsets_applied}  # of a series, band and day
    bands = [channel.name for channel in record.channels if channel.unit == "reflectance"]
    bare = [name for name in bands if (band := name.rpartition("/")[2]) in SENTINEL2
            and not {name, band} & applied]  # fmt: skip
    if bare:
        said = f"{', '.join(bare)} of baseline {record.baseline} without"
        yield Fault("reflectance with the products' offsets applied", said, "run `dvc repro preprocess`")


def _states_offsets(baseline: str) -> bool:
    digits = baseline.split(".")
    return all(part.isdigit() for part in digits) and tuple(map(int, digits)) >= _OFFSET_SINCE


def _steps(channels: Sequence[Channel]) -> int:
    """Time steps of channels that are named `t00/<channel>`, else 1."""
    return len({channel.name.partition("/")[0] for channel in channels if "/" in channel.name}) or 1


def _time(steps: int) -> str:
    return "one date" if steps == 1 else f"{steps} time steps"
