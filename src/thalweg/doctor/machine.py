"""Of the machine: Python and packages, memory and disk, the GPU, GDAL."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from thalweg import __version__
from thalweg.doctor.finding import Finding

LOCKS = ("requirements.lock", "requirements-legacy.lock")
_RASTER = ("GTiff", "COG", "JP2OpenJPEG", "VRT")
_VECTOR = ("GPKG", "GeoJSON", "ESRI Shapefile")
_FOREIGN = ("GDAL_DATA", "PROJ_LIB", "PROJ_DATA", "GDAL_DRIVER_PATH")
_LEAST_GB, _LEAST_GIB = 20, 8
"""Disk for the products of a small recipe, and memory in which the sample and a U-Net train."""
_SHOWN = 5


def python(root: Path) -> Iterator[Finding]:
    """The interpreter, and whether the packages are those of a lock."""
    version = ".".join(map(str, sys.version_info[:3]))
    where = "a virtual environment" if sys.prefix != sys.base_prefix else "no virtual environment"
    yield Finding("ok", f"thalweg {__version__} on Python {version} in {where}, {sys.prefix}")
    locks = {name: read_lock((root / name).read_text("utf-8")) for name in LOCKS if (root / name).is_file()}
    if not locks:
        return
    installed = {name: found for name in {key for lock in locks.values() for key in lock} if (found := _version(name))}
    name, wrong = min(
        ((name, differences(lock, installed)) for name, lock in locks.items()), key=lambda pair: len(pair[1])
    )
    if not wrong:
        yield Finding("ok", f"{len(installed)} packages, each as in {name}")
        return
    shown = ", ".join(wrong[:_SHOWN]) + (f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else "")
    yield Finding("warn", f"{len(wrong)} packages are not as in {name}: {shown}; run `rm -rf .venv && make setup`")


def read_lock(text: str) -> dict[str, str]:
    """Package → version of a list of constraints."""
    return dict(line.split("==", 1) for line in text.splitlines() if re.match(r"^[A-Za-z0-9._-]+==\S+$", line))


def differences(lock: Mapping[str, str], installed: Mapping[str, str]) -> list[str]:
    """What is installed in another version than a lock says, `name 1.0 for 2.0`; builds (`+cpu`) are no difference."""
    return sorted(
        f"{name} {installed[name]} for {version}"
        for name, version in lock.items()
        if name in installed and installed[name].partition("+")[0] != version.partition("+")[0]
    )


def room(root: Path) -> Iterator[Finding]:
    """Cores, memory, free disk, and whether stages can link instead of copying."""
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if gib < _LEAST_GIB:
        yield Finding("warn", f"{gib:.1f} GiB of memory; lower batch_size and chip_px, and memory_gib of ensembles")
    else:
        yield Finding("ok", f"{cores} cores, {gib:.1f} GiB of memory")
    free = shutil.disk_usage(root).free / 1e9
    if free < _LEAST_GB:
        yield Finding("warn", f"{free:.1f} GB free in {root}; `thalweg fetch --dry-run` says what products need")
    else:
        yield Finding("ok", f"{free:.1f} GB free in {root}")
    yield _links(root)


def _links(root: Path) -> Finding:
    """Products and scenes are hard links into .cache."""
    cache, build = root / ".cache", root / "build"
    made = [folder for folder in (cache, build) if not folder.exists()]
    for folder in made:
        folder.mkdir()
    probe, link = cache / f".doctor{os.getpid()}", build / f".doctor{os.getpid()}"
    try:
        probe.write_bytes(b"")
        os.link(probe, link)
    except OSError as error:
        return Finding("warn", f"build/ cannot link into .cache/ ({error.strerror}), so products and scenes are "
                               "copied; put both on one disk that has hard links")  # fmt: skip
    finally:
        probe.unlink(missing_ok=True)
        link.unlink(missing_ok=True)
        for folder in made:
            folder.rmdir()
    return Finding("ok", "build/ links into .cache/, so that products and scenes are on the disk once")


def accelerators(_root: Path) -> Iterator[Finding]:
    """What torch can compute on, and whether its wheels have code for it."""
    import torch  # noqa: PLC0415 - takes seconds

    build = f"torch {torch.__version__}" + (f", CUDA {torch.version.cuda}" if torch.version.cuda else "")
    served = torch.cuda.get_arch_list() if torch.cuda.is_available() else []
    for number in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(number)
        yield judge_card(card.name, (card.major, card.minor), card.total_memory / 2**30, served, build)
    if torch.cuda.is_available():
        return
    if torch.backends.mps.is_available():
        yield Finding("ok", f"Apple GPU by {build}")
    elif names := _driver_sees():
        yield Finding("fail", f"the driver has {names}, but {build} cannot use it: the driver may be older than the "
                              "wheels ask for; update it, or install by requirements-legacy.lock")  # fmt: skip
    else:
        yield Finding("ok", f"no GPU; {build} trains on the cores")


def judge_card(name: str, capability: tuple[int, int], gib: float, served: Sequence[str], build: str) -> Finding:
    """Whether wheels have code for a card.

    Args:
        name: Its name.
        capability: Its compute capability.
        gib: Its memory.
        served: What the wheels were built for: `sm_75` (binary, runs on 7.5 to 7.9) or `compute_90` (for 9.0 and
            later; the driver compiles). ROCm's names (`gfx1100`) are not judged.
        build: What is installed.

    Source: CUDA C++ Programming Guide, section 5.1, "Binary and PTX compatibility".
    """
    said = f"{name}, {gib:.1f} GiB, compute capability {capability[0]}.{capability[1]}"
    marks = [re.fullmatch(r"(sm|compute)_(\d+)(\d)[af]?", mark) for mark in served]
    known = [(mark[1], (int(mark[2]), int(mark[3]))) for mark in marks if mark]
    fits = any(
        have <= capability and (kind == "compute" or have[0] == capability[0]) for kind, have in known
    )  # fmt: skip
    if known and not fits:
        return Finding("fail", f"{said}: {build} has no code for it ({', '.join(served)}); install by "
                               "requirements-legacy.lock: `make setup LOCK=requirements-legacy.lock`")  # fmt: skip
    return Finding("ok", f"{said}; {build}")


def _driver_sees() -> str:
    """Cards that NVIDIA's driver names; empty where there is no driver."""
    if shutil.which("nvidia-smi") is None:
        return ""
    asked = subprocess.run(
        ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, check=False
    )
    return ", ".join(asked.stdout.split("\n")).strip(", ") if asked.returncode == 0 else ""


def drivers(_root: Path) -> Iterator[Finding]:
    """Formats that GDAL must know, and variables by which another GDAL's files would be taken."""
    import pyogrio  # noqa: PLC0415
    import rasterio  # noqa: PLC0415

    with rasterio.Env() as env:
        known = env.drivers()
    lacking = [name for name in _RASTER if name not in known]
    lacking += [name for name in _VECTOR if "w" not in pyogrio.list_drivers().get(name, "")]
    if lacking:
        todo = "install rasterio and pyogrio by pip, whose wheels have them"
        yield Finding("fail", f"GDAL lacks {', '.join(lacking)}; {todo}")
    else:
        versions = f"{rasterio.__gdal_version__} (rasters), {pyogrio.__gdal_version_string__} (vectors)"
        yield Finding("ok", f"GDAL {versions}: {', '.join(_RASTER + _VECTOR)}")
    if foreign := [name for name in _FOREIGN if os.environ.get(name)]:
        yield Finding("warn", f"{' and '.join(foreign)} point to another GDAL's or PROJ's files, as conda and QGIS set "
                              "them; unset them in this shell")  # fmt: skip


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
