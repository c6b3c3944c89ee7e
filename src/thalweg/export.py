"""A trained member as an ONNX file or a program of torch.export, checked against the network itself.

What is exported takes stored values (B, H, W, C), as float32, and gives calibrated probabilities (B, K, H, W): scaling,
normalisation, nodata and calibration are inside. Sizes are free where the architecture lets them be, which is tried,
not believed.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from thalweg import contract, models
from thalweg.errors import ExportError
from thalweg.grid import cut, iter_windows
from thalweg.infer.predictor import to_affine
from thalweg.manifest.card import CARD, ModelCard, read_card
from thalweg.manifest.scene import NODATA, SCENE, Scene, read_scenes, scene_files
from thalweg.onnx_runner import CARD_KEY, OnnxPredictor

TOLERANCE = 1e-4
"""Largest difference of a probability, in 32 bits."""
_FREEDOMS = (("batch", "height", "width"), ("batch",), ("height", "width"), ())
_STEP_PX, _MOST_PX, _CHIPS = 32, 256, 4
_AXES = {"batch": 0, "height": 1, "width": 2}
_FAULTS = (RuntimeError, ValueError, AssertionError, TypeError, NotImplementedError)
"""What torch raises where it cannot trace, guards against a size, or cannot translate."""


class Deployed(nn.Module):
    """What leaves the house: stored values to calibrated probabilities."""

    def __init__(self, network: nn.Module, card: ModelCard) -> None:
        super().__init__()
        self.network = network
        scale, shift = to_affine(card, torch.device("cpu"))
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    scale: Tensor
    shift: Tensor

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, H, W, C) stored values as float32 → (B, K, H, W) float32 that sums to 1 over K."""
        logits = self.network(pixels)
        return torch.softmax(logits * self.scale + self.shift, 1)


@dataclass(frozen=True)
class Traced:
    """A program, and what of its input's size is free."""

    program: ExportedProgram
    free: tuple[str, ...]

    @property
    def words(self) -> str:
        """For the terminal."""
        shape = self.program.example_inputs[0][0].shape if self.program.example_inputs else ()
        fixed = [f"{name} fixed to {shape[axis]}" for name, axis in _AXES.items() if name not in self.free]
        return ", ".join([*(f"{name} free" for name in self.free), *fixed])


def load(folder: Path) -> tuple[Deployed, ModelCard]:
    """A model directory as what is exported."""
    card = read_card(folder)
    network = models.network(card)
    models.load_weights(network, folder)
    return Deployed(network, card).eval(), card


def read_chips(card: ModelCard, folder: Path, needed: bool) -> tuple[np.ndarray, str]:
    """Windows of real scenes to check with, (N, h, w, C) stored values as float32, and words for where they are from.

    Args:
        card: Of the member.
        folder: Of scenes, or a scene.
        needed: Whether there must be scenes; otherwise made-up values stand in where there are none.

    Raises:
        ExportError: There must be scenes, but there are none.
        ContractError: They are not what the member reads.
    """
    size = min(max(card.window_px // _STEP_PX * _STEP_PX, 2 * _STEP_PX), _MOST_PX)
    scenes = [Scene(folder)] if (folder / SCENE).is_file() else (
        list(read_scenes(folder).values()) if scene_files(folder) else [])  # fmt: skip
    if needed and not scenes:
        raise ExportError(f"{folder} holds no scene; give a scene folder or a folder of such by --chips")
    for scene in scenes:
        contract.check(card, scene)
    found = [_best(scene, size) for scene in scenes[:_CHIPS]]
    if not found:
        return _made_up(card, size), "made-up pixels (no scenes at hand; give some by --chips)"
    found += [np.ascontiguousarray(chip[::-1]) for chip in found][: max(2 - len(found), 0)]
    return np.stack(found).astype(np.float32), f"{len(found)} windows of {size} pixels of {folder}"


def _best(scene: Scene, size: int) -> np.ndarray:
    """The window with the most valid pixels among those side by side."""
    windows = list(iter_windows(scene.grid.shape_yx, size, size))
    counts = [int(np.count_nonzero(scene.valid[window.rows, window.cols])) for window in windows]
    return cut(scene.image, windows[int(np.argmax(counts))], NODATA)


def _made_up(card: ModelCard, size: int) -> np.ndarray:
    """Values spread as the training pixels were."""
    random = np.random.default_rng(0)
    scale, offset = (np.array([getattr(channel, key) for channel in card.channels]) for key in ("scale", "offset"))
    mean, std = np.array(card.normalisation.mean), np.array(card.normalisation.std)
    values = random.normal(mean, std, (2, size, size, len(card.channels)))
    return np.asarray(np.rint(np.clip((values - offset) / scale, -32767, 32767)), np.float32)


def trace(deployed: Deployed, card: ModelCard, chips: np.ndarray) -> Traced:
    """The network as a program, with as much freedom of size as it bears.

    Args:
        deployed: From `load`.
        card: Its card.
        chips: (N ≥ 2, h, w, C) float32 stored values, h and w multiples of 32.

    Raises:
        ExportError: torch.export cannot trace it at all.
    """
    said = ""
    for free in _FREEDOMS:
        example = torch.from_numpy(chips[: 2 if "batch" in free else 1])
        shapes = ({axis: Dim.AUTO for name, axis in _AXES.items() if name in free} or None,)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of torch about itself
                program = torch.export.export(deployed, (example,), dynamic_shapes=shapes, strict=False)
            if all(_close(deployed, program, other) for other in _others(chips, free)):
                return Traced(program, free)
        except _FAULTS as error:
            said = " ".join(str(error).split())[:300]
    raise ExportError(
        f"member '{card.member}' ({card.architecture}) cannot be exported: torch.export says '{said}'; use the model "
        "directory or a bundle instead"
    )


def write_torch(deployed: Deployed, traced: Traced, card: ModelCard, chips: np.ndarray, target: Path) -> float:
    """Writes a program (.pt2) with the card inside, and reads it back to check it.

    Returns:
        Largest difference of a probability from the network's, over all chips.

    Raises:
        ExportError: It differs from the network by more than the tolerance.
    """
    partial = target.with_name(f".{target.name}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about itself
        torch.export.save(traced.program, partial, extra_files={CARD: card.model_dump_json()})
        saved = torch.export.load(partial).module()
    with torch.inference_mode():
        parts = [torch.from_numpy(chip[None]) for chip in chips]
        found = saved(torch.cat(parts)) if "batch" in traced.free else torch.cat([saved(part) for part in parts])
        wanted = torch.cat([deployed(part) for part in parts])
    return _handed_over(float((found - wanted).abs().max()), card, partial, target)


def write_onnx(deployed: Deployed, traced: Traced, card: ModelCard, chips: np.ndarray, target: Path) -> float:
    """Writes an ONNX file with the card in its metadata, and runs it by onnxruntime to check it.

    Returns:
        Largest difference of a probability from the network's, over all chips.

    Raises:
        ExportError: onnx is not installed, or lacks a step of the architecture; or what it says differs from the
            network by more than the tolerance.
    """
    check_installed()
    partial = target.with_name(f".{target.name}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = torch.onnx.export(traced.program, (), input_names=["pixels"], output_names=["probs"], dynamo=True,
                                     verbose=False)  # fmt: skip
        if made is None:
            raise ExportError(f"torch made no ONNX program of member '{card.member}'; please report it")
        made.model.metadata_props[CARD_KEY] = card.model_dump_json()
        made.save(partial)
    except _FAULTS as error:
        if isinstance(error, ExportError):
            raise
        said = " ".join(str(error.__cause__ or error).split())[:300]
        raise ExportError(
            f"member '{card.member}' ({card.architecture}) cannot be written as ONNX, which lacks a step of it: "
            f"'{said}'; use --torch-export, the model directory or a bundle instead"
        ) from error
    runner = OnnxPredictor.load(partial, "cpu")
    batch = torch.from_numpy(chips)
    with torch.inference_mode():
        wanted = torch.cat([deployed(one[None]) for one in batch]).numpy()
    return _handed_over(float(np.abs(runner.predict(chips) - wanted).max()), card, partial, target)


def check_installed() -> None:
    """Whether ONNX files can be written.

    Raises:
        ExportError: The packages are not installed.
    """
    try:
        import onnx  # noqa: F401, PLC0415 - an extra
        import onnxruntime  # noqa: F401, PLC0415
        import onnxscript  # noqa: F401, PLC0415
    except ImportError as error:
        raise ExportError(
            f"{error.name} is not installed, which ONNX files need; `pip install thalweg[onnx]`"
        ) from error


def _others(chips: np.ndarray, free: Sequence[str]) -> list[np.ndarray]:
    """Inputs of other sizes than the traced one, where they are to be free."""
    first = chips if "batch" in free else chips[:1]
    found = [first]
    if "batch" in free:
        found.append(chips[:1])
    if "height" in free:
        found += [first[:, :32], first[:, :, :32], np.concatenate([first, first[:, ::-1]], 1)]
    return [np.ascontiguousarray(each) for each in found]


def _close(deployed: Deployed, program: ExportedProgram, pixels: np.ndarray) -> bool:
    given = torch.from_numpy(pixels)
    with torch.inference_mode():
        return bool((program.module()(given) - deployed(given)).abs().max() <= TOLERANCE)


def _handed_over(difference: float, card: ModelCard, partial: Path, target: Path) -> float:
    if not difference <= TOLERANCE:
        partial.unlink()
        raise ExportError(
            f"what was exported of member '{card.member}' differs from its network by {difference:.2g} in a "
            f"probability, more than {TOLERANCE:g}; it was not kept, use the model directory"
        )
    partial.replace(target)
    return difference
