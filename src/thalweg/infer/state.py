"""What is finished of a prediction, on disk: bands of rows while it runs, then the whole raster.

A folder holds, per member, what one fingerprint stands for: the member's weights and card, the scene, how it is swept,
the area, the size of batches, and the code. Each band is written whole or not at all, so that after a kill the next
call goes on behind the last of them. Whatever else lies in a state folder is of other predictions, and left alone.
"""

import glob
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import thalweg
from thalweg import models
from thalweg.infer.area import Area, to_bytes
from thalweg.infer.lattice import How
from thalweg.infer.predictor import Predicts
from thalweg.manifest.scene import Scene
from thalweg.raster import link

_CODE = ("grid.py", "maps/held.py", "models/__init__.py", "infer/*.py")
"""Below the package: what decides, beside the architecture, which values come out."""


def fingerprint(member: Predicts, scene: Scene, how: How, area: Area | None, batch: int) -> str:
    """What tells the prediction of one member from any other.

    Args:
        member: The member.
        scene: On its grid.
        how: How it is swept.
        area: What of it is wanted.
        batch: Windows per batch, on which the last bits depend.
    """
    files = [path.stat() for path in (*(scene.folder / name for name in scene.image_files), scene.folder / "valid.tif")]
    said = hashlib.sha256(to_bytes(area))
    said.update(json.dumps([
        member.identity(), code_sha256(member.card.architecture), scene.record.model_dump(mode="json"),
        [(file.st_size, file.st_mtime_ns) for file in files], scene.window, how.overlaps, how.blend, batch,
    ]).encode())  # fmt: skip
    return said.hexdigest()


def code_sha256(architecture: str) -> str:
    """Hash of the code that decides which values come out."""
    home, said = Path(thalweg.__file__).parent, hashlib.sha256(models.source_sha256(architecture).encode())
    for pattern in _CODE:
        for path in sorted(home.glob(pattern)):
            said.update(path.read_bytes())
    return said.hexdigest()


def forget(state: Path) -> None:
    """Removes a state folder with all that is in it, or does nothing where there is none.

    A worker that nobody waits for any more may still write there: it does so into a folder of the old name, which the
    next run removes; and what it holds open on a network's disk stays for as long.
    """
    for left in state.parent.glob(f".{glob.escape(state.name)}.*.gone"):
        shutil.rmtree(left, ignore_errors=True)
    if state.exists():
        aside = state.with_name(f".{state.name}.{uuid.uuid4().hex}.gone")
        state.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


class State:
    """What is finished of one member's prediction."""

    def __init__(self, folder: Path) -> None:
        """Takes a folder of its own, named by a fingerprint; it is made with the first band."""
        self.folder = folder

    @property
    def raster(self) -> Path:
        """The whole raster, once there is one."""
        return self.folder / "probs.tif"

    @property
    def finished(self) -> bool:
        """Whether there is."""
        return self.raster.exists()

    def rows(self, band_px: int) -> int:
        """Rows that are finished, from the top, all in bands of this height."""
        top = 0
        while self._band(top).exists():
            top += band_px
        return top

    def has(self, top: int) -> bool:
        """Whether the band that begins at a row is finished."""
        return self.finished or self._band(top).exists()

    def bands(self, rows: int, band_px: int) -> Iterator[tuple[int, np.ndarray]]:
        """First row and held values (K, rows, W) of the finished bands above a row."""
        for top in range(0, rows, band_px):
            yield top, np.load(self._band(top))

    def keep(self, top: int, held: np.ndarray) -> None:
        """Writes a band, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f".{uuid.uuid4().hex}.part"  # others may be at it on other machines
        with partial.open("wb") as stream:
            np.save(stream, held)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(self._band(top))

    def finish(self, raster: Path) -> None:
        """Keeps a second name of the whole raster, and the bands no more."""
        self.folder.mkdir(parents=True, exist_ok=True)
        link(raster, self.raster)
        self.tidy()

    def tidy(self) -> None:
        """Removes the bands, of which the raster is made."""
        for path in self.folder.glob("*.npy"):
            path.unlink(missing_ok=True)

    def give(self, target: Path) -> None:
        """Gives the whole raster a name elsewhere."""
        target.unlink(missing_ok=True)
        link(self.raster, target)

    @contextmanager
    def new(self) -> Iterator[Path]:
        """A path for the whole raster, which gets its name when the block ends, whoever else is making it."""
        partial = self.folder / f".{uuid.uuid4().hex}.tif"
        try:
            yield partial
            partial.replace(self.raster)
        finally:
            partial.unlink(missing_ok=True)

    def _band(self, top: int) -> Path:
        return self.folder / f"{top:08}.npy"
