"""Section `yardsticks`: what every network has to beat."""

from typing import ClassVar

from pydantic import Field

from thalweg.params import Section


class Yardstick(Section):
    """Gradient-boosted trees on pixels, band ratios and neighbourhood means of the training ground."""

    section: ClassVar[str] = "yardsticks"

    grid: str
    """Key under `grids`."""
    seed: int = Field(ge=0)
    """Of the sample of pixels."""
    pixels: int = Field(ge=100)
    """Labelled training pixels to learn from, at most."""
    trees: int = Field(ge=1)
    """Boosting rounds."""
    depth: int = Field(ge=1, le=10)
    """Of every tree."""
    learning_rate: float = Field(gt=0, le=1)
    means_px: tuple[int, ...]
    """Odd edges of the neighbourhoods whose means are features, pixels."""
    window_px: int = Field(ge=8)
    """Edge of a window when areas are predicted."""
