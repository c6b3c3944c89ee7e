"""Weights of the classes by how rare they are in the training part, by stated formulas; pure numpy.

n_c is the number of labelled, valid training pixels of class c, f_c = n_c / Σ n its share, K the number of classes. A
class without a pixel gets 0. `balanced`, `median` and `given` are taken as they stand; the others are scaled to a mean
of 1 over the classes that occur.
"""

from collections.abc import Callable

import numpy as np

from thalweg.errors import ParamsError
from thalweg.params.models import ClassWeights


def weigh(settings: ClassWeights, pixels: np.ndarray, among: np.ndarray, where: str) -> np.ndarray:
    """Weights (K,) float64: by the formula, then blended with 1 (`blend`·w + 1 − `blend`), then bounded by `cap`.

    Args:
        settings: The formula and what it takes.
        pixels: (K,) training pixels per class.
        among: (K,) labelled training pixels of the windows that hold the class, for `median`.
        where: The params' key, for messages.

    Raises:
        ParamsError: `given` has not one weight per class.
    """
    pixels = np.asarray(pixels, np.float64)
    if settings.formula == "given":
        if len(settings.given) != len(pixels):
            raise ParamsError(
                f"{where}.given has {len(settings.given)} weights for {len(pixels)} classes; give one per class, in "
                "the order of 'classes'"
            )
        weights = np.array(settings.given)
    elif settings.formula == "effective":
        weights = effective(pixels, settings.beta or 0.0)
    elif settings.formula == "median":
        weights = median(pixels, np.asarray(among, np.float64))
    else:
        weights = _BY_SHARE[settings.formula](pixels)
    weights = settings.blend * weights + (1 - settings.blend)
    return weights if settings.cap is None else np.minimum(weights, settings.cap)


def inverse(pixels: np.ndarray) -> np.ndarray:
    """Inverse shares: w ∝ 1 / f, mean 1."""
    return _mean_one(_where_seen(pixels, lambda seen: 1 / seen))


def inverse_sqrt(pixels: np.ndarray) -> np.ndarray:
    """Inverse roots of the shares: w ∝ 1 / √f, mean 1."""
    return _mean_one(_where_seen(pixels, lambda seen: seen**-0.5))


def balanced(pixels: np.ndarray) -> np.ndarray:
    """Balanced, w = 1 / (K f): a pixel drawn at random has the expected weight 1.

    Source: the `balanced` class weights of scikit-learn, after King, Zeng 2001,
    https://doi.org/10.1093/oxfordjournals.pan.a004868; with `blend` those of the crop system (class_weights_weight).
    """
    return _where_seen(pixels, lambda seen: pixels.sum() / (len(pixels) * seen))


def effective(pixels: np.ndarray, beta: float) -> np.ndarray:
    """One over the effective number of samples, w ∝ (1 − β) / (1 − βⁿ), mean 1; β = 0 weighs all classes alike.

    Source: Cui, Jia, Lin, Song, Belongie 2019, https://arxiv.org/abs/1901.05555, section 4.
    """
    return _mean_one(_where_seen(pixels, lambda seen: (1 - beta) / -np.expm1(seen * np.log(beta)) if beta else seen**0))


def median(pixels: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Median frequency over frequency: pixels of the class / labelled pixels of the windows that hold it.

    Source: Eigen, Fergus 2015, https://arxiv.org/abs/1411.4734, weights α_c of semantic labels; windows of the chip
    table stand for images.
    """
    frequency = pixels / np.maximum(among, 1)
    middle = np.median(frequency[pixels > 0]) if (pixels > 0).any() else 0.0
    return _where_seen(frequency, lambda seen: middle / seen)


_BY_SHARE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "inverse": inverse,
    "inverse_sqrt": inverse_sqrt,
    "balanced": balanced,
}


def _where_seen(amount: np.ndarray, formula: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    weights = np.zeros(len(amount))
    weights[amount > 0] = formula(amount[amount > 0])
    return weights


def _mean_one(weights: np.ndarray) -> np.ndarray:
    seen = weights > 0
    return weights / weights[seen].mean() if seen.any() else weights
