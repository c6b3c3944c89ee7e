"""Which weights there are by name, what bands they saw in which order, and the normalisation of their own.

Sources: torchgeo's weight enumerations (bands and transforms), https://torchgeo.readthedocs.io/en/stable/api/models.html;
Satlas, https://github.com/allenai/satlas/blob/main/Normalization.md; the 8-bit true-colour image of an L1C product is
255 at reflectance 0.3558 (Sentinel-2 Products Specification Document); Landsat band centres from
https://www.usgs.gov/faqs/what-are-band-designations-landsat-satellites.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thalweg.bands import SENTINEL2

FILE, TORCHGEO = "file:", "torchgeo:"
TRUE_COLOUR_MAX = 0.3558
"""Reflectance that a true-colour image shows as 255."""
_PIN = "#sha256="
_DIGEST = re.compile(r"[0-9a-fA-F]{8,64}")
_HASH = re.compile(r"-([0-9a-f]{8,})$")
_ALIASES = {"r": "B04", "red": "B04", "g": "B03", "green": "B03", "b": "B02", "blue": "B02", "nir": "B08"}
_LANDSAT: dict[str, dict[str, float]] = {
    "OLI": {"B01": 443, "B02": 482, "B03": 561, "B04": 655, "B05": 865, "B06": 1609, "B07": 2201, "B08": 590,
            "B09": 1373, "B10": 10895, "B11": 12005},
    "ETM": {"B01": 482, "B02": 565, "B03": 660, "B04": 837, "B05": 1650, "B06_VCID_1": 11450, "B06_VCID_2": 11450,
            "B07": 2220, "B08": 710},
    "TM": {"B01": 485, "B02": 560, "B03": 660, "B04": 830, "B05": 1650, "B06": 11450, "B07": 2215},
}  # fmt: skip


@dataclass(frozen=True)
class Start:
    """Where an architecture's encoder takes its first weights from, and which of its tensors they are."""

    text: str
    """As in params: `torchgeo:<Enum>.<NAME>` or `file:<path>[#sha256=<hex>]`."""
    model: str
    """torchgeo's name of the model that the weights must be for."""
    trunk: str
    """Path of the encoder below the architecture, dotted; empty for the architecture itself."""
    stem: str
    """Name of the input layer's weight below the trunk, (out, bands, kernel, kernel) or (out, bands × kernel²)."""
    spare: tuple[str, ...] = ()
    """Beginnings of the names of tensors below the trunk that weights need not hold."""
    spread: tuple[float, float] | None = None
    """(gain, bias) from z-scores to what weights without a stated normalisation take; None for z-scores as they are."""
    bands: tuple[str, ...] = ()
    """What the weights' input layer saw, where the weights themselves do not say."""


@dataclass(frozen=True)
class Pretraining:
    """What weights saw: bands in order, and how these were scaled."""

    bands: tuple[str, ...]
    """Canonical names; empty where the input layer does not know bands (DOFA)."""
    wavelengths_nm: Mapping[str, float]
    unit: str
    """Unit that a channel must have, `reflectance`, `dB` or `DN`; empty where the weights state no normalisation."""
    mean: tuple[float, ...]
    """Per band, in that unit."""
    std: tuple[float, ...]


def check(start: Start) -> Start:
    """A start whose text names weights for its model; nothing is read or fetched.

    Raises:
        ValueError: Such weights do not exist, or are another model's.
    """
    if start.text.startswith(FILE):
        path, _, pin = start.text.removeprefix(FILE).partition(_PIN)
        if not path:
            raise ValueError("weights: file: needs a path, as in file:weights/resnet50.pth")
        if _PIN in start.text and not _DIGEST.fullmatch(pin):
            raise ValueError(f"weights {start.text!r} should end with 8 to 64 hexadecimal digits of the file's SHA-256")
        return start
    if not start.text.startswith(TORCHGEO):
        raise ValueError(f"weights should be null, {TORCHGEO}<name> or {FILE}<path>, not {start.text!r}")
    known = _known(start.model)
    if start.text.removeprefix(TORCHGEO) not in known:
        offered = ", ".join(f"{TORCHGEO}{key}" for key in known) or f"none; use {FILE}<path>"
        raise ValueError(f"weights {start.text!r} are not for {start.model}; torchgeo has {offered}")
    return start


def entry(start: Start) -> Any | None:
    """Torchgeo's entry of a start: the one named, or the one whose file a local file is named after; None without."""
    known = _known(start.model)
    if start.text.startswith(TORCHGEO):
        return known[start.text.removeprefix(TORCHGEO)]
    stem = _HASH.sub("", file_of(start.text)[0].stem)
    return next((weights for weights in known.values() if _HASH.sub("", Path(weights.url).stem) == stem), None)


def pretraining(start: Start) -> Pretraining:
    """What the weights of a start saw; for a local file of unknown origin nothing, so that it takes z-scores."""
    weights = entry(start)
    if weights is None:
        return Pretraining(start.bands, _wavelengths("", start.bands), "", (), ())
    bands = tuple(weights.meta.get("bands", ())) or start.bands
    if not bands and weights.meta.get("in_chans") == 3:
        bands = ("R", "G", "B")
    bands = tuple(canonical(band) for band in bands)
    wavelengths = _wavelengths(weights.name, bands)
    mean, std = _own(weights.transforms, len(bands))
    if not mean:
        return Pretraining(bands, wavelengths, "", (), ())
    unit, digits = _unit(weights.name, bands, std)
    return Pretraining(
        bands, wavelengths, unit, tuple(m / d for m, d in zip(mean, digits, strict=True)),
        tuple(s / d for s, d in zip(std, digits, strict=True)))  # fmt: skip


def file_of(text: str) -> tuple[Path, str | None]:
    """Path and, where one is pinned, SHA-256 of a `file:` text."""
    path, _, pin = text.removeprefix(FILE).partition(_PIN)
    return Path(path), pin.lower() or None


def promised(name: str) -> str | None:
    """The beginning of the SHA-256 that torchgeo puts into a file's name; None where it puts none."""
    found = _HASH.search(Path(name).stem)
    return found.group(1) if found else None


def canonical(name: str) -> str:
    """One spelling for a band: `t03/B8a` → `B8A`, `SR_B2` → `B02`, `red` → `B04`; others in lower case."""
    short = name.rpartition("/")[2].removeprefix("SR_")
    if short.lower() in _ALIASES:
        return _ALIASES[short.lower()]
    head, _, rest = short.upper().partition("_")
    if head.startswith("B") and head[1:].isdigit():
        return "_".join(part for part in (f"B{int(head[1:]):02d}", rest) if part)
    return short.upper() if short.upper() in SENTINEL2 else short.lower()


def _known(model: str) -> dict[str, Any]:
    from torchgeo.models import get_model_weights  # noqa: PLC0415 - takes seconds, and most members start fresh

    try:
        return {str(weights): weights for weights in get_model_weights(model)}
    except (ValueError, KeyError):
        return {}


def _own(transforms: Any, bands: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) per band of all Normalize steps together, in digits; empty where there is none."""
    steps = [step for step in transforms.modules() if type(step).__name__ == "Normalize"]
    mean, std = [0.0] * bands, [1.0] * bands
    for step in steps:
        for k in range(bands):
            mean[k] += std[k] * step.mean[k % len(step.mean)]
            std[k] *= step.std[k % len(step.std)]
    return (tuple(mean), tuple(std)) if steps else ((), ())


def _unit(name: str, bands: Sequence[str], std: Sequence[float]) -> tuple[str, list[float]]:
    """Unit of a channel that fits, and the weights' digits per unit, band by band."""
    if name.startswith("SENTINEL2") and "SATLAS" in name:
        visible = 255 / TRUE_COLOUR_MAX
        return "reflectance", [visible if band in ("B02", "B03", "B04") else 1e4 for band in bands]
    if name.startswith("SENTINEL2") and max(std) > 500:  # digital numbers; SeCo's are 8-bit digits of its own stretch
        return "reflectance", [1e4] * len(bands)
    if name.startswith("SENTINEL1") and "SATLAS" not in name:
        return "dB", [1.0] * len(bands)
    return "DN", [1.0] * len(bands)


def _wavelengths(name: str, bands: Sequence[str]) -> dict[str, float]:
    """Where a band's name alone could mean another sensor's, its centre, nanometres."""
    if name.startswith("LANDSAT"):
        sensor = next((key for key in _LANDSAT if f"_{key}_" in name), "OLI")
        return {band: _LANDSAT[sensor][band] for band in bands if band in _LANDSAT[sensor]}
    return {band: SENTINEL2[band].wavelength_nm for band in bands if band in SENTINEL2}
