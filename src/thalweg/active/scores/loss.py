"""The present loss: what is learnt worst, be it hard, rare or labelled wrongly.

Source: Loshchilov and Hutter 2016, Online Batch Selection for Faster Training of Neural Networks, arXiv:1511.06343.
"""

from torch import Tensor

from thalweg.active.scores import Pool, mean_over

NEEDS = frozenset({"logits"})


def score(pool: Pool) -> Tensor:
    """(B,) mean cross-entropy over labelled pixels, nats."""
    return mean_over(pool.losses, pool.labelled)
