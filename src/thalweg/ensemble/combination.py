"""Which members are combined and how much each counts: as params say, or fitted on validation pixels.

What is fitted is kept only if ground that it was not fitted on gains by it: other scenes where validation has several,
else other blocks. Otherwise members count alike.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from thalweg import reducers
from thalweg.calibrate import LEAST_GAIN, left_out, unseen
from thalweg.ensemble.validation import Sample
from thalweg.layers import Rule
from thalweg.manifest.calibration import Calibration
from thalweg.manifest.ensembles import Combination, Pick, Stacking
from thalweg.params.ensembles import Ensemble
from thalweg.reducers.stack import to_features

STEPS_PER_MEMBER = 3
"""Of the greedy selection: a bag is at most so many times as large as there are members."""
_GREEDY_PX, _STACK_PX = 1 << 16, 1 << 15
_PULLS = (1.0, 0.1, 0.01)
"""Of stacking towards the mean of log-probabilities: the best of these on left-out ground is taken."""
_FLOOR = 1e-6
_LEAST_WEIGHT = 1e-3


class _Tried(NamedTuple):
    """NLL on left-out ground, of members that count alike and of what was fitted, and what that ground was."""

    before: float
    after: float
    where: str

    @property
    def gains(self) -> bool:
        return self.before - self.after > LEAST_GAIN


def fits(ensemble: Ensemble) -> bool:
    """Whether validation pixels are needed to combine members."""
    weighs = ensemble.weights is None and reducers.weighing(ensemble.reducer)
    return weighs or ensemble.select == "greedy" or reducers.stacking(ensemble.reducer)


def combine_as_asked(ensemble: Ensemble, members: Sequence[str], sample: Sample | None,
                     names: Sequence[str] = ()) -> Combination:  # fmt: skip
    """How members are combined.

    Args:
        ensemble: What is asked for.
        members: Those that there are.
        sample: Their validation pixels, in this order; None where nothing is fitted.
        names: Of the classes, for what is said of them.
    """
    if sample is None or not fits(ensemble):
        return _plain(ensemble, members)
    picks: tuple[Pick, ...] = ()
    bag = tuple(range(len(members)))
    weighs, stacks = reducers.weighing(ensemble.reducer), reducers.stacking(ensemble.reducer)
    if ensemble.select == "greedy":
        bag, picks = _greedy(sample, members, "mean" if weighs or stacks else ensemble.reducer)
    if weighs or stacks:
        bag = tuple(sorted(set(bag)))
        found = _stacked(sample, bag, names) if stacks else _weighed(sample, bag, ensemble.reducer)
    else:
        found = Combination(reducer=ensemble.reducer, bag=(), weights={}, stacking=None, picks=(),
                            reason=f"greedy selection on {len(sample.truth)} validation pixels")  # fmt: skip
    shares = dict(zip(bag, found.weights.values(), strict=True)) if found.weights else {}
    weights = [shares.get(k, 0.0) if shares else bag.count(k) / len(bag) for k in range(len(members))]
    return found.model_copy(update={
        "bag": tuple(members[k] for k in bag), "picks": picks,
        "weights": {member: float(weight) for member, weight in zip(members, weights, strict=True)},
    })  # fmt: skip


def to_rule(found: Combination, members: Sequence[str], calibration: Calibration | None,
            doubts: tuple[str, ...]) -> Rule:  # fmt: skip
    """The combination as it is applied to members in this order; of one that stays as it is, no doubts."""
    bag = tuple(members.index(member) for member in found.bag)
    weights = [found.weights[member] for member in found.bag] if reducers.weighing(found.reducer) else None
    model = None
    if found.stacking:
        model = reducers.Model(np.array(found.stacking.matrix), np.array(found.stacking.shift))
    plain = len(members) == 1 and reducers.keeps_one(found.reducer) and not (calibration and calibration.kept)
    return Rule(bag, reducers.load(found.reducer, weights, model), calibration, () if plain else doubts, plain)


def _plain(ensemble: Ensemble, members: Sequence[str]) -> Combination:
    given = {member: 1.0 if ensemble.weights is None else ensemble.weights[member] for member in members}
    total = sum(given.values())
    reason = "all members alike" if ensemble.weights is None else "weights as given"
    weights = {member: weight / total if total else 0.0 for member, weight in given.items()}
    return Combination(reducer=ensemble.reducer, bag=tuple(members), weights=weights, stacking=None, picks=(),
                       reason=reason)  # fmt: skip


def _greedy(sample: Sample, members: Sequence[str], reducer: str) -> tuple[tuple[int, ...], tuple[Pick, ...]]:
    """Forward selection with replacement: the member whose addition lowers the NLL most, as long as one does.

    Source: Caruana, Niculescu-Mizil, Crew, Ksikes 2004, Ensemble Selection from Libraries of Models,
    https://doi.org/10.1145/1015330.1015432, sections 2 and 2.1.
    """
    some = sample.thinned(_GREEDY_PX)
    reduce = reducers.load(reducer)
    bag: list[int] = []
    picks: list[Pick] = []
    best = float(np.log(some.probs.shape[1]))
    for _ in range(STEPS_PER_MEMBER * len(members)):
        nll, k = min((_nll(_of_bag(some, reduce, [*bag, k]), some.truth), k) for k in range(len(members)))
        if bag and best - nll <= LEAST_GAIN:
            break
        bag.append(k)
        picks.append(Pick(member=members[k], nll=nll, gain=best - nll))
        best = nll
    return tuple(sorted(bag)), tuple(picks)


def _of_bag(sample: Sample, reduce: reducers.Reduce, bag: Sequence[int]) -> np.ndarray:
    """(K, N), as the map would have it: pixels that no member of the bag has are the others'."""
    return Rule(tuple(bag), reduce).probs(sample.probs[..., None], sample.measured[..., None])[:, :, 0]


def _weighed(sample: Sample, bag: Sequence[int], reducer: str) -> Combination:
    """Weights of the least NLL of the weighted mean; the NLL is convex in them, so that there is one least."""
    given = np.maximum(np.take_along_axis(sample.probs[list(bag)], sample.truth[None, None].astype(int), 1)[:, 0], 0)
    measured = sample.measured[list(bag)]
    alike = np.full(len(bag), 1 / len(bag))

    def fitted(inside: np.ndarray, out: np.ndarray) -> float:
        found = _fit_weights(given[:, inside], measured[:, inside])
        return _mixed(given[:, out], measured[:, out], found)[1]

    tried = _tried(sample, lambda out: _mixed(given[:, out], measured[:, out], alike)[1], fitted)
    weights = _fit_weights(given, measured) if tried.gains else alike
    weights = np.where(weights < _LEAST_WEIGHT, 0, weights)
    weights /= weights.sum()
    return Combination(reducer=reducer, bag=(), weights={str(k): float(w) for k, w in zip(bag, weights, strict=True)},
                       stacking=None, picks=(), reason=_reason("weights fitted", "equal weights", tried))  # fmt: skip


def _fit_weights(given: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """(M,), from the members' probabilities of the true class (M, N)."""

    def loss(logs: np.ndarray) -> tuple[float, np.ndarray]:
        weights = softmax(logs)
        slope, nll = _mixed(given, measured, weights)
        return nll, weights * (slope - weights @ slope)

    return np.asarray(softmax(minimize(loss, np.zeros(len(given)), jac=True, method="L-BFGS-B").x))


def _mixed(given: np.ndarray, measured: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Slope (M,) and value of the NLL of a weighted mean over the members that have a pixel."""
    share = measured * weights[:, None]
    total = np.maximum(share.sum(0), 1e-12)
    mean = np.maximum((share * given).sum(0) / total, _FLOOR)
    slope = -(measured * (given / mean - 1) / total).mean(1)
    return slope, float(-np.log(mean).mean())


def _stacked(sample: Sample, bag: Sequence[int], names: Sequence[str]) -> Combination:
    """Multinomial logistic regression on log-probabilities, pulled to their mean; the plain mean where that serves."""
    if lacking := unseen(sample.truth, sample.probs.shape[1], names):
        return Combination(reducer="mean", bag=(), weights={}, stacking=None, picks=(),
                           reason=f"the mean: {lacking}, which stacking would take off the map")  # fmt: skip
    some = sample.thinned(_STACK_PX)
    probs, measured = some.probs[list(bag)], some.measured[list(bag)]
    features = to_features(probs, measured).reshape(-1, len(some.truth)).T.astype(np.float64)
    mean = reducers.load("mean")(probs[..., None], measured[..., None])[:, :, 0]
    classes = probs.shape[1]
    trials = []
    for pull in _PULLS:
        fitted = partial(_stack_elsewhere, features, some.truth, classes, pull)
        tried = _tried(some, lambda out: _nll(mean[:, out], some.truth[out]), fitted)
        trials.append((tried.after, pull, tried))
    _, pull, tried = min(trials)
    stacking = None
    if tried.gains:
        theta = _fit_stack(features, some.truth, classes, pull).reshape(classes, -1)
        matrix = theta[:, :-1].reshape(classes, len(bag), classes)
        stacking = Stacking(matrix=tuple(tuple(map(tuple, row)) for row in matrix.tolist()),
                            shift=tuple(theta[:, -1].tolist()), pull=pull)  # fmt: skip
    return Combination(reducer="stack" if stacking else "mean", bag=(), weights={}, stacking=stacking, picks=(),
                       reason=_reason(f"stacking with pull {pull:g}", "the mean", tried))  # fmt: skip


def _stack_elsewhere(features: np.ndarray, truth: np.ndarray, classes: int, pull: float, inside: np.ndarray,
                     out: np.ndarray) -> float:  # fmt: skip
    """NLL on some pixels of what others fit."""
    theta = _fit_stack(features[inside], truth[inside], classes, pull)
    return _nll_scores(features[out], truth[out], theta, classes)


def _fit_stack(features: np.ndarray, truth: np.ndarray, classes: int, pull: float) -> np.ndarray:
    """(K · (M · K + 1),): per class its row of the matrix, and its shift."""
    count, width = features.shape
    hot = np.eye(classes)[truth]
    home = np.zeros((classes, width + 1))
    home[:, :-1] = np.tile(np.eye(classes), width // classes) * (classes / width)

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        table = theta.reshape(classes, -1)
        log_probs = log_softmax(features @ table[:, :-1].T + table[:, -1], axis=1)
        off = np.exp(log_probs) - hot
        away = table - home
        slope = np.concatenate([off.T @ features, off.sum(0)[:, None]], axis=1) / count + 2 * pull * away
        return float(-(log_probs * hot).sum() / count + pull * (away**2).sum()), slope.ravel()

    return np.asarray(minimize(loss, home.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 200}).x)


def _nll_scores(features: np.ndarray, truth: np.ndarray, theta: np.ndarray, classes: int) -> float:
    table = theta.reshape(classes, -1)
    log_probs = log_softmax(features @ table[:, :-1].T + table[:, -1], axis=1)
    return float(-log_probs[np.arange(len(truth)), truth].mean())


def _tried(sample: Sample, before: Callable[[np.ndarray], float],
           after: Callable[[np.ndarray, np.ndarray], float]) -> _Tried:  # fmt: skip
    """Leaves groups out in turn, and measures on them what the others fit, and members that count alike."""
    grouped_by, numbers = sample.groups
    count = int(numbers.max()) + 1
    if count < 2:
        return _Tried(0, 0, "all validation pixels lie in one block, so that no other ground can confirm a fit")
    first, second = left_out(numbers, before, after)
    caveat = "" if grouped_by == "scene" else "; all of one scene, so that other scenes may differ"
    said = f"NLL on left-out {grouped_by}s {first:.4f} → {second:.4f} over {count} {grouped_by}s{caveat}"
    return _Tried(first, second, said)


def _reason(fitted: str, kept: str, tried: _Tried) -> str:
    return f"{fitted}: {tried.where}" if tried.gains else f"{kept}, other ground does not gain by more: {tried.where}"


def _nll(probs: np.ndarray, truth: np.ndarray) -> float:
    """Of probabilities (K, N)."""
    return float(-np.log(np.maximum(probs[truth, np.arange(len(truth))], _FLOOR)).mean())
