"""How unsure the network is of what it would learn from; knows where labels are, not which.

Source: Shannon 1948, A Mathematical Theory of Communication, section 6.
"""

from torch import Tensor

from thalweg.active.scores import Pool, mean_over

NEEDS = frozenset({"logits"})


def score(pool: Pool) -> Tensor:
    """(B,) mean entropy over labelled pixels, nats."""
    log_probs = pool.log_probs[0]
    return mean_over(-(log_probs.exp() * log_probs).sum(1), pool.labelled)
