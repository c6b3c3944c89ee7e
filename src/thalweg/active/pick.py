"""Scores to choices: the best, or a draw in proportion to how good they are, and no two alike."""

import numpy as np
import torch
from torch import Tensor


def pick(scores: Tensor, count: int, temperature: float, random: torch.Generator,
         features: Tensor | None = None, diversity: float = 0.0) -> Tensor:  # fmt: skip
    """Which chips of a pool are trained on, in the pool's order.

    Scores are standardised within the pool, so that a temperature means the same for each. At temperature 0 the best
    are taken, equals in the pool's order; above, they are drawn without replacement with probabilities in proportion
    to exp(score / temperature), by adding Gumbel noise. With diversity, chips are taken one by one, each by its score
    plus diversity times its distance to the nearest one taken, in units of the pool's mean distance.

    Args:
        scores: (B,); what is not finite is taken last.
        count: Chips to take, at most B.
        temperature: 0 or more.
        random: On the CPU.
        features: (B, F), for diversity.
        diversity: 0 or more.

    Returns:
        (count,) int64 indices, rising.

    Source: Kool et al. 2019, Stochastic Beams and Where to Find Them, arXiv:1903.06059, section 2.3 (Gumbel top-k);
    Sener and Savarese 2018, Active Learning for Convolutional Neural Networks, arXiv:1708.00489 (greedy k-centre).
    """
    worth = _standardised(scores.detach().cpu().double())
    if temperature > 0:
        noise = -torch.log(-torch.log(torch.rand(len(worth), generator=random, dtype=torch.float64).clamp(1e-300, 1)))
        worth = worth / temperature + noise.nan_to_num(posinf=700.0)
    if diversity > 0 and features is not None:
        return _apart(worth, features.detach().cpu().double(), count, diversity).sort().values
    return torch.sort(worth, descending=True, stable=True).indices[:count].sort().values


def _standardised(scores: Tensor) -> Tensor:
    """Mean 0 and standard deviation 1 over the finite ones, the others −∞."""
    finite = torch.isfinite(scores)
    known = scores[finite]
    spread = known.std(unbiased=False) if len(known) else torch.tensor(0.0)
    middle = known.mean() if len(known) else torch.tensor(0.0)
    spread = spread if float(spread) > 0 else torch.ones_like(spread)
    return torch.where(finite, (scores - middle) / spread, -torch.inf)


def _apart(worth: Tensor, features: Tensor, count: int, diversity: float) -> Tensor:
    distance = torch.cdist(features, features)
    distance = distance / distance.mean().clamp(min=1e-12)
    nearest, left = np.zeros(len(worth)), np.arange(len(worth))
    taken: list[int] = []
    for _ in range(count):
        place = int((worth.numpy() + diversity * nearest)[left].argmax())  # the first of equals
        best, left = int(left[place]), np.delete(left, place)
        nearest = np.minimum(nearest, distance[best].numpy()) if taken else distance[best].numpy()
        taken.append(best)
    return torch.tensor(taken, dtype=torch.int64)
