"""Section `split`: which ground trains, validates and tests."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from thalweg.params import Section

PartName = Literal["train", "val", "test", "unused"]


class Rule(BaseModel):
    """Assigns whole scenes to a part; the first rule that fits a scene counts."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    part: PartName
    scene: str | None
    """Glob on the scene's name, or null."""
    mask: str | None
    """Glob on the path of the scene's mask below `masks.input`, or null."""

    @model_validator(mode="after")
    def _one_of(self) -> "Rule":
        if (self.scene is None) == (self.mask is None):
            raise ValueError("give either 'scene' or 'mask', and null for the other")
        return self


class Fractions(BaseModel):
    """Shares of the blocks that no rule assigns."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    train: float = Field(ge=0, le=1)
    val: float = Field(ge=0, le=1)
    test: float = Field(ge=0, le=1)

    @model_validator(mode="after")
    def _sum_to_one(self) -> "Fractions":
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError(f"train + val + test should be 1, not {self.train + self.val + self.test:g}")
        return self


class Split(Section):
    """The spatial split, by ground position and in true metres."""

    section: ClassVar[str] = "split"

    seed: int = Field(ge=0)
    block_m: float = Field(gt=0)
    """Edge of a block on the ground, metres."""
    buffer_m: float = Field(ge=0)
    """Least ground distance between pixels of two parts, metres."""
    fractions: Fractions
    rules: tuple[Rule, ...]
    """Official or hand-made assignments of whole scenes, before the blocks."""
    yields: Literal["train", "test", "none"]
    """Which part gives up pixels within the buffer: `train` (train to val and test, val to test), `test` (test to
    both, val to train), or `none` (nothing is cut: a leak fails or is reported)."""
    leak: Literal["fail", "report"]
    """What ground of two parts closer than the buffer means."""
    chip_px: dict[str, Annotated[int, Field(gt=0)]]
    """Edge of a chip per grid, pixels."""
