"""A product's own list of its files, with size and checksum of each: manifest.safe; which of them a fetch wants.

The granule's folder cannot be told from the product's name, so every path comes from here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from thalweg.errors import ProductError
from thalweg.products.safe_xml import Stated, parse_manifest

MANIFEST = "manifest.safe"
_TILE_METADATA = re.compile(r"GRANULE/[^/]+/MTD_TL\.xml")
_PRODUCT_METADATA = re.compile(r"MTD_MSIL(1C|2A)\.xml")
_IMAGE = re.compile(r"GRANULE/[^/]+/IMG_DATA/(?:(R\d\dm)/)?[^/]*_\d{8}T\d{6}_(\w{3})(?:_\d\dm)?\.jp2")
_HEX = re.compile(r"[0-9a-f]+")
_DIGITS = {"MD5": 32, "SHA3-256": 64, "SHA-256": 64}
FLAT = "L1C"
"""Stands where the resolution folder would: level 1C has none."""


@dataclass(frozen=True)
class File:
    """One file of a product."""

    path: str
    """Below the SAFE folder."""
    stated: Stated


def read_files(text: bytes, name: str) -> dict[str, Stated]:
    """Path → what manifest.safe states, checked so that nothing else need be.

    Raises:
        ProductError: It is no XML, lists nothing, or an entry has no path, size or checksum that can be verified, or
            leads out of the product.
    """
    try:
        stated = parse_manifest(text, name)
    except ProductError:
        raise
    except ValueError as error:
        raise ProductError(f"{name}: manifest.safe states a size that is no number; choose another") from error
    if not stated or "None" in stated:
        raise ProductError(
            f"{name}: manifest.safe lists {'a file without its path' if stated else 'no file with a checksum'}, so "
            "nothing of the product can be verified; set fetch.options.whole_zip, or choose another product"
        )
    for path, entry in stated.items():
        _check(path, entry, name)
    return stated


def choose_files(stated: Mapping[str, Stated], bands: Mapping[str, Sequence[str]], name: str) -> list[File]:
    """The files that a fetch wants: product and tile metadata first, then the images, in the order asked.

    Args:
        stated: As `read_files` gives them.
        bands: Resolution folder (`R60m`; `L1C` for the flat layout of that level) → bands, `SCL` among them.
        name: Of the product, for messages.

    Raises:
        ProductError: A wanted file is not in the product; the message names the bands that are.
    """
    metadata = [path for path in stated if _PRODUCT_METADATA.fullmatch(path)]
    tiles = [path for path in stated if _TILE_METADATA.fullmatch(path)]
    if len(metadata) != 1 or len(tiles) != 1:
        raise ProductError(
            f"{name}: manifest.safe lists {len(metadata)} product metadata files and {len(tiles)} MTD_TL.xml, expected "
            "one of each; products of several tiles (before 2016-12) are not supported, choose another"
        )
    images = _images(stated)
    paths = [*metadata, *tiles]
    for folder, names in bands.items():
        paths += [_image(images, folder, band, name) for band in names]
    return [File(path, stated[path]) for path in paths]


def _images(stated: Mapping[str, Stated]) -> dict[tuple[str, str], str]:
    matches = ((path, _IMAGE.fullmatch(path)) for path in stated)
    return {(match[1] or FLAT, match[2]): path for path, match in matches if match}


def _image(images: Mapping[tuple[str, str], str], folder: str, band: str, name: str) -> str:
    if (folder, band) in images:
        return images[folder, band]
    there = [known for place, known in images if place == folder]
    elsewhere = [place for place, known in images if known == band]
    other = f" (only in {', '.join(elsewhere)})" if elsewhere else ""
    raise ProductError(
        f"{name} has no {band} in {folder}{other}; there it has {', '.join(sorted(there)) or 'nothing'}; products "
        "before baseline 04.00 have no B01 in R20m; change fetch.options.bands or leave the product out of the search"
    )


def _check(path: str, entry: Stated, name: str) -> None:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\\" in path or not pure.parts or ":" in path:
        raise ProductError(f"{name}: manifest.safe lists '{path}', which leads out of the product; it is not fetched")
    digits = _DIGITS.get(entry.algorithm.upper())
    if entry.size < 0 or digits is None or len(entry.checksum) != digits or not _HEX.fullmatch(entry.checksum):
        raise ProductError(
            f"{name}: manifest.safe states size {entry.size} and {entry.algorithm} '{entry.checksum[:16]}' of {path}, "
            f"expected a size and a sum of {', '.join(_DIGITS)}; set fetch.options.whole_zip or choose another product"
        )
