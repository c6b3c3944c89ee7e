"""What passes with dropout disagree about: the mutual information of label and weights; asks where labels are alone.

Source: Houlsby et al. 2011, Bayesian Active Learning by Disagreement, arXiv:1112.5745, equation 2; Gal et al. 2017,
arXiv:1703.02910, for dropout as the posterior.
"""

import torch
from torch import Tensor

from thalweg.active.scores import Pool, mean_over

NEEDS = frozenset({"logits", "passes"})


def score(pool: Pool) -> Tensor:
    """(B,) mean over labelled pixels of the entropy of the mean less the mean of the entropies, nats."""
    log_probs = pool.log_probs
    mean = log_probs.exp().mean(0)
    whole = -torch.xlogy(mean, mean).sum(1)
    each = -(log_probs.exp() * log_probs).sum(2).mean(0)
    return mean_over((whole - each).clamp(min=0), pool.labelled)
