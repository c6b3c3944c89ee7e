"""Gradient-boosted trees on pixels, band ratios and neighbourhood means, as an architecture: the yardstick.

The trees are grown by scikit-learn (`thalweg.yardstick`); here they are tensors, so that a card, safetensors, maps and
ensembles treat them as any member. Every tree is a complete binary tree: what stops growing early repeats its value
below.

Source: Friedman 2001, Greedy Function Approximation, doi:10.1214/aos/1013203451; Ke et al. 2017, LightGBM, for the
histogram trees that scikit-learn grows.
"""

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_ROWS = 1 << 14
"""Pixels that walk down the trees together, so that they stay in a processor's cache."""
_TINY = 1e-6
_MOST_PAIRS = 1000
"""Of channels, over all dates: what a processor's memory and a minute bear."""


class BoostedTrees(nn.Module):
    """Features of every pixel, and trees that add up to logits."""

    def __init__(
        self, channels: int, classes: int, trees: int, depth: int, means_px: Sequence[int], dates: int
    ) -> None:
        super().__init__()
        self.means_px = tuple(means_px)
        self.pairs = pairs(channels, dates)
        self.depth, self.scores = depth, 1 if classes == 2 else classes
        inner, leaves = 2**depth - 1, 2**depth
        count = trees * self.scores
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))
        self.register_buffer("feature", torch.zeros((count, inner), dtype=torch.int32))
        self.register_buffer("cut", torch.full((count, inner), torch.inf))
        self.register_buffer("value", torch.zeros((count, leaves)))
        self.register_buffer("start", torch.zeros(self.scores))

    mean: Tensor
    """(C,) of the input normalisation, physical units: band ratios need physical values."""
    std: Tensor
    feature: Tensor
    """(trees × scores, inner nodes) column that a node looks at; the trees of one round lie together."""
    cut: Tensor
    """(trees × scores, inner nodes): a value up to it goes left."""
    value: Tensor
    """(trees × scores, leaves)."""
    start: Tensor
    """(scores,) raw score before the first tree."""

    @property
    def halo_px(self) -> int:
        """Neighbourhood that a pixel's features reach."""
        return max((edge // 2 for edge in self.means_px), default=0)

    def features(self, inputs: Tensor) -> Tensor:
        """Normalised inputs (B, C, H, W) to features (B, F, H, W): channels, normalised differences, box means.

        Boxes that reach past the window average what lies inside.
        """
        planes = [inputs]
        if self.pairs:
            physical = inputs * self.std[:, None, None] + self.mean[:, None, None]
            first, second = (physical[:, [pair[side] for pair in self.pairs]] for side in (0, 1))
            planes.append((first - second) / (first.abs() + second.abs() + _TINY))
        planes += [
            F.avg_pool2d(inputs, edge, stride=1, padding=edge // 2, count_include_pad=False) for edge in self.means_px
        ]
        return torch.cat(planes, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalised inputs (B, C, H, W) to logits (B, K, H, W)."""
        raw = torch.cat([self._raw(image[None]) for image in inputs.float()])  # one by one: features are many
        scores = raw.view(inputs.shape[0], *inputs.shape[2:], self.scores).permute(0, 3, 1, 2)  # (B, scores, H, W)
        logits = torch.cat([torch.zeros_like(scores), scores], 1) if self.scores == 1 else scores
        return logits.to(inputs.dtype)

    def _raw(self, image: Tensor) -> Tensor:
        """One image (1, C, H, W) to raw scores (H·W, scores)."""
        rows = self.features(image).permute(0, 2, 3, 1).flatten(0, 2)  # (H·W, F)
        return torch.cat([self._scores(part) for part in torch.split(rows, _ROWS)])

    def _scores(self, rows: Tensor) -> Tensor:
        """Features (N, F) to raw scores (N, scores)."""
        columns = rows.T.contiguous()  # (F, N): a node's column is one run of memory for its pixels
        at = torch.arange(rows.shape[0], device=rows.device)
        total = self.start.repeat(rows.shape[0], 1)
        for tree in range(len(self.value)):
            node = torch.zeros_like(at)
            for _ in range(self.depth):
                seen = columns[self.feature[tree][node].long(), at]
                node = 2 * node + 1 + (seen > self.cut[tree][node])
            total[:, tree % self.scores] += self.value[tree][node - self.cut.shape[1]]
        return total


def pairs(channels: int, dates: int) -> tuple[tuple[int, int], ...]:
    """Channels whose normalised difference is a feature: all pairs of one date.

    Where these were more than a thousand, only channels that lie near each other in order, as near as it takes.
    """
    count = channels // dates
    of_date = sorted(combinations(range(count), 2), key=lambda pair: (pair[1] - pair[0], pair))
    reach = max((b - a for a, b in of_date[: max(_MOST_PAIRS // dates, 1)]), default=0)
    if len(of_date) * dates > _MOST_PAIRS:
        reach = max(reach - 1, 1)  # whole distances: no pair is left out that another of its distance is in
    return tuple(
        (date * count + a, date * count + b) for date in range(dates) for a, b in sorted(of_date) if b - a <= reach
    )


def build(*, channels: int, classes: int, trees: int, depth: int, means_px: Sequence[int], dates: int = 1) -> nn.Module:
    """Trees that say 0 until they are filled: (B, C, H, W) to logits (B, K, H, W), any size and number of channels.

    Args:
        channels: Input channels.
        classes: Output classes.
        trees: Boosting rounds.
        depth: Of every tree.
        means_px: Odd edges of the neighbourhoods whose means are features.
        dates: Of a time series, whose channels stand behind each other date by date.

    Raises:
        ValueError: An edge is even, there is no tree, or the channels are not those of so many dates.
    """
    if trees < 1 or not 1 <= depth <= 10:
        raise ValueError(f"trees should be at least 1 and depth 1 to 10, not {trees} and {depth}")
    if even := [edge for edge in means_px if edge < 3 or edge % 2 == 0]:
        raise ValueError(f"means_px should be odd edges from 3 pixels on, not {even}")
    if dates < 1 or channels % dates:
        raise ValueError(f"{channels} channels cannot be those of {dates} dates")
    return BoostedTrees(channels, classes, trees, depth, means_px, dates)
