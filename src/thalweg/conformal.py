"""When to say "this or that", and when to say nothing: conformal sets and a cut-off, for a stated error rate.

Both promise their rate for pixels drawn like those they were chosen on. Pixels of one block are not drawn one by one:
what counts is the number of blocks, so that every result tells what it would have reached on each group (scene or
block) had it been chosen on the others, and its worst. With few groups, that worst is the number to believe.

Probabilities are (N, K), truth (N,) class ids with `IGNORE` left out, groups (N,) any labels.
"""

import math

import numpy as np

from thalweg.classes import IGNORE
from thalweg.errors import EnsembleError
from thalweg.manifest.promises import AbstainRule, SetRule

NOTHING = 2.0
"""A cut-off that no probability reaches."""


def choose_sets(probs: np.ndarray, truth: np.ndarray, groups: np.ndarray, rate: float) -> SetRule:
    """Split-conformal sets by the least-ambiguous rule: they hold the true class for at least 1 − rate of pixels.

    Source: Sadinle, Lei, Wasserman 2019, Least Ambiguous Set-Valued Classifiers with Bounded Error Levels,
    https://doi.org/10.1080/01621459.2017.1395341; Angelopoulos and Bates 2021, https://arxiv.org/abs/2107.07511,
    section 1 (the quantile of n + 1).

    Args:
        probs: (N, K).
        truth: (N,).
        groups: (N,).
        rate: Wanted share of pixels whose set lacks the true class, 0…1.

    Raises:
        EnsembleError: No pixel is labelled.
    """
    probs, truth, groups = _known(probs, truth, groups)
    given = probs[np.arange(len(truth)), truth]
    least = _least_of_sets(given, rate)
    parts = np.unique(groups)
    missed = {}
    for group in parts if len(parts) > 1 else ():
        inside = groups == group
        missed[str(group)] = float((given[inside] < _least_of_sets(given[~inside], rate)).mean())
    return SetRule(rate=rate, least=least, pixels=len(truth), groups=len(parts),
                   mean_size=float(np.maximum((probs >= least).sum(1), 1).mean()), missed_elsewhere=missed)  # fmt: skip


def to_sets(probs: np.ndarray, least: float) -> np.ndarray:
    """(K, …) bool: the classes in each pixel's set, from probabilities (K, …); never empty: the likeliest is in."""
    inside = probs >= np.float32(least)
    np.put_along_axis(inside, probs.argmax(0)[None], True, 0)
    return np.asarray(inside)


def choose_abstain(probs: np.ndarray, labels: np.ndarray, truth: np.ndarray, groups: np.ndarray,
                   rate: float) -> AbstainRule:  # fmt: skip
    """The cut-off on the label's probability that leaves most pixels their label, at most `rate` of those wrong.

    Of n labels with e wrong, (e + 1) / (n + 1) must not exceed the rate: one more wrong one is thinkable.

    Source: selective classification: Geifman and El-Yaniv 2017, https://arxiv.org/abs/1705.08500 (risk and coverage);
    the + 1: Angelopoulos, Bates, Fisch, Lei, Schuster 2022, https://arxiv.org/abs/2208.02814.

    Args:
        probs: (N, K).
        labels: (N,) class ids that are given, by whichever threshold.
        truth: (N,).
        groups: (N,).
        rate: Wanted share of wrong labels among those given, 0…1.

    Raises:
        EnsembleError: No pixel is labelled.
    """
    labels = labels[truth != IGNORE].astype(np.int64)
    probs, truth, groups = _known(probs, truth, groups)
    sure, wrong = np.take_along_axis(probs, labels[:, None], 1)[:, 0], labels != truth
    least = _least_of_labels(sure, wrong, rate)
    parts = np.unique(groups)
    elsewhere = {}
    for group in parts if len(parts) > 1 else ():
        inside = groups == group
        said = inside & (sure >= _least_of_labels(sure[~inside], wrong[~inside], rate))
        if said.any():
            elsewhere[str(group)] = float(wrong[said].mean())
    return AbstainRule(rate=rate, least=least, pixels=len(truth), groups=len(parts),
                       labelled=float((sure >= least).mean()), wrong_elsewhere=elsewhere)  # fmt: skip


def abstains(probs: np.ndarray, labels: np.ndarray, least: float) -> np.ndarray:
    """(…) bool: where the probability of a pixel's label, of (K, …), is below the cut-off; `IGNORE` is no label."""
    at = np.where(labels == IGNORE, 0, labels).astype(np.int64)
    return np.asarray((np.take_along_axis(probs, at[None], 0)[0] < np.float32(least)) & (labels != IGNORE))


def _least_of_sets(given: np.ndarray, rate: float) -> float:
    rank = math.floor(round((len(given) + 1) * rate, 9))
    return float(np.partition(given, rank - 1)[rank - 1]) if rank >= 1 else 0.0


def _least_of_labels(sure: np.ndarray, wrong: np.ndarray, rate: float) -> float:
    order = np.argsort(-sure, kind="stable")
    sure, errors = sure[order], np.cumsum(wrong[order])
    last_of_equals = np.append(sure[1:] != sure[:-1], True)
    fits = ((errors + 1) / (np.arange(len(sure)) + 2) <= rate) & last_of_equals
    return float(sure[np.flatnonzero(fits)[-1]]) if fits.any() else NOTHING


def _known(probs: np.ndarray, truth: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    known = truth != IGNORE
    if not known.any():
        raise EnsembleError(
            "an error rate can only be promised from labelled validation pixels, and there is none; "
            "give 'val' a share in params.yaml's 'split', or take the rate out"
        )
    return probs[known], truth[known].astype(np.int64), groups[known]
