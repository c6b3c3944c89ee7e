"""Probabilities that mean what they say: temperature and vector scaling, conformal sets, a cut-off for abstaining.

All is fitted on validation pixels and never on test pixels; what is fitted is kept only if it also serves ground that
it was not fitted on. Neighbouring pixels err alike, so "other ground" means another scene where there are several, and
else another block.

Logits are (N, K) float, pixels by classes; probabilities are turned into logits by `to_logits`. Truth is (N,) ids,
`IGNORE` left out. Groups are any labels, (N,).
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, logsumexp

from thalweg import metrics
from thalweg.classes import IGNORE
from thalweg.errors import EnsembleError
from thalweg.manifest.calibration import Calibration, Kind, Quality

FOLDS = 5
"""At most: groups beyond are dealt out over the folds in turn."""
LEAST_GAIN = 1e-4
"""Fall of the cross-validated NLL, nats, that is worth a change."""
SHARPER = (
    "identity: the fit would make probabilities surer, but all validation ground is of one place, and elsewhere "
    "networks err more, not less"
)
"""Why a fit is not kept that other blocks of the same place would gain by."""
_LOG_T = 3.0
"""Temperatures are sought from exp(−3) to exp(3)."""
_FLOOR = 1e-6
_PULL = 1e-6
"""Of vector scaling towards the identity: with two classes, many scales and shifts give the same probabilities."""


def to_logits(probs: np.ndarray) -> np.ndarray:
    """Logits float32 of probabilities, up to a constant per pixel, which softmax does not see."""
    return np.asarray(np.log(np.clip(probs, _FLOOR, 1), dtype=np.float32))


def quality(logits: np.ndarray, truth: np.ndarray) -> Quality:
    """NLL, Brier score and calibration error.

    Source: Brier 1950, Verification of Forecasts Expressed in Terms of Probability, eq. 2; Guo et al. 2017, On
    Calibration of Modern Neural Networks, eq. 3 and 5.

    Raises:
        EnsembleError: There is no pixel.
    """
    logits, truth = _known(logits, truth)
    log_probs = log_softmax(logits, axis=1)
    probs = np.exp(log_probs)
    at = np.arange(len(truth)), truth
    brier = (probs**2).sum(1) - 2 * probs[at] + 1
    error = metrics.ece(metrics.calibration(truth, probs.T))
    return Quality(nll=float(-log_probs[at].mean()), brier=float(brier.mean()), ece=error)


def fit(logits: np.ndarray, truth: np.ndarray, blocks: np.ndarray, scenes: np.ndarray,
        kind: Kind = "temperature", names: Sequence[str] = ()) -> Calibration:  # fmt: skip
    """Temperature or vector scaling, the identity where other ground does not gain by it.

    Every group is left out once (at most `FOLDS` folds), the rest fitted, and the NLL measured on what was left out:
    if its mean over the folds does not fall by `LEAST_GAIN`, the identity is kept. So it is where all blocks are of one
    place and the fit makes probabilities surer: elsewhere, networks tend to err more than where they were fitted, and
    there is no evidence to the contrary. Nor is vector scaling kept where a class has no pixel: it would find that the
    class is nowhere.

    Source: Guo et al. 2017, section 4.2; Ovadia et al. 2019, Can You Trust Your Model's Uncertainty?, arXiv:1906.02530,
    section 4 (what is calibrated at home is too sure elsewhere).

    Args:
        logits: (N, K).
        truth: (N,) class ids; `IGNORE` is left out.
        blocks: (N,) block of each pixel.
        scenes: (N,) scene of each pixel: kept apart where there are two or more.
        kind: One number for all classes, which leaves the order of the classes as it is, or a scale and a shift each.
        names: Of the classes, for what is said of them.

    Raises:
        EnsembleError: No pixel is labelled.
    """
    known = truth != IGNORE
    logits, truth = _known(logits, truth)
    grouped_by, numbers = group(blocks[known], scenes[known])
    groups = int(numbers.max()) + 1
    fitted = _FITS[kind](logits, truth)
    elsewhere = _elsewhere(logits, truth, numbers, kind) if groups > 1 else (0.0, 0.0)
    gains = _gains(groups, elsewhere)
    sharper = grouped_by == "block" and float(np.mean(fitted[0])) > 1
    classes = logits.shape[1]
    lacking = unseen(truth, classes, names) if kind == "vector" else ""
    kept = gains and not sharper and not lacking
    scale, shift = fitted if kept else (np.ones(classes), np.zeros(classes))
    reason = SHARPER if gains and sharper else _reason(kept, grouped_by, groups, elsewhere)
    if lacking:
        reason = f"identity: {lacking}, which vector scaling would take off the map; take temperature"
    return Calibration(
        kind=kind, scale=_listed(scale), shift=_listed(shift), kept=kept,
        reason=reason, grouped_by=grouped_by, groups=groups,
        fitted=_listed(fitted[0]), nll_elsewhere_before=elsewhere[0], nll_elsewhere_after=elsewhere[1],
        before=quality(logits, truth), after=quality(logits * scale + shift, truth),
    )  # fmt: skip


def unseen(truth: np.ndarray, classes: int, names: Sequence[str] = ()) -> str:
    """What is said of classes without a pixel in `truth`, of which a fit of class after class would be wrong."""
    lacking = sorted(set(range(classes)) - set(np.unique(truth).tolist()))
    said = ", ".join(names[number] if names else f"number {number}" for number in lacking)
    return f"no validation pixel is of class {said}" if lacking else ""


def fit_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """The temperature of the least NLL; the NLL is convex in 1 / temperature, so that there is one."""

    def nll(log_t: float) -> float:
        return _nll(logits * np.exp(-log_t), truth)

    return float(np.exp(minimize_scalar(nll, bounds=(-_LOG_T, _LOG_T), method="bounded").x))


def _fit_temperature(logits: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    classes = logits.shape[1]
    return np.full(classes, 1 / fit_temperature(logits, truth)), np.zeros(classes)


def _fit_vector(logits: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    count, classes = logits.shape
    hot = np.eye(classes)[truth]
    start, _ = _fit_temperature(logits, truth)
    identity = np.concatenate([np.ones(classes), np.zeros(classes)])

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        log_probs = log_softmax(logits * theta[:classes] + theta[classes:], axis=1)
        off = np.exp(log_probs) - hot
        slope = np.concatenate([(off * logits).sum(0), off.sum(0)]) / count
        pull = theta - identity
        value = -log_probs[np.arange(count), truth].mean() + _PULL * (pull**2).sum()
        return float(value), slope + 2 * _PULL * pull

    found = minimize(loss, np.concatenate([start, np.zeros(classes)]), jac=True, method="L-BFGS-B").x
    return found[:classes], found[classes:]


_FITS: dict[Kind, Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
    "temperature": _fit_temperature,
    "vector": _fit_vector,
}


def _elsewhere(logits: np.ndarray, truth: np.ndarray, numbers: np.ndarray, kind: Kind) -> tuple[float, float]:
    """Mean NLL on left-out groups, before and after."""

    def fitted(inside: np.ndarray, out: np.ndarray) -> float:
        scale, shift = _FITS[kind](logits[inside], truth[inside])
        return _nll(logits[out] * scale + shift, truth[out])

    return left_out(numbers, lambda out: _nll(logits[out], truth[out]), fitted)


def left_out(numbers: np.ndarray, before: Callable[[np.ndarray], float],
             after: Callable[[np.ndarray, np.ndarray], float]) -> tuple[float, float]:  # fmt: skip
    """Means over groups that are left out in turn, in at most `FOLDS` folds, of two measures on what was left out.

    Args:
        numbers: (N,) group of each pixel, from 0.
        before: (N,) bool, the pixels to measure on, to the measure of what nobody fitted.
        after: The pixels to fit on, and those to measure on, to the measure of what was fitted.
    """
    outs = [numbers % FOLDS == fold for fold in np.unique(numbers % FOLDS)]
    return float(np.mean([before(out) for out in outs])), float(np.mean([after(~out, out) for out in outs]))


def group(blocks: np.ndarray, scenes: np.ndarray) -> tuple[Literal["scene", "block", "none"], np.ndarray]:
    """What folds keep apart, and its number (N,) from 0: scenes where there are several, else blocks."""
    for name, labels in (("scene", scenes), ("block", blocks)):
        _, numbers = np.unique(labels, return_inverse=True)
        if numbers.max() > 0:
            return ("scene" if name == "scene" else "block"), numbers
    return "none", np.zeros(len(blocks), int)


def confirmed(value: str, grouped_by: str, groups: int, elsewhere: tuple[float, float]) -> tuple[bool, str]:
    """Whether other ground gains by what was fitted, and a sentence about it that says `value` where it is kept.

    Args:
        value: What was fitted.
        grouped_by: As `group` says.
        groups: How many.
        elsewhere: Mean NLL on left-out groups, before and after.
    """
    kept = _gains(groups, elsewhere)
    said = _reason(kept, grouped_by, groups, elsewhere)
    return kept, said.replace("fitted:", f"{value}:", 1) if kept else said


def _gains(groups: int, elsewhere: tuple[float, float]) -> bool:
    return groups > 1 and elsewhere[0] - elsewhere[1] > LEAST_GAIN


def _reason(kept: bool, grouped_by: str, groups: int, elsewhere: tuple[float, float]) -> str:
    if groups < 2:
        return "identity: all validation pixels lie in one block, so that no other ground can confirm a fit"
    said = f"NLL on left-out {grouped_by}s {elsewhere[0]:.4f} → {elsewhere[1]:.4f} over {groups} {grouped_by}s"
    caveat = "" if grouped_by == "scene" else "; all of one scene, so that other scenes may differ"
    return f"{'fitted' if kept else 'identity, other ground does not gain'}: {said}{caveat}"


def _nll(logits: np.ndarray, truth: np.ndarray) -> float:
    return float((logsumexp(logits, axis=1) - logits[np.arange(len(truth)), truth]).mean())


def _known(logits: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    known = truth != IGNORE
    if not known.any():
        raise EnsembleError(
            "calibration needs labelled validation pixels, and there is none; "
            "give 'val' a share in params.yaml's 'split', or take the calibration out"
        )
    return logits[known].astype(np.float64), truth[known].astype(np.int64)


def _listed(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
