"""NetCDF-4 files as HDF5: opening them, and what NetCDF adds, which is names and coordinates of axes.

Opening a group of a small file so takes a twentieth of the time that xarray takes, and there are ten thousand files of
fifteen groups.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import numpy as np

from thalweg.errors import RasterError

_CACHE_BYTES = 8 << 20
"""Per variable, so that a compressed chunk of several dates is unpacked once; netCDF's own chunks are up to 4 MB."""
_OPEN_FILES = 4


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """A NetCDF-4 file for reading; the last few stay open, since a cube is read plane by plane.

    Raises:
        RasterError: The file is missing or damaged, or no NetCDF-4, or decoding fails inside the block.
    """
    try:
        state = path.stat()
        yield _opened(str(path), state.st_mtime_ns, state.st_size)
    except OSError as error:
        if not path.exists():
            raise RasterError(f"{path} is missing; deliver the file again, then run the command again") from error
        with path.open("rb") as file:
            classic = file.read(3) == b"CDF"
        hint = "of the classic form; make it one of form 4 with `nccopy -k nc4`" if classic else "deliver it again"
        raise RasterError(f"{path} cannot be read ({' '.join(str(error).split())}); {hint}") from error


@lru_cache(maxsize=_OPEN_FILES)
def _opened(path: str, changed_ns: int, size: int) -> h5py.File:  # noqa: ARG001  (a file that changed is another one)
    return h5py.File(path, "r", rdcc_nbytes=_CACHE_BYTES)


def axis_names(dataset: h5py.Dataset) -> list[str]:
    """Names of the dimensions; of a file without them, those of a cube's order."""
    names = [dim[0].name.rpartition("/")[2] if len(dim) else "" for dim in dataset.dims]
    return names if all(names) else ["time", "y", "x"][-dataset.ndim :]


def coordinate(dataset: h5py.Dataset, axis: int) -> h5py.Dataset | None:
    """The coordinate variable of an axis, None where it is a mere dimension."""
    scales = dataset.dims[axis]
    found = scales[0] if len(scales) else dataset.parent.get(axis_names(dataset)[axis])
    bare = found is None or attributes_of(found).get("NAME", "").startswith("This is a netCDF dimension but not")
    return None if bare else found


def attributes_of(found: h5py.Dataset | h5py.Group) -> dict[str, Any]:
    """Attributes, single values and texts as such; without the references that HDF5 keeps between axes."""
    kept = {name: found.attrs[name] for name in found.attrs if name not in ("DIMENSION_LIST", "REFERENCE_LIST")}
    return {name: _plain(value) for name, value in kept.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.ravel()[0]
    return value.decode() if isinstance(value, bytes) else value
