"""Small scenes in thousands: packed, some hundreds to a folder, one below the other in rasters that they share.

Which scenes share a pack follows from their names and widths alone. Names are dealt by the bits of their hash: while a
pack would hold more than it may, it is parted in two by the next bit. So a scene that is added or taken away costs its
own pack, and at most parts or joins that one; all others keep their fingerprints in the store.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from thalweg import raster
from thalweg.classes import IGNORE
from thalweg.manifest.scene import (
    NODATA,
    SCHEMA,
    Channel,
    PackRecord,
    Scene,
    image_files,
    pack_grid,
    write_pack_record,
)
from thalweg.preprocess.store import fingerprint, link_all

MASK = "mask.tif"


@dataclass(frozen=True)
class Member:
    """A scene to be built and packed."""

    name: str
    shape_yx: tuple[int, int]
    key: str
    """Fingerprint of everything that decides its bytes."""
    build: Callable[[Path], None]
    """Fills an empty folder with the scene."""


def build_packs(members: list[Member], size: int, target: Path, store: Path,
                track: Callable[[list[Any]], Iterable[Any]] = iter,
                executor: Executor | None = None) -> None:  # fmt: skip
    """Builds the packs that the store lacks and links all of them into `target`.

    Args:
        members: All scenes of the grid.
        size: Scenes per pack, at most.
        target: Folder that gets a folder per pack.
        store: Finished packs by fingerprint.
        track: Shows progress while it passes the packs on one by one.
        executor: Builds packs elsewhere; None: here, one by one.

    Raises:
        ThalwegError: A scene cannot be built; packs that are done stay in the store.
    """
    wanted = [(name, _key(pack), partial(_build, pack)) for name, pack in dealt(members, size).items()]
    link_all(wanted, target, store, track, executor)


def _key(pack: list[Member]) -> str:
    return fingerprint(["pack", [[member.name, member.shape_yx, member.key] for member in pack]])


def dealt(members: list[Member], size: int) -> dict[str, list[Member]]:
    """Pack name → its members by name: at most `size`, of widths that differ by less than a factor of two."""
    by_width: dict[int, list[Member]] = {}
    for member in sorted(members, key=lambda member: member.name):
        by_width.setdefault((member.shape_yx[1] - 1).bit_length(), []).append(member)
    return {
        f"pack_{2**exponent}px_{bits or 'all'}": pack
        for exponent, wide in sorted(by_width.items())
        for bits, pack in _parted(wide, size, "").items()
    }


def _parted(members: list[Member], size: int, bits: str) -> dict[str, list[Member]]:
    if len(members) <= size:
        return {bits: members} if members else {}
    sides: dict[str, list[Member]] = {"0": [], "1": []}
    for member in members:
        sides[_bits(member.name)[len(bits)]].append(member)
    return {name: pack for bit, side in sides.items() for name, pack in _parted(side, size, bits + bit).items()}


def _bits(name: str) -> str:
    return f"{int(hashlib.sha256(name.encode()).hexdigest(), 16):0256b}"


def _build(members: list[Member], folder: Path) -> None:
    """One pack: each member is built as a scene of its own, copied, and removed again."""
    ends = tuple(accumulate(member.shape_yx[0] for member in members))
    rows = tuple(end - member.shape_yx[0] for end, member in zip(ends, members, strict=True))
    rasters = _Rasters(folder, (ends[-1], max(member.shape_yx[1] for member in members)))
    records = []
    with TemporaryDirectory(dir=folder.parent, prefix=folder.name.removesuffix("part"), suffix=".part") as room:
        for member, row in zip(members, rows, strict=True):
            home = Path(room) / "scene"
            home.mkdir()
            member.build(home)
            scene = Scene(home)
            rasters.take(scene, row)
            records.append(scene.record)
            shutil.rmtree(home)
    record = PackRecord(schema_version=SCHEMA, shape_yx=rasters.shape_yx, images=rasters.images, rows=rows,
                        members=tuple(records))  # fmt: skip
    write_pack_record(record, folder)


class _Rasters:
    """The rasters of a pack, each made when the first member has such a one."""

    def __init__(self, folder: Path, shape_yx: tuple[int, int]) -> None:
        self.shape_yx = shape_yx
        self.images: tuple[str, ...] = ()
        self._folder = folder
        self._maps: dict[str, np.memmap[Any, Any]] = {}

    def take(self, scene: Scene, row: int) -> None:
        """Copies a scene's rasters to a row and those below."""
        files = image_files(scene.record)
        self.images = ("image.tif",) if files == ("image.tif",) else _numbered(len(files))
        count = len(scene.record.channels) // len(files)
        for number, (file, name) in enumerate(zip(files, self.images, strict=True)):
            channels = scene.record.channels[number * count : (number + 1) * count]
            self._copy(scene.folder / file, name, row, NODATA, channels)
        self._copy(scene.folder / "valid.tif", "valid.tif", row, 0)
        if scene.record.labelled:
            self._copy(scene.folder / MASK, MASK, row, IGNORE)

    def _copy(self, source: Path, name: str, row: int, empty: int, channels: tuple[Channel, ...] = ()) -> None:
        """One raster to its rows; beside a narrow member, and where members have none, it is `empty`."""
        pixels = raster.map_pixels(source)
        if name not in self._maps:
            self._maps[name] = self._create(name, pixels, empty, channels)
        rows = self._maps[name][row : row + pixels.shape[0]]
        rows[:, : pixels.shape[1]] = pixels
        rows[:, pixels.shape[1] :] = empty

    def _create(self, name: str, like: np.ndarray, empty: int, channels: tuple[Channel, ...]) -> np.memmap[Any, Any]:
        pixels = raster.create_pixels(
            self._folder / name, pack_grid(self.shape_yx), like.shape[2], str(like.dtype), empty or None,
            descriptions=tuple(channel.name for channel in channels),
            scales=tuple(channel.scale for channel in channels), offsets=tuple(channel.offset for channel in channels),
            units=tuple(channel.unit for channel in channels),
        )  # fmt: skip
        if name == MASK:
            pixels[:] = empty
        return pixels


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"image_t{number:02}.tif" for number in range(count))
