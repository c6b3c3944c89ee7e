"""The two classifiers of a probe, on vectors of frozen features: nearest neighbours and a linear layer."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

NEIGHBOURS = 20
TEMPERATURE = 0.07
"""Source of both: Wu, Xiong, Yu, Lin 2018, Unsupervised Feature Learning via Non-Parametric Instance Discrimination,
https://arxiv.org/abs/1805.01978, section 3.4 (of neighbours, what Caron et al. 2021, arXiv:2104.14294, found best)."""
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Inverse strengths of the linear layer's ridge that validation chooses from."""
STEPS = 1000
_SMALL = 1e-6


class Linear(NamedTuple):
    """A linear layer on features as they are."""

    weight: np.ndarray
    """(K, D)."""
    bias: np.ndarray
    """(K,)."""
    strength: float
    """Of the ridge that was chosen, inverse."""
    balanced: bool = False
    """Whether classes counted alike, however rare."""

    def labels(self, features: np.ndarray) -> np.ndarray:
        """(N, D) to (N,) uint8."""
        found: np.ndarray = (features @ self.weight.T + self.bias).argmax(1).astype(np.uint8)
        return found


def knn(features: np.ndarray, labels: np.ndarray, asked: np.ndarray, neighbours: int = NEIGHBOURS) -> np.ndarray:
    """Labels (M,) of asked features by a vote of the nearest by cosine, each weighing exp(cosine / τ).

    Args:
        features: (N, D) known.
        labels: (N,) uint8.
        asked: (M, D).
        neighbours: At most; all, where fewer are known.
    """
    made = KNeighborsClassifier(
        min(neighbours, len(features)), metric="cosine", algorithm="brute",
        weights=lambda distances: np.exp(-distances / TEMPERATURE))  # fmt: skip
    found: np.ndarray = made.fit(features, labels).predict(asked)
    return found


def fit_linear(features: np.ndarray, labels: np.ndarray, classes: int,
               judge: Callable[[Linear], float], strengths: Sequence[float] = STRENGTHS,
               balances: Sequence[bool] = (False,)) -> Linear:  # fmt: skip
    """Logistic regression on standardised features, of the ridge that the judge likes best (the strongest of equals).

    Args:
        features: (N, D), of at least two classes.
        labels: (N,) uint8.
        classes: K; those that no label names are never said.
        judge: Scores a layer on validation data.
        strengths: To choose from, the strongest ridge (the smallest number) first.
        balances: To choose from, too: whether classes count alike, however rare they are.
    """
    mean, std = features.mean(0), features.std(0)
    std = np.where(std > _SMALL, std, 1.0)
    scaled = ((features - mean) / std).astype(np.float32)
    found = []
    for balance in balances:
        weights = "balanced" if balance else None
        made: Any = LogisticRegression(max_iter=STEPS, tol=1e-3, warm_start=True, class_weight=weights)
        for strength in strengths:
            made.set_params(C=strength).fit(scaled, labels)
            found.append(_unscaled(made, mean, std, classes, strength)._replace(balanced=balance))
    scores = [judge(layer) for layer in found]
    return found[int(np.argmax(scores))]


def _unscaled(made: Any, mean: np.ndarray, std: np.ndarray, classes: int, strength: float) -> Linear:
    weight, bias = np.zeros((classes, len(mean))), np.full(classes, -np.inf)
    known, given, shift = made.classes_, made.coef_, made.intercept_
    if len(known) == 2:  # scikit-learn keeps one row, of the second class against the first
        given, shift = np.concatenate([-given, given]) / 2, np.concatenate([-shift, shift]) / 2
    weight[known] = given / std
    bias[known] = shift - weight[known] @ mean
    return Linear(weight, bias, strength)
