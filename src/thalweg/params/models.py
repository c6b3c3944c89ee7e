"""Section `models`: one block per member of the ensemble-to-be."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from thalweg.params import Section


class Member(Section):
    """One configured model. Its name is the key: `[a-z0-9_-]+`, since DVC takes dots and @ for its own."""

    section: ClassVar[str] = "models"

    model: str = Field(pattern=r"^[a-z0-9_]+$")
    """File name in src/thalweg/models/: `unet`, `fcn`, `farseg`."""
    options: dict[str, Any]
    """Passed to the architecture's `build`, which checks them."""
    grid: str
    """Key under `grids`."""
    seed: int = Field(ge=0)
    """Of weights, chips and augmentation."""
    loss: dict[str, float] = Field(min_length=1)
    """File names in src/thalweg/losses/ → weight in the sum."""
    class_weights: Literal["none", "inverse_sqrt"]
    """Weights of the cross-entropy by training pixel shares: w ∝ 1/sqrt(share), mean 1."""
    augment: tuple[Literal["d4", "gain"], ...]
    """`d4`: the eight flips and turns; `gain`: 5 % gain and offset jitter per channel."""
    chip_px: int = Field(ge=8)
    """Edge of a training chip, pixels."""
    chips_per_epoch: int = Field(ge=1)
    """Windows drawn per epoch in proportion to their labelled pixels; a remainder that fills no batch is left out."""
    batch_size: int = Field(ge=1)
    max_epochs: int = Field(ge=1)
    patience: int = Field(ge=1)
    """Epochs without a better `val_miou` before training stops."""
    keep: Literal["best", "last"]
    """Which epoch's weights become the model: best `val_miou`, or the last (one-cycle ends at its best)."""
    optimizer: Literal["adamw"]
    lr: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    schedule: Literal["one_cycle", "constant"]
    window_px: int = Field(ge=8)
    """Edge of a window when areas are predicted; larger than a chip gives more context and fewer borders."""
    overlap: float = Field(ge=0, lt=1)
    """Share of a window that overlaps its neighbour when held-out areas are predicted."""
