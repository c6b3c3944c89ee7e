"""How members are combined, one file each: the file's name is `ensembles.<name>.reducer` in params.yaml.

Each file has `reduce(probs, measured)`, which takes the members' probabilities (M, K, h, w) float32 and where each has
any (M, h, w) bool to (K, h, w) float32 that sum to one; pixels that no member has are the caller's to leave out. A file
whose `reduce` takes a third argument, `weights` (M,), wants the members' weights; one that takes `matrix` (K, M, K) and
`shift` (K,), a fitted linear model. A file with `KEEPS_ONE = True` gives a single member as it is, to the bit.
"""

import functools
import importlib
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from thalweg.errors import EnsembleError

_CORRECT = "correct the ensemble's reducer or its weights in params.yaml"

Reduce = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Model(NamedTuple):
    """A linear model on the members' log-probabilities."""

    matrix: np.ndarray
    """(K, M, K): class that is scored, member, class that it says."""
    shift: np.ndarray
    """(K,)."""


def names() -> list[str]:
    """All reducers there are."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")


def weighing(name: str) -> bool:
    """Whether a reducer wants the members' weights.

    Raises:
        EnsembleError: There is no such file.
    """
    return _takes(name, "weights")


def stacking(name: str) -> bool:
    """Whether a reducer wants a fitted model.

    Raises:
        EnsembleError: There is no such file.
    """
    return _takes(name, "matrix")


def keeps_one(name: str) -> bool:
    """Whether a single member comes out as it went in.

    Raises:
        EnsembleError: There is no such file.
    """
    return bool(getattr(inspect.getmodule(_reduce(name)), "KEEPS_ONE", False))


def check(name: str, given: bool) -> None:
    """Whether params may name a reducer, with or without giving weights: those that are not given are fitted.

    Raises:
        EnsembleError: There is no such file; or it does not weigh, but weights are given.
    """
    if given and not weighing(name):
        raise EnsembleError(f"reducer '{name}' takes no weights, but has some; {_CORRECT}")
    weighing(name)


def load(name: str, weights: Sequence[float] | None = None, model: Model | None = None) -> Reduce:
    """The reducer of that name.

    Args:
        name: Of its file.
        weights: One per member, for reducers that weigh.
        model: For those that want one.

    Raises:
        EnsembleError: There is no such file; or it wants weights or a model and there are none; or the other way round;
            or a weight is negative, or none is positive.
    """
    if weighing(name) != (weights is not None):
        fault = "needs weights and has none" if weights is None else "takes no weights, but has some"
        raise EnsembleError(f"reducer '{name}' {fault}; {_CORRECT}")
    if stacking(name) != (model is not None):
        fault = "needs a fitted model and has none" if model is None else "takes no fitted model, but has one"
        raise EnsembleError(f"reducer '{name}' {fault}; {_CORRECT}")
    reduce = _reduce(name)
    if model is not None:
        return functools.partial(reduce, matrix=model.matrix.astype(np.float32), shift=model.shift.astype(np.float32))
    if weights is None:
        return reduce
    if min(weights) < 0 or sum(weights) <= 0:
        raise EnsembleError(
            f"weights of reducer '{name}' should be 0 or more and not all 0, got {list(weights)}; correct params.yaml"
        )
    return functools.partial(reduce, weights=np.asarray(weights, np.float32))


def _takes(name: str, argument: str) -> bool:
    return argument in inspect.signature(_reduce(name)).parameters


def _reduce(name: str) -> Callable[..., np.ndarray]:
    if name not in names():
        raise EnsembleError(
            f"reducer '{name}' has no file src/thalweg/reducers/{name}.py; there are {', '.join(names())}"
        )
    reduce: Callable[..., np.ndarray] = importlib.import_module(f"thalweg.reducers.{name}").reduce
    return reduce
