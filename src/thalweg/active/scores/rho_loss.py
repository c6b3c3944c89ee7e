"""The reducible holdout loss: what is not yet learnt, but can be.

Source: Mindermann et al. 2022, https://arxiv.org/abs/2206.07137, equation 3.
"""

from torch import Tensor

from thalweg.active.scores import Pool, irreducible_loss, loss

NEEDS = loss.NEEDS | irreducible_loss.NEEDS


def score(pool: Pool) -> Tensor:
    """(B,) loss less the holdout member's, nats."""
    return loss.score(pool) - irreducible_loss.score(pool)
