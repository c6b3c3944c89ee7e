"""How far probabilities are to be believed, and what makes them believable: part of members' and ensembles' cards."""

from typing import Literal

import numpy as np

from thalweg.manifest import Record

Kind = Literal["temperature", "vector"]


class Quality(Record):
    """How far probabilities are to be believed, on some pixels."""

    nll: float
    """Mean negative log likelihood of the true class, nats."""
    brier: float
    """Mean squared distance to the true class, summed over classes: 0…2."""
    ece: float
    """Expected calibration error, 0…1."""


class Calibration(Record):
    """What was fitted, whether it is used, and why: probs = softmax(scale × logits + shift)."""

    kind: Kind
    scale: tuple[float, ...]
    """Per class; 1 / temperature for temperature scaling. All 1 where the identity is kept."""
    shift: tuple[float, ...]
    """Per class; all 0 for temperature scaling."""
    kept: bool
    """False: the identity, since the fit did not serve other ground."""
    reason: str
    """One sentence."""
    grouped_by: Literal["scene", "block", "none"]
    """What the folds kept apart."""
    groups: int
    """Number of those."""
    fitted: tuple[float, ...]
    """The scale that was fitted on all pixels, kept or not."""
    nll_elsewhere_before: float
    """Mean over the folds of the NLL on what they held out, as it was; 0 without folds."""
    nll_elsewhere_after: float
    """The same with what was fitted on the others."""
    before: Quality
    """Of all pixels, as they were."""
    after: Quality
    """Of all pixels, as they are used from now on."""

    @property
    def temperature(self) -> float:
        """By which logits are divided, for temperature scaling."""
        return 1 / self.scale[0]

    def apply(self, logits: np.ndarray) -> np.ndarray:
        """Calibrated probabilities (K, …) float32 of logits (K, …)."""
        shape = (-1, *(1,) * (logits.ndim - 1))
        scale, shift = (np.asarray(each, np.float32).reshape(shape) for each in (self.scale, self.shift))
        return softmax(logits.astype(np.float32) * scale + shift)


def softmax(logits: np.ndarray, axis: int = 0) -> np.ndarray:
    """Probabilities float32 of logits, stable."""
    shifted = logits - logits.max(axis, keepdims=True)
    powers = np.exp(shifted, dtype=np.float32)
    return np.asarray(powers / powers.sum(axis, keepdims=True))
