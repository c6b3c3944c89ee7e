"""Whether features still tell chips apart: spread, effective rank, alignment and uniformity, and what it means."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from thalweg.params.encoders import Collapse


def spread(features: Tensor) -> float:
    """Mean deviation of unit-length features (N, D) over chips, times √D: 1 all over the sphere, 0 in one point.

    Source: Chen and He 2021, SimSiam, https://arxiv.org/abs/2011.10566, section 4.1 and figure 2.
    """
    unit = F.normalize(features.double(), dim=1)
    return float(unit.std(0, correction=0).mean()) * math.sqrt(features.shape[1])


def effective_rank(features: Tensor) -> float:
    """Exp of the entropy of the shares of the singular values of centred features (N, D): 1…min(N − 1, D).

    Source: Roy and Vetterli 2007, The effective rank, https://doi.org/10.5281/zenodo.40328.
    """
    values = torch.linalg.svdvals(features.double() - features.double().mean(0))
    total = float(values.sum())
    if total <= 1e-12 * max(float(features.double().abs().max()), 1e-300):
        return 1.0
    shares = values / total
    return float(torch.exp(torch.special.entr(shares).sum()))


def alignment(one: Tensor, other: Tensor) -> float:
    """Mean squared distance between the unit-length features of pairs (N, D): 0…4.

    Source: Wang and Isola 2020, https://arxiv.org/abs/2005.10242, section 4.1, as is uniformity.
    """
    apart = F.normalize(one.double(), dim=1) - F.normalize(other.double(), dim=1)
    return float(apart.square().sum(1).mean())


def uniformity(features: Tensor) -> float:
    """Logarithm of the mean of exp(−2 d²) over all pairs of unit-length features: 0 in one point, lower is wider."""
    unit = F.normalize(features.double(), dim=1)
    return float(torch.pdist(unit).square().mul(-2).exp().mean().log())


def figures(features: Tensor, others: Tensor | None) -> dict[str, float]:
    """All of them, of chips (N, D) and where there are pairs of the other views."""
    found = {"feature_std": spread(features), "rank": effective_rank(features), "uniformity": uniformity(features)}
    return found if others is None else found | {"alignment": alignment(features, others)}


def verdict(name: str, watch: Mapping[str, float], limits: Collapse) -> str | None:
    """One sentence where the features say nothing, else None."""
    faults = []
    if not watch["feature_std"] >= limits.std:
        faults.append(f"their spread is {watch['feature_std']:.3g}, at least {limits.std:g} is wanted")
    if not watch["rank"] >= limits.rank:
        faults.append(f"their effective rank is {watch['rank']:.3g}, at least {limits.rank:g} is wanted")
    if not faults:
        return None
    return (
        f"encoders.{name} has collapsed, its features hardly tell chips apart: {' and '.join(faults)}; use another "
        "method, or change its options, lr or alter"
    )
