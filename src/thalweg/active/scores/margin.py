"""How nearly the second class won; knows where labels are, not which.

Source: Scheffer et al. 2001, Active Hidden Markov Models for Information Extraction, section 4.
"""

from torch import Tensor

from thalweg.active.scores import Pool, mean_over

NEEDS = frozenset({"logits"})


def score(pool: Pool) -> Tensor:
    """(B,) mean over labelled pixels of 1 − (largest − second largest probability)."""
    first, second = pool.log_probs[0].exp().topk(2, dim=1).values.unbind(1)
    return mean_over(1 - (first - second), pool.labelled)
