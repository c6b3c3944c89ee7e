"""Whether there is room for a fetch, asked before the first byte moves."""

import shutil
from pathlib import Path

from thalweg.errors import DiskSpaceError

MARGIN = 256 * 2**20
"""Bytes that a fetch leaves free: what else the machine writes meanwhile."""


def free_bytes(folder: Path) -> int:
    """Room on the disk where a folder lies or will lie."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def check_space(folder: Path, needed: int, margin: int = MARGIN) -> None:
    """Lets a fetch begin only where it can end.

    Args:
        folder: To be filled; may not exist yet.
        needed: Bytes that will come.
        margin: Bytes to leave free.

    Raises:
        DiskSpaceError: There is less room.
    """
    free = free_bytes(folder)
    if free < needed + margin:
        raise DiskSpaceError(
            f"{folder} needs {needed / 1e9:.2f} GB and {margin / 1e9:.2f} GB to spare, but its disk has "
            f"{free / 1e9:.2f} GB free; make room, or fetch fewer products or bands"
        )
