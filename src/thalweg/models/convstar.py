"""ConvSTAR: a recurrent network with one gate, run over the dates of a time series.

Source: Turkoglu, D'Aronco, Perich, Liebisch, Streit, Schindler, Wegner 2021, Crop mapping from image time series: Deep
learning with multi-scale label hierarchies, https://arxiv.org/abs/2102.08820; the cell as in
https://arxiv.org/abs/1911.11033.
"""

import torch
from torch import Tensor, nn

from thalweg.backbones.series import bands_of, dates_of, measured


class ConvSTAR(nn.Module):
    """Layers of cells over time; the last state of the last is classified. A date without data changes nothing."""

    def __init__(self, bands: int, classes: int, steps: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.steps = steps
        inputs = [bands, *[hidden] * (layers - 1)]
        self.cells = nn.ModuleList(_Cell(before, hidden) for before in inputs)
        self.head = nn.Conv2d(hidden, classes, 1)
        self.stages = {str(place): [f"cells.{place - 1}"] for place in range(1, layers + 1)}

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, T·C, H, W) to logits (B, K, H, W)."""
        series = dates_of(inputs, self.steps)
        there = measured(series)
        states: list[Tensor | None] = [None] * len(self.cells)
        for step in range(self.steps):
            features = series[:, step]
            for place, cell in enumerate(self.cells):
                features = states[place] = cell(features, states[place], there[:, step])
        logits: Tensor = self.head(states[-1])
        return logits


class _Cell(nn.Module):
    """h' = g·h + (1 − g)·tanh(conv(x)) with g = sigmoid(conv([x, h]))."""

    def __init__(self, before: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.gate = nn.Conv2d(before + hidden, hidden, 3, padding=1)
        self.update = nn.Conv2d(before, hidden, 3, padding=1)
        for conv in (self.gate, self.update):
            nn.init.orthogonal_(conv.weight)
        for name, bias in self.named_parameters():
            if name.endswith("bias"):  # at first the gate keeps what it has
                nn.init.constant_(bias, 1.0 if name.startswith("gate") else 0.0)

    def forward(self, features: Tensor, state: Tensor | None, there: Tensor) -> Tensor:
        """Features (B, D, H, W), the state or None at the start, and where there is data (B, 1, H, W)."""
        if state is None:
            state = features.new_zeros((len(features), self.hidden, *features.shape[2:]))
        gate = torch.sigmoid(self.gate(torch.cat([features, state], 1)))
        after = gate * state + (1 - gate) * torch.tanh(self.update(features))
        return torch.where(there, after, state)


def build(*, channels: int, classes: int, steps: int, hidden: int, layers: int) -> nn.Module:
    """ConvSTAR over a time series: (B, T·C, H, W) to logits (B, K, H, W), any size.

    Args:
        channels: Input channels, date by date.
        classes: Output classes.
        steps: Dates.
        hidden: Features of the state.
        layers: Cells on top of each other.

    Raises:
        ValueError: An option is out of its range, or the channels are not so many dates.
    """
    if hidden < 1 or layers < 1:
        raise ValueError(f"hidden and layers should be at least 1, not {hidden} and {layers}")
    return ConvSTAR(bands_of(channels, steps), classes, steps, hidden, layers)
