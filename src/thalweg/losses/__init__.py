"""Losses, one file each: the file's name is its name in params.yaml. A member's loss is a weighted sum of them.

Each `losses/<name>.py` has `build(*, class_weights, **options) -> nn.Module`, which takes logits (B, K, H, W) float32
and a target (B, H, W) of class ids, 255 ignored, to a scalar that is at least 0, and to 0 with its gradient where every
pixel is ignored. A `build` that names `prior` is handed the scenes' share of hidden positives where params give none.
"""

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from thalweg.errors import ParamsError

Terms = Mapping[str, float | Mapping[str, Any]]
"""Loss → weight, or → `{weight: …, <option>: …}`."""
HANDED = ("class_weights",)


class WeightedSum(nn.Module):
    """Several losses of the same logits, each times its weight."""

    def __init__(self, terms: Mapping[str, nn.Module], weights: Mapping[str, float]) -> None:
        super().__init__()
        self.terms = nn.ModuleDict(terms)
        self.weights = dict(weights)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Logits (B, K, H, W) of any precision and target (B, H, W) to a scalar, float32."""
        logits = logits.float()  # sums over a batch of pixels do not fit bf16
        total = logits.new_zeros(())
        for name, term in self.terms.items():
            total = total + self.weights[name] * term(logits, target)
        return total


def build(loss: Terms, class_weights: Tensor | None, prior: float | None = None) -> WeightedSum:
    """The weighted sum that a member's `loss` describes.

    Args:
        loss: Loss name → weight, or → its weight and options.
        class_weights: (K,) or None, for the losses that can use it.
        prior: Share of positives in ground of class 0 that the scenes state, or None.

    Raises:
        ParamsError: A loss has no file, or options that its `build` does not take.
    """
    known = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")
    terms, weights = {}, {}
    for name, given in loss.items():
        if name not in known:
            raise ParamsError(f"loss '{name}' has no file src/thalweg/losses/{name}.py; there are {', '.join(known)}")
        options = dict(given) if isinstance(given, Mapping) else {"weight": given}
        weights[name] = _weight(name, options.pop("weight", None))
        terms[name] = _term(name, options, class_weights, prior)
    return WeightedSum(terms, weights)


def _weight(name: str, weight: Any) -> float:
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight > 0:
        raise ParamsError(f"loss '{name}' should have a weight above 0, not {weight!r}")
    return float(weight)


def _term(name: str, options: dict[str, Any], class_weights: Tensor | None, prior: float | None) -> nn.Module:
    maker = importlib.import_module(f"thalweg.losses.{name}").build
    taken = {key: p for key, p in inspect.signature(maker).parameters.items() if key not in HANDED}
    if "prior" in taken and options.get("prior") is None and prior is not None:
        options["prior"] = prior
    unknown = sorted(set(options) - set(taken))
    missing = sorted(key for key, p in taken.items() if p.default is p.empty and key not in options)
    if unknown or missing:
        faults = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has unknown {', '.join(unknown)}"] * bool(unknown)
        raise ParamsError(f"loss '{name}' {' and '.join(faults)}; it takes {', '.join(['weight', *taken])}")
    try:
        module: nn.Module = maker(class_weights=class_weights, **options)
    except (ValueError, TypeError) as error:
        raise ParamsError(f"loss '{name}' cannot be used: {error}; correct it in params.yaml") from error
    return module
