"""How much memory a prediction takes, and what is done at once so that it keeps to a budget.

Beside the interpreter, the weights and what they were loaded with, the peak is at most
    fixed + Σ over members of bands(w) · band + B · window, with
    band    4 · K · 256 · W bytes: probabilities of 256 rows of a scene W pixels wide,
    bands   ⌈(w + 255) / 256⌉: that windows of w pixels can touch at a time,
    fixed   GDAL's cache, code that is loaded late, 2½ bands in the hands of the writer, and the scene's pages under a
            row of windows,
    window  its pixels twice (one batch is read while another is predicted), and 1½ times the tensors that the network
            makes of it, which are measured; the half is what kernels and the allocator were seen to add.
Nothing of it grows with the scene's height. Members that do not fit together are predicted one group after another.
"""

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from thalweg.errors import BudgetError
from thalweg.infer.lattice import Lattice
from thalweg.infer.predictor import Predicts

BAND_PX = 256
"""Rows that are written at a time: the height of the raster's tiles, so that each tile is compressed once."""
CACHE_BYTES = 64 << 20
"""GDAL's cache."""
_SMALL_BYTES = 96 << 20
"""Of the writer, while it turns a band into held values chunk by chunk, and of code that is loaded late."""
_ADDED = 1.5
"""What a forward pass takes, in bytes of its tensors."""
_BATCH_PX = {"cpu": 1 << 18}
"""Pixels of a batch beyond which a processor gains nothing."""
_ACCELERATOR_BATCH_PX = 1 << 21
_ROOM = 0.8
"""Share of an accelerator's free memory that a batch may take."""
_MEASURED: weakref.WeakKeyDictionary[Predicts, dict[int, int]] = weakref.WeakKeyDictionary()
"""Member → edge of a window → bytes."""


@dataclass(frozen=True)
class Ground:
    """What of a scene decides how much memory it takes."""

    width: int
    classes: int
    pixel_bytes: int
    """All channels together."""

    @property
    def band_bytes(self) -> int:
        """Of one member's band."""
        return 4 * self.classes * BAND_PX * self.width


@dataclass(frozen=True)
class Group:
    """Members that are predicted together, in one pass over the scene."""

    members: tuple[str, ...]
    batches: Mapping[int, int]
    """Edge of a window → windows per batch."""
    peak_bytes: int
    """At most, beside model and interpreter."""


def plan(members: Mapping[str, Predicts], lattices: Mapping[str, Lattice], ground: Ground, memory_gib: float,
         dtype: np.dtype[Any]) -> tuple[Group, ...]:  # fmt: skip
    """Which members are predicted together, in the order given, and in what batches.

    Args:
        members: By name.
        lattices: Each member's.
        ground: The scene.
        memory_gib: Budget beside model and interpreter.
        dtype: Of the scene's pixels.

    Raises:
        BudgetError: Not even one window of one member fits.
    """
    budget = int(memory_gib * 2**30)
    sizes = {name: lattice.window_px for name, lattice in lattices.items()}
    windows = {name: window_bytes(member, sizes[name], ground, dtype) for name, member in members.items()}
    groups: list[list[str]] = []
    for name in members:
        if groups and _least(groups[-1] + [name], sizes, windows, ground) <= budget:
            groups[-1].append(name)
        elif (least := _least([name], sizes, windows, ground)) <= budget:
            groups.append([name])
        else:
            raise BudgetError(
                f"member '{name}' takes {least / 2**30:.2f} GiB beside its weights to predict a scene {ground.width} "
                f"pixels wide in single windows of {sizes[name]} pixels, but memory_gib is {memory_gib:g}; raise "
                "memory_gib, or give the member a smaller window_px"
            )
    devices = {name: member.device for name, member in members.items()}
    return tuple(_group(group, sizes, windows, devices, ground, budget) for group in groups)


def window_bytes(member: Predicts, size_px: int, ground: Ground, dtype: np.dtype[Any]) -> int:
    """What one window takes while it is predicted: its pixels twice, and all tensors that are alive at the worst time.

    Measured once per member, by predicting an empty window.
    """
    known = _MEASURED.setdefault(member, {})
    if size_px not in known:
        known[size_px] = _measure(member, size_px, ground, dtype)
    return known[size_px]


def _measure(member: Predicts, size_px: int, ground: Ground, dtype: np.dtype[Any]) -> int:
    pixels: np.ndarray = np.zeros((1, size_px, size_px, ground.pixel_bytes // dtype.itemsize), dtype)
    with Tensors() as tensors:
        member.predict(pixels)
    return int(2 * pixels.nbytes + _ADDED * tensors.peak_bytes)


class Tensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the memory of all tensors that are made inside the context, while they live."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak_bytes = 0
        self._bytes = 0
        self._known: set[int] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Else torch loads its compiler, 130 MB of code, for nothing."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operator, and takes note of what it made."""
        made = func(*args, **(kwargs or {}))
        for each in made if isinstance(made, (list, tuple)) else (made,):
            if isinstance(each, torch.Tensor):
                self._note(each.untyped_storage())
        return made

    def _note(self, storage: torch.UntypedStorage) -> None:
        key, size = storage.data_ptr(), storage.nbytes()
        if key in self._known or not size:
            return
        self._known.add(key)
        self._bytes += size
        self.peak_bytes = max(self.peak_bytes, self._bytes)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._bytes -= size


def _least(names: Sequence[str], sizes: Mapping[str, int], windows: Mapping[str, int], ground: Ground) -> int:
    return _held(names, sizes, ground) + max(windows[name] for name in names)


def _held(names: Sequence[str], sizes: Mapping[str, int], ground: Ground) -> int:
    """All but the batches."""
    bands = sum(-(-(sizes[name] + BAND_PX - 1) // BAND_PX) for name in names) + 2.5
    pages = (max(sizes[name] for name in names) + BAND_PX) * ground.width * (ground.pixel_bytes + 1)
    return int(bands * ground.band_bytes) + pages + CACHE_BYTES + _SMALL_BYTES


def _group(names: Sequence[str], sizes: Mapping[str, int], windows: Mapping[str, int],
           devices: Mapping[str, torch.device], ground: Ground, budget: int) -> Group:  # fmt: skip
    held = _held(names, sizes, ground)
    most = {size: max(windows[name] for name in names if sizes[name] == size) for size in {sizes[n] for n in names}}
    device = devices[names[0]]
    batches = {
        size: max(min(_useful(size, device), (budget - held) // each, _fitting(each, device)), 1)
        for size, each in most.items()
    }
    return Group(tuple(names), batches, held + max(batches[size] * each for size, each in most.items()))


def _useful(size_px: int, device: torch.device) -> int:
    return int(_BATCH_PX.get(device.type, _ACCELERATOR_BATCH_PX) // size_px**2)


def _fitting(each: int, device: torch.device) -> int:
    """Windows that an accelerator's own memory holds."""
    if device.type != "cuda":
        return _ACCELERATOR_BATCH_PX
    return int(_ROOM * torch.cuda.mem_get_info(device)[0] // each)
