"""The loss of the frozen holdout member: what cannot be learnt, by noise or wrong labels. Mostly wanted with weight −1.

Source: Mindermann et al. 2022, https://arxiv.org/abs/2206.07137, section 3.
"""

from torch import Tensor

from thalweg.active.scores import Pool
from thalweg.errors import ParamsError

NEEDS = frozenset({"irreducible"})


def score(pool: Pool) -> Tensor:
    """(B,) mean cross-entropy of the holdout member over labelled pixels, nats.

    Raises:
        ParamsError: There is no holdout member.
    """
    if pool.irreducible is None:
        raise ParamsError("this score compares with a holdout member: name its folder in the member's 'after'")
    return pool.irreducible.double()
