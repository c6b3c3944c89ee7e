"""ONNX files of `thalweg export`, run by onnxruntime through the same pipeline as torch's networks."""

import hashlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import ValidationError

from thalweg.errors import ExportError, ParamsError
from thalweg.infer.views import DIHEDRAL, scaled, turned, unscaled, unturned
from thalweg.manifest.card import ModelCard, upgraded_card
from thalweg.manifest.scene import NODATA

if TYPE_CHECKING:
    import onnxruntime

CARD_KEY = "thalweg_card"
"""Metadata key of the member's card, JSON."""
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxPredictor:
    """A member as an ONNX file: stored values in, calibrated probabilities out."""

    def __init__(self, session: "onnxruntime.InferenceSession", card: ModelCard, identity: str, device: str,
                 views: int, scales: Sequence[float]) -> None:  # fmt: skip
        """Takes a session of the file; views and scales as of `infer.Predictor`."""
        if views not in (1, len(DIHEDRAL)) or not scales or min(scales) <= 0:
            raise ParamsError(
                f"member '{card.member}' shall predict from {views} views at scales {tuple(scales)}; "
                "views are 1 or 8, scales one or more positive numbers"
            )
        self.card = card
        self.device = torch.device(device)
        self._session = session
        self._identity, self._views, self._scales = identity, views, tuple(scales)
        [entry] = session.get_inputs()
        self._input, self._shape = entry.name, entry.shape

    @classmethod
    def load(
        cls, path: Path, device: str = "auto", views: int = 1, scales: Sequence[float] = (1.0,)
    ) -> "OnnxPredictor":
        """The member in an ONNX file.

        Raises:
            ExportError: onnxruntime is not installed, or cannot run the file, or not on that device.
        """
        card, chosen = read_onnx_card(path), to_provider(path, device)
        session = open_session(path, [_PROVIDERS[chosen]])
        with path.open("rb") as stream:
            return cls(session, card, hashlib.file_digest(stream, "sha256").hexdigest(), chosen, views, scales)

    def predict(self, batch: np.ndarray) -> np.ndarray:
        """(B, h, w, C) stored values → (B, K, h, w) float32 probabilities, the mean over views and scales."""
        windows = torch.from_numpy(np.ascontiguousarray(batch))
        seen = [self._seen(windows, scale, view)
                for scale, view in itertools.product(self._scales, DIHEDRAL[: self._views])]  # fmt: skip
        return np.asarray((sum(seen[1:], seen[0]) / len(seen)).numpy())

    def identity(self) -> str:
        """Hash of the file, and how it is used."""
        return hashlib.sha256(repr((self._identity, self._views, self._scales, self.device.type)).encode()).hexdigest()

    def _seen(self, windows: torch.Tensor, scale: float, view: tuple[int, bool]) -> torch.Tensor:
        pixels = windows if scale == 1 else scaled(windows, scale, NODATA)
        probs = unturned(self._probs(turned(pixels, view, (1, 2))), view, (2, 3))
        return probs if scale == 1 else unscaled(probs, (windows.shape[1], windows.shape[2]))

    def _probs(self, pixels: torch.Tensor) -> torch.Tensor:
        given = self._padded(np.ascontiguousarray(pixels.numpy()))
        many = given.shape[0] if isinstance(self._shape[0], str) else int(self._shape[0])
        parts = [self._run(given[start : start + many], many) for start in range(0, len(given), many)]
        return torch.from_numpy(np.concatenate(parts)[:, :, : pixels.shape[1], : pixels.shape[2]])

    def _run(self, pixels: np.ndarray, many: int) -> np.ndarray:
        """One call; where the graph's batch is fixed, a shorter one is filled up."""
        short = many - len(pixels)
        whole = np.concatenate([pixels, np.repeat(pixels[-1:], short, 0)]) if short else pixels
        probs: np.ndarray = self._session.run(None, {self._input: whole.astype(np.float32, copy=False)})[0]
        return probs[: len(pixels)]

    def _padded(self, pixels: np.ndarray) -> np.ndarray:
        """Windows filled up by nodata to a graph's fixed height and width.

        Raises:
            ExportError: They are larger than these.
        """
        edges = [
            size if isinstance(fixed, str) else int(fixed)
            for size, fixed in zip(pixels.shape[1:3], self._shape[1:3], strict=True)
        ]
        if any(size > edge for size, edge in zip(pixels.shape[1:3], edges, strict=True)):
            raise ExportError(
                f"the ONNX file of member '{self.card.member}' takes windows of {edges[0]} × {edges[1]} pixels, got "
                f"{pixels.shape[1]} × {pixels.shape[2]}; use the model directory"
            )
        down, right = edges[0] - pixels.shape[1], edges[1] - pixels.shape[2]
        return np.pad(pixels, ((0, 0), (0, down), (0, right), (0, 0)), constant_values=NODATA)


def to_provider(path: Path, device: str) -> str:
    """The kind of device that onnxruntime shall compute on: `cpu` or `cuda`.

    Raises:
        ExportError: onnxruntime is not installed, or not for that device.
    """
    there = import_runtime().get_available_providers()
    chosen = ("cuda" if _PROVIDERS["cuda"] in there else "cpu") if device == "auto" else device.partition(":")[0]
    if _PROVIDERS.get(chosen) not in there:
        raise ExportError(
            f"{path} shall run on {device}, but this onnxruntime has {', '.join(there)}; give --device cpu, or "
            "install onnxruntime-gpu"
        )
    return chosen


def import_runtime() -> Any:
    """The package onnxruntime.

    Raises:
        ExportError: It is not installed.
    """
    try:
        import onnxruntime  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ExportError(
            "ONNX files are run by onnxruntime, which is not installed; `pip install thalweg[onnx]`"
        ) from error
    return onnxruntime


def open_session(path: Path, providers: Sequence[str]) -> "onnxruntime.InferenceSession":
    """A file as onnxruntime opens it.

    Raises:
        ExportError: It is missing, damaged, or no ONNX file.
    """
    runtime = import_runtime()
    if not path.is_file():
        raise ExportError(f"{path} is missing; make it by `thalweg export`")
    faults = runtime.capi.onnxruntime_pybind11_state
    try:
        return runtime.InferenceSession(str(path), providers=list(providers))
    except (faults.InvalidProtobuf, faults.InvalidGraph, faults.Fail, faults.InvalidArgument, faults.NoSuchFile,
            faults.NotImplemented) as error:  # fmt: skip
        said = " ".join(str(error).split())[:200]
        raise ExportError(f"{path} cannot be run by onnxruntime ({said}); make it again by `thalweg export`") from error


def read_onnx_card(path: Path) -> ModelCard:
    """The member's card in the metadata of an ONNX file.

    Raises:
        ExportError: The file cannot be read, or holds no card.
    """
    metadata = open_session(path, [_PROVIDERS["cpu"]]).get_modelmeta().custom_metadata_map
    if CARD_KEY not in metadata:
        raise ExportError(f"{path} holds no card of a member; make it by `thalweg export`, or give the model directory")
    try:
        return ModelCard.model_validate_json(json.dumps(upgraded_card(json.loads(metadata[CARD_KEY]), path)))
    except (json.JSONDecodeError, ValidationError) as error:
        raise ExportError(
            f"the card in {path} is of another Thalweg ({' '.join(str(error).split())[:200]}); make the file again by "
            "`thalweg export`"
        ) from error
