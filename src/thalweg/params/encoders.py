"""Section `encoders`: what is pre-trained without labels, one block per encoder; empty where nothing is."""

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from thalweg.params import Section

Metres = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
"""Smallest and largest edge on the ground."""


class Crops(BaseModel):
    """What a view shows of a chip: sizes are of the ground, so that scenes of unlike pixels show alike."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    chip_m: float = Field(gt=0)
    """Edge of the ground that all views of a step lie in, metres."""
    wide_m: Metres
    """Edges of the wide views; at least half of chip_m, so that any two share ground."""
    wide_px: int = Field(ge=8)
    """Pixels that a wide view is brought to."""
    small_m: Metres | None
    """Edges of the small views of multi-crop (dino); null without."""
    small_px: int = Field(ge=8)
    """Pixels of a small view."""
    small: int = Field(ge=0)
    """Small views per chip."""

    @model_validator(mode="after")
    def _fit(self) -> "Crops":
        for name, edges in (("wide_m", self.wide_m), ("small_m", self.small_m)):
            if edges is not None and not edges[0] <= edges[1] <= self.chip_m:
                raise ValueError(f"{name} should be [smallest, largest], none above chip_m {self.chip_m:g}")
        if self.wide_m[0] < self.chip_m / 2:
            raise ValueError(
                f"wide_m begins at {self.wide_m[0]:g}, less than half of chip_m, so that two views may share no "
                f"ground; give at least {self.chip_m / 2:g}"
            )
        if (self.small_m is None) != (self.small == 0):
            raise ValueError("give small_m where 'small' is above 0, and null where it is 0")
        return self


class Alter(BaseModel):
    """How views differ in light and instrument; 0 leaves one out. Nothing here turns one band into another."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    d4: Literal[0, 1]
    """1: one of the eight flips and turns of the square."""
    jitter: float = Field(ge=0, le=1)
    """Light of all bands together, and contrast, up to ± this share."""
    gain: float = Field(ge=0)
    """Deviation of gain and offset per channel, of a standard deviation: calibration."""
    haze: float = Field(ge=0, le=1)
    """Most path radiance at 490 nm, reflectance; it falls with the wavelength."""
    noise: float = Field(ge=0)
    """Deviation per value, of a standard deviation."""
    band_dropout: float = Field(ge=0, lt=1)
    """Probability that a channel is missing."""


class Collapse(BaseModel):
    """What counts as features that say nothing, and what then happens."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    std: float = Field(ge=0, lt=1)
    """Least spread of the unit-length features, 1 for features all over the sphere."""
    rank: float = Field(ge=1)
    """Least effective rank of the features."""
    then: Literal["warn", "fail"]


class EncoderParams(Section):
    """One encoder to pre-train. Its name is the key, as a member's is."""

    section: ClassVar[str] = "encoders"

    grid: str
    """Key under `grids`."""
    method: str = Field(pattern=r"^[a-z0-9_]+$")
    """File name in src/thalweg/pretrain/methods/: `byol`, `moco_v2`, `vicreg`, `dino`, `mae`, `seasonal`."""
    options: dict[str, Any]
    """What the method's own model `Options` says."""
    encoder: str
    """smp's name of an encoder, or timm's after `tu-`, as the members' architectures take it."""
    depth: int = Field(ge=1, le=5)
    """Stages of it that learn, as many as the deepest member has; of a vision transformer, which learns whole, 4."""
    parts: tuple[Literal["train", "unlabelled"], ...] = Field(min_length=1)
    """Ground that is seen. `unlabelled`: also blocks that no part has; ground of val and test is never seen."""
    positives: Literal["augmented", "dates"]
    """`augmented`: two views of one image; `dates`: of two dates of one place, where there are two."""
    sites: str
    """CSV `site,scene` that says which scenes show one place; masks/none.yaml: those whose ground overlaps."""
    crops: Crops
    alter: Alter
    least_valid: float = Field(gt=0, le=1)
    """Chips of which less may be seen are not drawn."""
    chips_per_epoch: int = Field(ge=2)
    batch_size: int = Field(ge=2)
    max_epochs: int = Field(ge=1)
    seed: int = Field(ge=0)
    lr: float = Field(gt=0)
    """Highest rate of AdamW; it rises for `warmup_epochs` and falls to nothing by a cosine."""
    weight_decay: float = Field(ge=0)
    """Of weights; biases and norms have none."""
    warmup_epochs: float = Field(ge=0)
    clip_norm: float | None = Field(gt=0)
    ema: float = Field(ge=0, le=1)
    """Momentum of the second network at the start, which rises to 1 by a cosine; unused by vicreg and mae."""
    collapse: Collapse

    @model_validator(mode="after")
    def _some_steps(self) -> "EncoderParams":
        if self.chips_per_epoch < self.batch_size:
            raise ValueError(
                f"chips_per_epoch {self.chips_per_epoch} fills no batch of {self.batch_size}; lower batch_size"
            )
        if self.warmup_epochs >= self.max_epochs:
            raise ValueError("warmup_epochs leaves no epoch for the rate to fall in; lower it")
        return self

    @property
    def steps(self) -> int:
        """Steps of the whole training; what fills no batch is left out."""
        return self.max_epochs * math.floor(self.chips_per_epoch / self.batch_size)
