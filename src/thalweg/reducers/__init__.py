"""How members are combined, one file each: the file's name is `ensembles.<name>.reducer` in params.yaml.

Each file has `reduce(probs, measured)`, which takes the members' probabilities (M, K, h, w) float32 and where each has
any (M, h, w) bool to (K, h, w) float32 that sum to one; pixels that no member has are the caller's to leave out. A file
whose `reduce` takes a third argument, `weights` (M,), wants the members' weights.
"""

import functools
import importlib
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from thalweg.errors import EnsembleError

Reduce = Callable[[np.ndarray, np.ndarray], np.ndarray]


def names() -> list[str]:
    """All reducers there are."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")


def load(name: str, weights: Sequence[float] | None = None) -> Reduce:
    """The reducer of that name.

    Args:
        name: Of its file.
        weights: One per member, for reducers that weigh.

    Raises:
        EnsembleError: There is no such file; or it weighs and there are no weights; or the other way round; or a
            weight is negative, or none is positive.
    """
    if name not in names():
        raise EnsembleError(
            f"reducer '{name}' has no file src/thalweg/reducers/{name}.py; there are {', '.join(names())}"
        )
    reduce: Callable[..., np.ndarray] = importlib.import_module(f"thalweg.reducers.{name}").reduce
    weighs = "weights" in inspect.signature(reduce).parameters
    if weighs != (weights is not None):
        raise EnsembleError(
            f"reducer '{name}' {'needs weights and has none' if weighs else 'takes no weights, but has some'}; "
            "correct the ensemble's reducer or its weights in params.yaml"
        )
    if weights is None:
        return reduce
    if min(weights) < 0 or sum(weights) <= 0:
        raise EnsembleError(
            f"weights of reducer '{name}' should be 0 or more and not all 0, got {list(weights)}; correct params.yaml"
        )
    return functools.partial(reduce, weights=np.asarray(weights, np.float32))
