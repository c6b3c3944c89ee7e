"""Losses, one file each: the file's name is its name in params.yaml. A member's loss is a weighted sum of them.

Each `losses/<name>.py` has `build(class_weights: Tensor | None) -> nn.Module`, which takes logits (B, K, H, W) and a
target (B, H, W) of class ids, 255 ignored, to a scalar, and to 0 with its gradient where every pixel is ignored.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from thalweg.errors import ParamsError


class WeightedSum(nn.Module):
    """Several losses of the same logits, each times its weight."""

    def __init__(self, terms: Mapping[str, nn.Module], weights: Mapping[str, float]) -> None:
        super().__init__()
        self.terms = nn.ModuleDict(terms)
        self.weights = dict(weights)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Logits (B, K, H, W) and target (B, H, W) to a scalar."""
        total = logits.new_zeros(())
        for name, term in self.terms.items():
            total = total + self.weights[name] * term(logits, target)
        return total


def build(weights: Mapping[str, float], class_weights: Tensor | None) -> WeightedSum:
    """The weighted sum that a member's `loss` describes.

    Args:
        weights: Loss name → weight.
        class_weights: (K,) or None, for the losses that can use it.

    Raises:
        ParamsError: A loss has no file.
    """
    known = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")
    for name in weights:
        if name not in known:
            raise ParamsError(f"loss '{name}' has no file src/thalweg/losses/{name}.py; there are {', '.join(known)}")
    terms = {name: importlib.import_module(f"thalweg.losses.{name}").build(class_weights) for name in weights}
    return WeightedSum(terms, weights)
