"""Section `ensembles`: which members make which map."""

from typing import ClassVar, Literal

from pydantic import Field

from thalweg.params import Section


class Ensemble(Section):
    """One map."""

    section: ClassVar[str] = "ensembles"

    members: tuple[str, ...] = Field(min_length=1)
    """Keys under `models`."""
    grid: str
    """Grid of the map; members of other grids are brought onto it."""
    scenes: tuple[str, ...] = Field(min_length=1)
    """Globs on scene names: what is mapped. Where scenes overlap, probabilities are averaged: right for several dates
    of ground that stays, wrong where the classes move, as clouds do; then name one date."""
    reducer: Literal["mean"]
    """How members are combined: mean of probabilities."""
    tta: bool
    """Average over the eight flips and turns of every window."""
    overlap: float = Field(ge=0, lt=1)
    """Share of a window that overlaps its neighbour; blended by a Hann taper."""
    threshold: Literal["argmax", "iou"]
    """Binary tasks: fixed at the most probable class, or chosen on validation pixels for the best IoU."""
