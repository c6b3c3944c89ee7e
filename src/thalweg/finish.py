"""What follows a member's last epoch: its probabilities are calibrated on validation ground, and it is examined.

Logits are blended as the map's engine blends probabilities, so that what is fitted is what a map would hold. Truth is
read of the part `val` alone, so that the test part can change nothing of a calibration.
"""

import gc
import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd
import torch

from thalweg import calibrate, infer
from thalweg.classes import IGNORE
from thalweg.dataset.chips import ChipReader
from thalweg.dataset.sampler import lattice
from thalweg.errors import TrainingError
from thalweg.examine import Panels, examine, held_out, summary
from thalweg.manifest.calibration import Calibration
from thalweg.manifest.card import ModelCard
from thalweg.manifest.chips import Stats
from thalweg.manifest.heldout import Heldout
from thalweg.models import Network
from thalweg.params.models import Calibrate
from thalweg.places import find_places
from thalweg.trainer import is_out_of_memory

PIXELS = 500_000
"""That a calibration is fitted on, at most, the same share of every window. Neighbours err alike, so that more would
tell little."""
_SEED = 0xCA11
_Found = TypeVar("_Found")


class Ground(NamedTuple):
    """What a member is judged on."""

    reader: ChipReader
    chips: pd.DataFrame
    stats: Stats


class Finished(NamedTuple):
    """What the outs are written from."""

    card: ModelCard
    """With the calibration."""
    heldout: Heldout
    """Of the probabilities as the card calibrates them."""
    panels: Panels
    scores: dict[str, dict[str, float]]
    """`examine.summary`, and per part `ece_uncalibrated` where a calibration was asked for."""


class Pixels(NamedTuple):
    """Labelled validation pixels of all scenes."""

    logits: np.ndarray
    """(N, K) float32."""
    truth: np.ndarray
    """(N,) uint8."""
    blocks: np.ndarray
    """(N,) number of the block of ground."""
    scenes: np.ndarray
    """(N,) number of the scene's place: several dates of one place are no other ground."""


def finish(network: Network, card: ModelCard, kind: Calibrate, ground: Ground, device: str,
           batch_size: int) -> Finished:  # fmt: skip
    """Calibrates a trained member on its validation part, and examines it on what was held out.

    Args:
        network: With the weights that are kept.
        card: Its card, not yet calibrated.
        kind: What params ask for.
        ground: Scenes, chip table and statistics of its grid.
        device: torch's name.
        batch_size: Windows per step; fewer where memory does not suffice.

    Raises:
        ContractError: A scene is not what the member was trained to read.
        TrainingError: Not even one window fits the device's memory.
    """

    def examined(as_said: ModelCard) -> tuple[Heldout, Panels]:
        def attempt(size: int) -> tuple[Heldout, Panels]:
            panels = Panels(*ground)
            predictor = infer.Predictor(network, as_said, device)
            return examine(card.member, predictor, ground.reader, ground.chips, panels, size), panels

        return _as_memory_allows(attempt, card, batch_size)

    heldout, panels = examined(card)
    scores = summary(heldout)
    if kind == "none":
        return Finished(card, heldout, panels, scores)
    raw = {part: values["ece"] for part, values in scores.items() if "ece" in values}
    found = calibrate.fit(*validation_pixels(network, card, ground, device, batch_size), kind,
                          names=[info.name for info in card.classes])  # fmt: skip
    card = calibrated(card, found)
    if found.kept:
        heldout, panels = examined(card)
        scores = summary(heldout)
    for part, ece in raw.items():
        scores[part]["ece_uncalibrated"] = ece
    return Finished(card, heldout, panels, scores)


def calibrated(card: ModelCard, found: Calibration) -> ModelCard:
    """A card with its calibration; the temperature is told apart where there is one."""
    single = found.kept and found.kind == "temperature"
    return card.model_copy(update={"calibration": found, "temperature": found.temperature if single else 1.0})


def validation_pixels(network: Network, card: ModelCard, ground: Ground, device: str, batch_size: int) -> Pixels:
    """Logits and truth of at most some `PIXELS` pixels of the validation part, a seeded choice from every window."""
    network.to(device).eval()

    @torch.inference_mode()
    def predict(batch: np.ndarray) -> np.ndarray:
        logits = network(torch.from_numpy(np.ascontiguousarray(batch)).to(device)).float()
        return np.asarray(logits.cpu().numpy())

    rows = ground.chips[(ground.chips["part"] == "val") & (ground.chips["labelled_px"] > 0)].reset_index(drop=True)
    rows = rows.assign(number=pd.factorize(rows["block"], sort=True)[0])
    share = min(PIXELS / max(rows["labelled_px"].sum(), 1), 1.0)
    places = find_places([ground.reader.scenes[str(scene)] for scene in sorted(rows["scene"].unique())])
    found = []
    for scene, within in rows.groupby("scene"):
        at, truth, blocks = _chosen(ground.reader, within, share)
        said = partial(_logits, predict, ground.reader, str(scene), card, at)
        logits = _as_memory_allows(said, card, batch_size)
        found.append((logits, truth, blocks, np.full(len(truth), places[str(scene)])))
    return Pixels(*(np.concatenate(column) for column in zip(*found, strict=True)))


def _chosen(reader: ChipReader, rows: pd.DataFrame, share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Place (2, N) in the scene, truth and block of a share of the labelled pixels of every row."""
    places, truths, blocks = [], [], []
    for index, block, place in zip(rows.index, rows["number"], lattice(rows), strict=True):
        truth = reader.target(place.scene, place.window, "val")
        known = np.argwhere(truth != IGNORE)
        count = math.ceil(share * len(known))
        taken = known[np.sort(np.random.default_rng([_SEED, index]).choice(len(known), count, replace=False))]
        places.append(taken.T + np.array([[place.window.row], [place.window.col]]))
        truths.append(truth[taken[:, 0], taken[:, 1]])
        blocks.append(np.full(count, block))
    return np.concatenate(places, 1), np.concatenate(truths), np.concatenate(blocks)


def _logits(predict: Callable[[np.ndarray], np.ndarray], reader: ChipReader, scene: str, card: ModelCard,
            at: np.ndarray, batch_size: int) -> np.ndarray:  # fmt: skip
    """(N, K) logits of a scene at places (2, N)."""
    said = np.empty((at.shape[1], len(card.classes)), np.float32)
    read = partial(held_out, reader, scene, ("val",))
    shape = reader.parts(scene).shape
    runs = infer.iter_rows(predict, read, (shape[0], shape[1]), said.shape[1], card.window_px, card.overlap, batch_size)
    for top, logits in runs:
        inside = (at[0] >= top) & (at[0] < top + logits.shape[1])
        said[inside] = logits[:, at[0, inside] - top, at[1, inside]].T
    return said


def _as_memory_allows(act: Callable[[int], _Found], card: ModelCard, batch_size: int) -> _Found:
    """An act on so many windows at a time, or on half as many where the device's memory does not hold them."""
    try:
        return act(batch_size)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        if batch_size == 1:
            raise TrainingError(
                f"models.{card.member}: the device's memory does not hold one window of {card.window_px} px of "
                "held-out ground; lower window_px"
            ) from error
    gc.collect()
    torch.cuda.empty_cache()
    return _as_memory_allows(act, card, batch_size // 2)
