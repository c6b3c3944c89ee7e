"""nnPU: learning from positives and unlabelled ground, where class 0 is not background but "nobody looked".

Source: Kiryo, Niu, du Plessis, Sugiyama 2017, Positive-Unlabeled Learning with Non-Negative Risk Estimator,
https://arxiv.org/abs/1703.00593, eq. 6 and algorithm 1, with the sigmoid loss of its section 4.
"""

import torch
from torch import Tensor, nn

from thalweg.errors import ParamsError


class NonNegativePU(nn.Module):
    """π·E₊[l(+)] + max(0, E₀[l(−)] − π·E₊[l(−)]), where l(±) = sigmoid(∓(logit 1 − logit 0))."""

    def __init__(self, prior: float, beta: float, gamma: float) -> None:
        super().__init__()
        self.prior, self.beta, self.gamma = prior, beta, gamma

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Logits (B, 2, H, W) and target (B, H, W), 1 positive, 0 unlabelled, 255 ignored, to a scalar.

        Raises:
            ParamsError: There are more than two classes.
        """
        if logits.shape[1] != 2:
            raise ParamsError(f"loss 'nnpu' takes two classes, unlabelled and positive, not {logits.shape[1]}")
        margin = logits[:, 1] - logits[:, 0]
        positive, unlabelled = target == 1, target == 0
        wrong_side = _mean(torch.sigmoid(-margin), positive)
        as_negative = _mean(torch.sigmoid(margin), unlabelled) - self.prior * _mean(torch.sigmoid(margin), positive)
        as_negative = as_negative * unlabelled.any()  # without unlabelled ground there is no risk of negatives to mend
        gain = self.prior * wrong_side
        plain = gain + as_negative
        # Overfitted: the risk of negatives fell below what it can be; go back, and leave the positives alone
        back = -self.gamma * as_negative
        corrected = back - back.detach() + (gain - self.beta).clamp(min=0).detach()
        return torch.where(as_negative < -self.beta, corrected, plain.clamp(min=0))


def _mean(values: Tensor, where: Tensor) -> Tensor:
    return (values * where).sum() / where.sum().clamp(min=1)


def build(
    *,
    class_weights: Tensor | None,  # noqa: ARG001 - the prior weighs
    prior: float | None,
    beta: float,
    gamma: float,
) -> nn.Module:
    """nnPU; class weights play no part, since the prior says how much positives weigh.

    Args:
        class_weights: Not used.
        prior: Share of positives in ground of class 0; null for what the masks state (`masks.prior`).
        beta: How far the risk of negatives may fall below 0; the paper's 0.
        gamma: How fast training goes back then; the paper's 1.

    Raises:
        ValueError: An option is out of its range, or nobody states the prior.
    """
    if prior is None:
        raise ValueError("neither its prior nor masks.prior is given: say what share of class 0 is positive")
    if not 0 < prior < 1:
        raise ValueError(f"prior should lie between 0 and 1, not {prior}")
    if beta < 0 or not 0 <= gamma <= 1:
        raise ValueError(f"beta should be at least 0 and gamma 0 to 1, not {beta} and {gamma}")
    return NonNegativePU(prior, beta, gamma)
