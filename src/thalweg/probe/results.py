"""What a probe found, as a table for people and as JSON."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Row:
    """One classifier on one kind of features, at one share of the labels, over some seeds."""

    features: str
    """`encoder`, `random` (the same network with fresh weights) or `pixels` (no network at all)."""
    probe: str
    """`knn`, `linear` or `finetune`."""
    fraction: float
    """Of the training labels."""
    scores: tuple[Mapping[str, float], ...]
    """Per seed, on the test part."""

    def spread(self, key: str) -> tuple[float, float]:
        """Mean and standard deviation over seeds."""
        values = [found[key] for found in self.scores]
        return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def to_lines(rows: Sequence[Row], keys: Sequence[str]) -> Iterator[str]:
    """A table: mean ± standard deviation of some scores."""
    yield f"{'features':<10}{'probe':<10}{'labels':>8}  " + "".join(f"{key:>22}" for key in keys)
    for row in rows:
        cells = [
            f"{mean:.4f}" + (f" ± {std:.4f}" if len(row.scores) > 1 else "") for mean, std in map(row.spread, keys)
        ]
        share = f"{100 * row.fraction:g} %"
        yield f"{row.features:<10}{row.probe:<10}{share:>8}  " + "".join(f"{cell:>22}" for cell in cells)


def to_json(facts: Mapping[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    """All scores of all seeds, below facts of the encoder and the data."""
    return {**facts, "rows": [asdict(row) for row in rows]}
