"""Scene classification as a probe: pictures to vectors, once per encoder, and classifiers on these."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from thalweg import metrics
from thalweg.classes import IGNORE
from thalweg.errors import FeatureError
from thalweg.features import Encoder, normalised
from thalweg.manifest.card import Normalisation
from thalweg.probe import task
from thalweg.probe.classifiers import fit_linear, knn
from thalweg.probe.draw import draw_fraction, draw_parts
from thalweg.probe.pictures import Pictures
from thalweg.probe.results import Row

KEYS = ("accuracy", "macro_f1")
_BATCH = 64
_COUNTED = 1000
"""Pictures of the training part that statistics are of, at most."""


@dataclass(frozen=True)
class Wish:
    """What shall be probed."""

    fractions: tuple[float, ...]
    """Of the training labels, 0…1."""
    seeds: tuple[int, ...]
    """Of parts, label fractions and fresh weights."""
    baselines: bool
    """Whether the same network with fresh weights, and pixels alone, are probed, too."""
    finetune_epochs: int
    """0 trains no encoder."""


def statistics(pictures: Pictures, seeds: Sequence[int]) -> Normalisation:
    """Mean and standard deviation per band over (at most 1000) pictures that learn whichever seed draws the parts.

    Raises:
        FeatureError: There is none.
    """
    learning = [draw_parts(pictures.labels, pictures.parts, seed) == "train" for seed in seeds]
    always = np.flatnonzero(np.all(learning, axis=0))
    if not len(always):
        raise FeatureError(
            f"no picture is in part train for all of {len(seeds)} seeds; lower --seeds, or give the parts as folders"
        )
    numbers = np.random.default_rng(0).permutation(always)[:_COUNTED]
    values = pictures.batch(numbers.tolist()).double().transpose(0, 1).flatten(1)  # (C, pixels)
    known = values.isfinite()
    count = known.sum(1).clamp(min=1)
    mean = values.nan_to_num(nan=0.0).sum(1) / count
    spread = torch.where(known, values - mean[:, None], 0.0).square().sum(1) / count
    return Normalisation(mean=tuple(mean.tolist()), std=tuple(spread.sqrt().tolist()))


class Inputs:
    """Pictures as an encoder's inputs: its bands in its order, by one normalisation."""

    def __init__(self, pictures: Pictures, bands: Sequence[str], normalisation: Normalisation, fill: bool) -> None:
        """Takes the bands that are wanted, and the normalisation of the *pictures'* bands.

        Raises:
            FeatureError: The pictures lack one, and `fill` is false.
        """
        lacking = [band for band in bands if band not in pictures.bands]
        if lacking and (not fill or len(lacking) == len(bands)):
            raise FeatureError(
                f"the encoder reads {', '.join(bands)}, but the pictures have {', '.join(pictures.bands)}: "
                f"{', '.join(lacking)} lack; name the pictures' bands by --bands, take an encoder of those bands, or "
                "show what lacks as not measured by --fill"
            )
        self._pictures = pictures
        self._order = [pictures.bands.index(band) if band in pictures.bands else None for band in bands]
        self._mean = torch.tensor(normalisation.mean, dtype=torch.float32)
        self._std = torch.tensor(normalisation.std, dtype=torch.float32)

    def batch(self, numbers: Sequence[int]) -> Tensor:
        """(B, C, size, size), 0 = not measured."""
        found = normalised(self._pictures.batch(numbers), self._mean, self._std)
        planes = [torch.zeros_like(found[:, 0]) if place is None else found[:, place] for place in self._order]
        return torch.stack(planes, 1)


def vectors(inputs: Inputs, of: Callable[[Tensor], Tensor], count: int,
            track: Callable[[Sequence[int]], Iterable[int]] = iter) -> np.ndarray:  # fmt: skip
    """(N, D) float32 features of all pictures."""
    found = [of(inputs.batch(range(start, min(start + _BATCH, count)))).cpu().numpy()
             for start in track(range(0, count, _BATCH))]  # fmt: skip
    return np.concatenate(found).astype(np.float32)


def pixel_features(inputs: Tensor) -> Tensor:
    """(B, 2C): mean and standard deviation per band, what no network is needed for."""
    return torch.cat([inputs.mean((2, 3)), inputs.std((2, 3))], 1)


def probe_pictures(encoder: Encoder, pictures: Pictures, inputs: Inputs, wish: Wish,
                   track: Callable[[Sequence[int]], Iterable[int]] = iter) -> list[Row]:  # fmt: skip
    """Rows of all classifiers on all features.

    Args:
        encoder: The one in question.
        pictures: Labelled.
        inputs: The same as the encoder reads them.
        wish: What shall be probed.
        track: Shows progress while it passes the numbers of batches on.
    """
    count = len(pictures.labels)
    known = [("encoder", [vectors(inputs, encoder.vectors, count, track)] * len(wish.seeds))]
    if wish.baselines and encoder.weights:
        known.append(
            ("random", [vectors(inputs, encoder.untrained(seed).vectors, count, track) for seed in wish.seeds])
        )
    if wish.baselines:
        known.append(("pixels", [vectors(inputs, pixel_features, count, track)] * len(wish.seeds)))
    rows = []
    for fraction in wish.fractions:
        for features, each in known:
            for probe in ("knn", "linear"):
                scores = tuple(_scored(pictures, found, fraction, probe, seed)
                               for found, seed in zip(each, wish.seeds, strict=True))  # fmt: skip
                rows.append(Row(features, probe, fraction, scores))
        if wish.finetune_epochs:
            makers: dict[str, Callable[[int], Encoder]] = {"encoder": lambda _: encoder}
            if wish.baselines and encoder.weights:
                makers["random"] = encoder.untrained
            for features, make in makers.items():
                scores = tuple(_finetuned(make(seed), pictures, inputs, fraction, seed, wish.finetune_epochs)
                               for seed in wish.seeds)  # fmt: skip
                rows.append(Row(features, "finetune", fraction, scores))
    return rows


def _drawn(pictures: Pictures, fraction: float, seed: int) -> dict[str, np.ndarray]:
    """Part → numbers of its pictures, of `train` a share."""
    parts = draw_parts(pictures.labels, pictures.parts, seed)
    numbers = {part: np.flatnonzero(parts == part) for part in ("train", "val", "test")}
    for part in ("train", "test"):
        if not len(numbers[part]):
            raise FeatureError(
                f"no labelled picture is in part {part}; a class needs ten, or give the parts as folders"
            )
    train = numbers["train"]
    return numbers | {"train": train[draw_fraction(pictures.labels[train], fraction, seed)]}


def _scored(pictures: Pictures, found: np.ndarray, fraction: float, probe: str, seed: int) -> dict[str, float]:
    drawn, labels = _drawn(pictures, fraction, seed), pictures.labels
    train, test = drawn["train"], drawn["test"]
    if probe == "knn":
        said = knn(found[train], labels[train], found[test])
    else:
        held = drawn["val"] if len(drawn["val"]) else train
        layer = fit_linear(found[train], labels[train], len(pictures.names),
                           lambda each: float((each.labels(found[held]) == labels[held]).mean()))  # fmt: skip
        said = layer.labels(found[test])
    return metrics.scores(metrics.confusion(labels[test], said, len(pictures.names)), pictures.names)


def _finetuned(encoder: Encoder, pictures: Pictures, inputs: Inputs, fraction: float, seed: int,
               epochs: int) -> dict[str, float]:  # fmt: skip
    drawn, labels = _drawn(pictures, fraction, seed), torch.from_numpy(pictures.labels)
    train, test = drawn["train"].tolist(), drawn["test"].tolist()
    unsaid = np.flatnonzero(pictures.labels == IGNORE).tolist()  # seen by batch norms, ignored by the loss
    learner = task.finetune(
        encoder, len(pictures.names), lambda numbers: (inputs.batch(numbers), labels[list(numbers)]),
        [*train, *unsaid], epochs, seed)  # fmt: skip
    said = task.predict(learner, inputs.batch, test)
    return metrics.scores(metrics.confusion(pictures.labels[test], said, len(pictures.names)), pictures.names)
