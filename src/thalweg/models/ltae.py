"""L-TAE: light attention over the dates of a time series, pixel by pixel, between convolutions in space.

Sources: Sainte Fare Garnot, Landrieu 2020, Lightweight Temporal Self-Attention for Classifying Satellite Images Time
Series, https://arxiv.org/abs/2007.00586; spatial features on either side as in https://arxiv.org/abs/2107.07933.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from thalweg.backbones.series import bands_of, dates_of, measured
from thalweg.backbones.tokens import sines


class LTAE(nn.Module):
    """Each head asks one learnt question of every date, and keeps its share of the features."""

    def __init__(
        self, bands: int, classes: int, days: Sequence[float], width: int, heads: int, key_dim: int, dropout: float
    ) -> None:
        super().__init__()
        self.steps, self.heads = len(days), heads
        self.each = nn.Sequential(*_conv(bands, width), *_conv(width, width))
        self.register_buffer("dates", sines(days, width)[:, :, None, None], persistent=False)
        self.keys = nn.Conv2d(width, heads * key_dim, 1)
        self.questions = nn.Parameter(torch.randn(heads, key_dim) * key_dim**-0.5)
        self.dropout = nn.Dropout(dropout)
        self.mix = nn.Sequential(*_conv(width, width, 1), *_conv(width, width))
        self.head = nn.Conv2d(width, classes, 1)
        self.stages = {"stem": ["each"], "1": ["keys", "questions"], "2": ["mix"]}

    dates: Tensor

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, T·C, H, W) to logits (B, K, H, W)."""
        series = dates_of(inputs, self.steps)
        each = self.each(series.flatten(0, 1))  # (B·T, D, H, W)
        placed = (each.unflatten(0, (-1, self.steps)) + self.dates.to(each.dtype)).flatten(0, 1)
        keys = self.keys(placed).unflatten(1, (self.heads, -1)).unflatten(0, (-1, self.steps))  # (B, T, G, d, H, W)
        scores = torch.einsum("btgdyx,gd->btgyx", keys, self.questions)
        shares = self.dropout(self.attention(scores, measured(series)))
        parts = placed.unflatten(1, (self.heads, -1)).unflatten(0, (-1, self.steps))
        together = torch.einsum("btgyx,btgdyx->bgdyx", shares, parts).flatten(1, 2)
        logits: Tensor = self.head(self.mix(together))
        return logits

    @staticmethod
    def attention(scores: Tensor, there: Tensor) -> Tensor:
        """Softmax over dates (B, T, G, H, W) that measured something; over all where none did."""
        there = there | ~there.any(1, keepdim=True)
        return scores.masked_fill(~there, -torch.inf).softmax(1)


def _conv(before: int, after: int, edge: int = 3) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, after, edge, padding=edge // 2, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)


def build(
    *, channels: int, classes: int, days: Sequence[float] | None, steps: int, width: int, heads: int, key_dim: int,
    dropout: float, positions: str = "order",
) -> nn.Module:  # fmt: skip
    """L-TAE over a time series: (B, T·C, H, W) to logits (B, K, H, W), any size.

    Args:
        channels: Input channels, date by date.
        classes: Output classes.
        days: Middle of each date's bin, days since 1 January; None where only shapes are of interest.
        steps: Dates.
        width: Features; divides by `heads`, and is even.
        heads: Of the attention.
        key_dim: Numbers per key.
        dropout: Share of attention dropped in training.
        positions: By what attention tells dates apart: `calendar`, their days of the year, or `order`, their number
            (as in cards that do not say).

    Raises:
        ValueError: An option is out of its range, or the channels are not so many dates.
    """
    if heads < 1 or key_dim < 1 or width < 2 or width % heads or width % 2:
        raise ValueError(f"width should be even and divide by heads, not {width} by {heads}; key_dim at least 1")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout should be at least 0 and below 1, not {dropout}")
    if positions not in ("calendar", "order"):
        raise ValueError(f"positions should be calendar or order, not {positions!r}")
    bands = bands_of(channels, steps)
    places = range(steps) if days is None or positions == "order" else days
    if len(places) != steps:
        raise ValueError(f"steps should be {len(places)}, as many as the series has bins, not {steps}")
    return LTAE(bands, classes, places, width, heads, key_dim, dropout)
