"""A bound of the gradient's length, from the last layer alone.

Per pixel the gradient of the cross-entropy with respect to the logits is p − y; the score is its root mean square over
labelled pixels, so that chips with few labels compare with full ones.

Source: Katharopoulos and Fleuret 2018, Not All Samples Are Created Equal, arXiv:1803.00942, equation 20.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from thalweg.active.scores import Pool, mean_over

NEEDS = frozenset({"logits"})


def score(pool: Pool) -> Tensor:
    """(B,) root mean square of ‖p − y‖ over labelled pixels: 0…√2."""
    probs = pool.log_probs[0].exp()
    labels = torch.where(pool.labelled, pool.target, 0).long()
    truth = F.one_hot(labels, probs.shape[1]).permute(0, 3, 1, 2)
    return mean_over(((probs - truth) ** 2).sum(1), pool.labelled).sqrt()
