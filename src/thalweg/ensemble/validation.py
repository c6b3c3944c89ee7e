"""The validation pixels that combinations, calibrations and promises are fitted on: a bounded, reproducible sample.

Every labelled pixel of the part has the same chance, whichever block it lies in, decided by its scene's name and its
place alone; so the sample is spread over all blocks, the same in every run, and of bounded size at any scene's size.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from thalweg import calibrate
from thalweg.classes import IGNORE
from thalweg.errors import EnsembleError
from thalweg.maps import dequantise
from thalweg.scoring import HeldoutWindow

PIXELS = 200_000
"""Sampled at most, about."""
VALUES = 1 << 23
"""Probabilities of one sample at most, about: 32 MiB as float32."""


@dataclass(frozen=True)
class Sample:
    """N labelled validation pixels."""

    probs: np.ndarray
    """(M, K, N) float32: of each competitor."""
    measured: np.ndarray
    """(M, N) bool: which of them have the pixel."""
    truth: np.ndarray
    """(N,) class ids."""
    blocks: np.ndarray
    """(N,) block on the ground."""
    scenes: np.ndarray
    """(N,) number of the place: scenes of several dates of the same ground are one."""

    @property
    def groups(self) -> tuple[str, np.ndarray]:
        """What is left out together, `scene`, `block` or `none`, and its number (N,)."""
        return calibrate.group(self.blocks, self.scenes)

    def thinned(self, pixels: int) -> "Sample":
        """At most so many of them, every n-th."""
        step = -(-len(self.truth) // pixels)
        some = slice(None, None, max(step, 1))
        return Sample(self.probs[:, :, some], self.measured[:, some], self.truth[some], self.blocks[some],
                      self.scenes[some])  # fmt: skip


def collect(windows: Iterator[HeldoutWindow], names: Sequence[str], classes: int, labelled: int,
            places: Mapping[str, int]) -> Sample:  # fmt: skip
    """Samples the validation pixels of some windows.

    Args:
        windows: Those of other parts are left out.
        names: Competitors, in the order wanted.
        classes: K.
        labelled: About how many pixels there are.
        places: Scene → number of its place.

    Raises:
        EnsembleError: There is no validation pixel.
    """
    share = min(PIXELS, VALUES // (len(names) * classes)) / max(labelled, 1)
    found = [
        _of_window(window, names, classes, share, places[window.scene]) for window in windows if window.part == "val"
    ]
    if not sum(len(each.truth) for each in found):
        raise EnsembleError(
            "weights, selection, calibration and promised error rates of an ensemble are chosen on validation pixels, "
            "and the scenes have none; give 'val' a share in params.yaml's 'split', or take these choices out"
        )
    return Sample(*(np.concatenate(each, axis=-1) for each in zip(*(_parts(one) for one in found), strict=True)))


def _of_window(window: HeldoutWindow, names: Sequence[str], classes: int, share: float,
               place: int) -> Sample:  # fmt: skip
    random = np.random.default_rng((zlib.crc32(window.scene.encode()), window.window.row, window.window.col))
    here = (random.random(window.truth.shape) < share) & (window.truth != IGNORE)
    count = int(here.sum())
    probs = np.full((len(names), classes, count), 1 / classes, np.float32)
    measured = np.zeros((len(names), count), bool)
    for number, name in enumerate(names):
        if name in window.held:
            probs[number], measured[number] = dequantise(window.held[name][:, here]), True
    return Sample(probs, measured, window.truth[here], window.blocks[here], np.full(count, place))


def _parts(sample: Sample) -> tuple[np.ndarray, ...]:
    return sample.probs, sample.measured, sample.truth, sample.blocks, sample.scenes
