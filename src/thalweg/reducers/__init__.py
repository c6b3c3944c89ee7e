"""How members are combined, one file each: the file's name is `ensembles.<name>.reducer` in params.yaml.

Each file has `reduce(probs, measured)`, which takes the members' probabilities (M, K, h, w) float32 and where each has
any (M, h, w) bool to (K, h, w) float32; pixels that no member has are the caller's to leave out.
"""

import importlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from thalweg.errors import EnsembleError

Reduce = Callable[[np.ndarray, np.ndarray], np.ndarray]


def load(name: str) -> Reduce:
    """The reducer of that name.

    Raises:
        EnsembleError: There is no such file.
    """
    known = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")
    if name not in known:
        raise EnsembleError(
            f"reducer '{name}' has no file src/thalweg/reducers/{name}.py; there are {', '.join(known)}"
        )
    reduce: Reduce = importlib.import_module(f"thalweg.reducers.{name}").reduce
    return reduce
