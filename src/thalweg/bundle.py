"""One zip that predicts elsewhere: cards, weights once, the class table, checksums, and a README with the one command.

The same models give the same bytes. Nothing in it names a path of the machine that made it.
"""

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import thalweg
from thalweg.classes import ClassInfo
from thalweg.errors import ArchiveError, CardError
from thalweg.manifest import Record, read_record
from thalweg.manifest.card import CARD, WEIGHTS, read_card
from thalweg.unpack import unpack

SCHEMA = 1
INDEX = "bundle.json"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can hold: one for all, so that the same content is the same file."""
_PLAIN_FILE = 0o100644 << 16
_LIMIT_BYTES = 64 << 30
_CHUNK = 1 << 20
_README = """{name}: a {kind} of Thalweg {version}

It maps: {classes}
It reads: {channels}
Pixels of {pixel} m.

    pip install thalweg
    thalweg predict {file} IMAGE --out map

IMAGE is a Sentinel-2 SAFE product, a GeoTIFF whose bands are named, or any raster with --bands; see
`thalweg predict --help`. The zip need not be unpacked. `classes.csv` lists the values of classes.tif.
"""


class Bundle(Record):
    """bundle.json."""

    schema_version: int
    name: str
    kind: str
    """`model` or `ensemble`."""
    files: dict[str, str]
    """Path in the zip → SHA-256."""


def write_bundle(name: str, models: Mapping[str, Path], ensemble: Path | None, target: Path) -> Bundle:
    """Writes a bundle, whole or not at all.

    Args:
        name: Of the model or the ensemble.
        models: Member → model directory.
        ensemble: Folder of the ensemble's card, or None for a model.
        target: The zip.

    Raises:
        CardError: A model lacks a file, or a card names a path of this machine.
        ArchiveError: The zip is there already, its folder is not, or its name ends otherwise.
    """
    if target.suffix != ".zip":
        raise ArchiveError(f"{target} should end in .zip, by which `thalweg predict` knows bundles; give another --out")
    if not target.absolute().parent.is_dir():
        raise ArchiveError(f"{target.absolute().parent} is no folder; make it first, or give another --out")
    if target.exists():
        raise ArchiveError(f"{target} is there already; remove it, or give another name by --out")
    files: dict[str, Path | bytes] = {}
    for member, folder in models.items():
        files |= {f"models/{member}/{file}": folder / file for file in (CARD, WEIGHTS)}
    if ensemble is not None:
        files[f"ensembles/{name}/{CARD}"] = ensemble / CARD
    for place, file in files.items():
        if isinstance(file, Path):
            _check(file, place)
    cards = [read_card(folder) for folder in models.values()]
    kind = "model" if ensemble is None else f"ensemble of {len(models)} models"
    channels = dict.fromkeys(channel.name for card in cards for channel in card.channels)
    said = _README.format(
        name=name, kind=kind, version=thalweg.__version__, file=f"{name}.zip", channels=", ".join(channels),
        classes=", ".join(info.name for info in cards[0].classes),
        pixel=" and ".join(dict.fromkeys(f"{card.pixel_m:.4g}" for card in cards)))  # fmt: skip
    files |= {"README.txt": said.encode(), "classes.csv": _class_table(cards[0].classes)}
    hashes = {place: _sha256(file) for place, file in sorted(files.items())}
    bundle = Bundle(schema_version=SCHEMA, name=name, kind=kind.partition(" ")[0], files=hashes)
    files[INDEX] = (bundle.model_dump_json(indent=1) + "\n").encode()
    _write_zip(files, target)
    return bundle


def open_bundle(path: Path, scratch: Path) -> Path:
    """Unpacks a bundle and checks every file; the folder of its model, or of its ensemble's card.

    Args:
        path: The zip.
        scratch: Gets a new folder.

    Raises:
        ArchiveError: It is damaged, no bundle, or holds what would leave the folder.
    """
    folder = scratch / "bundle"
    if not path.is_file():
        raise ArchiveError(f"{path} is missing; make it by `thalweg bundle`")
    if not zipfile.is_zipfile(path):
        raise ArchiveError(f"{path} is no whole zip; copy the bundle again")
    unpack(path, "zip", folder, _LIMIT_BYTES)
    if not (folder / INDEX).is_file():
        raise ArchiveError(f"{path} has no {INDEX}, so it is no bundle; make one by `thalweg bundle`")
    bundle = read_record(Bundle, folder / INDEX, "make the bundle again by `thalweg bundle`")
    if bundle.schema_version > SCHEMA:
        raise ArchiveError(
            f"{path} has schema {bundle.schema_version}, this Thalweg reads up to {SCHEMA}; update Thalweg"
        )
    found = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()} - {INDEX}
    for place in sorted(found ^ set(bundle.files)):
        what = "lacks" if place in bundle.files else "holds the foreign file"
        raise ArchiveError(f"{path} {what} {place}; copy the bundle again")
    for place, stated in bundle.files.items():
        if _sha256(folder / place) != stated:
            raise ArchiveError(f"{path}: {place} is not what {INDEX} states (SHA-256); copy the bundle again")
    return folder / ("models" if bundle.kind == "model" else "ensembles") / bundle.name


def _check(file: Path, place: str) -> None:
    if not file.is_file():
        raise CardError(f"{file} is missing; train the member with `dvc repro`, or copy the whole directory")
    if file.name == CARD:
        for key, value in _strings(json.loads(file.read_text("utf-8"))):
            if value.startswith(("/", "~/", "\\\\")) or value[1:3] in (":\\", ":/"):
                raise CardError(
                    f"{place} names a path of this machine, {value}, at {key}; a bundle must not: correct the params "
                    "and train again, or take it out of the card by hand"
                )


def _strings(data: Any, key: str = "") -> list[tuple[str, str]]:
    """All texts in JSON, with their keys."""
    if isinstance(data, str):
        return [(key, data)]
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [found for name, value in pairs for found in _strings(value, f"{key}.{name}".lstrip("."))]


def _class_table(classes: Sequence[ClassInfo]) -> bytes:
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(("value", "name", "color"))
    table.writerows((value, info.name, info.color) for value, info in enumerate(classes))
    return stream.getvalue().encode()


def _write_zip(files: Mapping[str, Path | bytes], target: Path) -> None:
    partial = target.with_name(f".{target.name}.part")
    with zipfile.ZipFile(partial, "w") as archive:
        for place, file in sorted(files.items()):
            entry = zipfile.ZipInfo(place, _LONG_AGO)
            entry.create_system = 3
            entry.external_attr = _PLAIN_FILE
            entry.compress_type = zipfile.ZIP_STORED if place.endswith(WEIGHTS) else zipfile.ZIP_DEFLATED
            entry.file_size = len(file) if isinstance(file, bytes) else file.stat().st_size
            with archive.open(entry, "w") as stream, _opened(file) as content:
                while chunk := content.read(_CHUNK):
                    stream.write(chunk)
    partial.replace(target)


def _opened(file: Path | bytes) -> IO[bytes]:
    return io.BytesIO(file) if isinstance(file, bytes) else file.open("rb")


def _sha256(file: Path | bytes) -> str:
    with _opened(file) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
