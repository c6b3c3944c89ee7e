"""How rare what a chip shows is; knows labels, but no network."""

from torch import Tensor

from thalweg.active.scores import Pool, mean_over

NEEDS: frozenset[str] = frozenset()


def score(pool: Pool) -> Tensor:
    """(B,) mean over labelled pixels of 1 / (K × share of the pixel's class among training pixels): 1 on average."""
    weights = 1 / (len(pool.shares) * pool.shares.clamp(min=1e-6))
    labels = pool.target.where(pool.labelled, 0).long()
    return mean_over(weights[labels], pool.labelled)
