"""Weights as files: where they lie, whether they are those that were meant, and the tensors in them."""

import hashlib
import pickle
import socket
import urllib.error
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, hub

from thalweg.errors import WeightsError
from thalweg.weights.catalogue import FILE, Start, entry, file_of, promised

_WRAPPERS = ("state_dict", "model", "teacher", "s2_encoder")
"""Keys under which checkpoints keep the tensors."""
_TIMEOUT_S = 60.0
_UNREADABLE = (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError, safetensors.SafetensorError)


def read_weights(start: Start, names: Collection[str]) -> tuple[dict[str, Tensor], str]:
    """The tensors of a start under the trunk's own names, and the file's SHA-256.

    Args:
        start: What to read.
        names: Names of the trunk's tensors; whatever prefix the file puts before them is taken off.

    Raises:
        WeightsError: The file is missing and cannot be fetched, damaged, of another checksum, or of another model.
    """
    path, expected = _local(start)
    sha256 = _sha256(path)
    if expected and not sha256.startswith(expected):
        raise WeightsError(
            f"{path} has SHA-256 {sha256[:12]}…, not {expected}… as {start.text} promises; delete it and run again"
        )
    return _without_prefix(_tensors(path), names, path), sha256


def _local(start: Start) -> tuple[Path, str | None]:
    if start.text.startswith(FILE):
        path, pin = file_of(start.text)
        if not path.is_file():
            raise WeightsError(f"{path} is missing, which `weights: {start.text}` names; put it there, or set null")
        return path, pin or promised(path.name)
    url = str(getattr(entry(start), "url", ""))
    path = Path(hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.is_file():
        _fetch(url, path, start)
    return path, promised(path.name)


def _fetch(url: str, path: Path, start: Start) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_S)  # urllib's own is to wait for ever
    try:
        hub.download_url_to_file(url, str(path), hash_prefix=promised(path.name), progress=False)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise WeightsError(
            f"{start.text} is not in {path.parent} and cannot be fetched ({error}); bring {url} there from a machine "
            "with a network, or name a copy of it, under its own name, as `weights: file:<path>`"
        ) from error
    finally:
        socket.setdefaulttimeout(patience)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        fault = " ".join(str(error).split())[:200]
        raise WeightsError(f"{path} holds no tensors that can be read safely ({fault}); get it again") from error
    for key in _WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping):
        raise WeightsError(f"{path} holds a {type(state).__name__}, not tensors by name; get a state_dict of the model")
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _without_prefix(tensors: Mapping[str, Tensor], names: Collection[str], path: Path) -> dict[str, Tensor]:
    """Tensors below the prefix that most of the wanted names have in the file (`backbone.backbone.`, `encoder.`, …)."""
    counts: dict[str, int] = {}
    wanted = set(names)
    for name in tensors:
        parts = name.split(".")
        for cut in range(len(parts)):
            if ".".join(parts[cut:]) in wanted:
                prefix = ".".join([*parts[:cut], ""])
                counts[prefix] = counts.get(prefix, 0) + 1
    if not counts:
        raise WeightsError(
            f"{path} holds none of the encoder's tensors: {sorted(wanted)[0]} is wanted, "
            f"{next(iter(tensors), 'nothing')} is there; choose weights of the same model"
        )
    best = max(sorted(counts), key=lambda prefix: (counts[prefix], -len(prefix)))
    return {name.removeprefix(best): value for name, value in tensors.items() if name.startswith(best)}
