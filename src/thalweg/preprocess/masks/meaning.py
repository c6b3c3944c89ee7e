"""What mask values mean: numbers, colours and attributes to class ids, by one table that the params describe."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from thalweg.classes import IGNORE
from thalweg.errors import MaskError, ParamsError
from thalweg.params.classes import Classes
from thalweg.params.masks import Masks, is_number, number_of
from thalweg.preprocess.masks.encoder import Encoder, plain, read_encoder

OUTSIDE = 254
"""In an unfinished mask: no mask covers the pixel. Class ids end at 253, so that it is free."""
_UNLABELLED = "unlabelled"
_KINDS_KEPT = 1000
"""Different unknown values that are counted one by one; a field of measures has millions."""


@dataclass(frozen=True)
class Meaning:
    """Value → class id; 255 is unlabelled."""

    numbers: dict[int | float, int]
    """0 included. Python compares whole and other numbers exactly, however large."""
    colors: dict[int, int]
    """0xRRGGBB → class id; empty where masks are not coded by colours."""
    texts: dict[str, int]
    """As they stand in masks.values, for attributes of vectors."""
    zero: int
    """Of ground without a feature."""
    other: int | None
    """Of values that are not listed; None makes them an error."""
    outside: int
    """Of ground that no mask covers."""
    threshold: float | None
    warnings: tuple[str, ...]
    encoder: str | None
    """SHA-256 of the label encoder."""

    def of_number(self, value: float) -> int | None:
        """Class id of a code; None where it must not be."""
        return self.numbers.get(_exactly(value), self.other)

    def of_feature(self, value: Any) -> int | None:
        """Class id of an attribute, whichever way its file stores it: 2, 2.0, "2" and "02" are one; None as above."""
        if value is None or (isinstance(value, float | np.floating) and np.isnan(value)):
            return self.other
        text = str(value).lower() if isinstance(value, bool | np.bool_) else str(value)
        if text in self.texts:
            return self.texts[text]
        number = text.strip()
        try:
            return self.of_number(number_of(number)) if "_" not in number else self.other  # Python reads 1_0 as ten
        except ValueError:
            return self.other


@dataclass
class Strange:
    """Values without a meaning, counted over a whole scene before anybody is told."""

    counts: Counter[str] = field(default_factory=Counter)
    more: int = 0
    """Pixels of further values."""

    def add(self, value: str, count: int) -> None:
        """Counts some pixels (or features)."""
        if value in self.counts or len(self.counts) < _KINDS_KEPT:
            self.counts[value] += count
        else:
            self.more += count

    def check(self, where: str, meaning: Meaning, unit: str = "pixels", hint: str = "") -> None:
        """Complains of what was counted.

        Raises:
            MaskError: Anything was.
        """
        if not self.counts:
            return
        (value, count), total = self.counts.most_common(1)[0], sum(self.counts.values()) + self.more
        others = f" (and {len(self.counts) - 1}{'+' if self.more else ''} other values in {total - count})"
        known = sorted(meaning.numbers)
        listed = [*(exact(number) for number in known), *(f"#{color:06x}" for color in meaning.colors)]
        listed += [text for text in meaning.texts if not is_number(text)]
        remedy = f"list '{value}' in the label encoder" if meaning.encoder else f"add '{value}' to masks.values"
        raise MaskError(
            f"{where} holds the value {value} in {count} {unit}{others if total > count else ''}, which no class has; "
            f"known are {', '.join(listed)}; {remedy} in params.yaml (`thalweg evaluate` takes --values), "
            f"say in masks.other what such values mean, or correct the mask{hint}"
        )


def read_meaning(masks: Masks, classes: Classes, folder: Path) -> Meaning:
    """What values mean, by the params and the label encoder that they may name.

    Raises:
        ParamsError: A value, `other` or the encoder gives a class that is not in the legend.
        MaskError: The encoder cannot be read.
    """
    ids = {name: number for number, name in enumerate(classes.names)} | {_UNLABELLED: IGNORE}
    zero = IGNORE if masks.zero == _UNLABELLED else 0
    outside = IGNORE if masks.outside == _UNLABELLED else 0
    if masks.encoder is not None:
        path = folder / masks.encoder
        encoder = read_encoder(path)
        first = _first_class(encoder, classes, masks, path)
        numbers: dict[int | float, int] = {code: number - first if number else zero
                                           for code, number in encoder.ids.items()}  # fmt: skip
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return Meaning({0: zero} | numbers, {}, {}, zero, zero, outside, masks.threshold, encoder.warnings, digest)
    for saying, name in _said(masks):
        if name not in ids:
            raise ParamsError(
                f"{saying} the class '{name}', but there are {', '.join(ids)}; correct masks.values or classes.legend "
                "in params.yaml"
            )
    numbers = {number_of(value): ids[name] for value, name in masks.values.items() if is_number(value)}
    colors = {int(value[1:], 16): ids[name] for value, name in masks.values.items() if value.startswith("#")}
    texts = {value: ids[name] for value, name in masks.values.items() if not value.startswith("#")}
    other = None if masks.other == "error" else ids[masks.other]
    return Meaning({0: zero} | numbers, colors, texts, zero, other, outside, masks.threshold, (), None)


def class_ids(values: np.ndarray, meaning: Meaning, strange: Strange,
              palette: dict[int, int] | None = None, nodata: float | None = None) -> np.ndarray:  # fmt: skip
    """Mask values of any dtype and shape as class ids, uint8; 255 where unlabelled, NaN or nodata.

    Where a threshold is given, a value from it on is 1 and one below is 0.

    Args:
        values: As the mask holds them.
        meaning: What they mean.
        strange: Is told of the values that have no meaning; they come out as 255.
        palette: Code → 0xRRGGBB of a mask with a colour table: a code that is not listed itself means its colour.
        nodata: What the file tags so: no statement, unless it is 0 or listed.
    """
    if nodata == 0:
        nodata = None
    if meaning.threshold is not None:
        absent = np.isnan(values) if nodata is None else np.isnan(values) | (values == nodata)
        values, nodata = np.where(absent, np.nan, values >= meaning.threshold), None
    if values.dtype == np.uint8:
        counts = np.bincount(values.ravel(), minlength=256)
        found = np.flatnonzero(counts)
        table = np.zeros(256, np.uint8)
        table[found] = _meant(found, counts[found], meaning, strange, palette, nodata)
        return np.asarray(table[values])
    found, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray(_meant(found, counts, meaning, strange, palette, nodata)[place].reshape(values.shape))


def _meant(found: np.ndarray, counts: np.ndarray, meaning: Meaning, strange: Strange,
           palette: dict[int, int] | None, nodata: float | None) -> np.ndarray:  # fmt: skip
    """Class ids of different values, each of which stands in `counts` pixels."""
    ids = np.full(len(found), IGNORE, np.uint8)
    for number, (value, count) in enumerate(zip(found, counts, strict=True)):
        if np.isnan(value) or (value == nodata and not _is_listed(value, meaning, palette)):
            continue
        meant = _of_code(value, meaning, palette)
        if meant is None:
            strange.add(exact(value), int(count))
        else:
            ids[number] = meant
    return ids


def ids_of_colors(rgb: np.ndarray, meaning: Meaning, strange: Strange) -> np.ndarray:
    """Class ids (h, w) of colours (3, h, w) uint8; those that are not listed follow `other`."""
    packed = (rgb[0].astype(np.uint32) << 16) | (rgb[1].astype(np.uint32) << 8) | rgb[2]
    ids = np.full(packed.shape, IGNORE if meaning.other is None else meaning.other, np.uint8)
    unlisted = np.ones(packed.shape, bool)
    for color, meant in meaning.colors.items():
        here = packed == color
        ids[here] = meant
        unlisted &= ~here
    if meaning.other is None and unlisted.any():
        for color, count in zip(*np.unique(packed[unlisted], return_counts=True), strict=True):
            strange.add(f"#{color:06x}", int(count))
    return ids


def _said(masks: Masks) -> list[tuple[str, str]]:
    """Which key of the params says which class."""
    said = [(f"masks.values gives '{value}'", name) for value, name in masks.values.items()]
    return said if masks.other == "error" else [*said, ("masks.other gives what is not listed", masks.other)]


def _of_code(value: float, meaning: Meaning, palette: dict[int, int] | None) -> int | None:
    color = _color(value, meaning, palette)
    if color is None or (value != 0 and _exactly(value) in meaning.numbers):
        return meaning.of_number(value)
    return meaning.colors[color]


def _is_listed(value: float, meaning: Meaning, palette: dict[int, int] | None) -> bool:
    return _exactly(value) in meaning.numbers or _color(value, meaning, palette) is not None


def _color(value: float, meaning: Meaning, palette: dict[int, int] | None) -> int | None:
    """Of a code of a colour table, if it is listed."""
    color = None if palette is None or not meaning.colors else palette.get(int(value))
    return color if color in meaning.colors else None


def _exactly(value: float) -> int | float:
    """A number of any type as Python's own, which compares exactly."""
    number: int | float = value.item() if isinstance(value, np.generic) else value
    return number


def _first_class(encoder: Encoder, classes: Classes, masks: Masks, path: Path) -> int:
    """Place in the encoder of the legend's first class: 1 where the encoder's first is unlabelled and not in it.

    A class that nothing is labelled as need not be one: the seed predicted it, and counted it in its means.
    """
    names = tuple(plain(name) for name in encoder.names)
    if names == classes.names:
        return 0
    if names[1:] == classes.names and masks.zero == _UNLABELLED:
        return 1
    raise ParamsError(
        f"{path} has the classes {', '.join(encoder.names)}, but classes.legend in params.yaml has "
        f"{', '.join(classes.names)}; name the same classes in the same order (with masks.zero 'unlabelled' the first "
        "may be left out)"
    )


def exact(value: float) -> str:
    """As it must stand in masks.values to be matched: 0.3 of a float32 mask is another number than 0.3."""
    return repr(_exactly(value)).removesuffix(".0")
