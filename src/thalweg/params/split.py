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


class Official(BaseModel):
    """Assignments as others published them, read from files below `split.input`."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    rules: str | None
    """Split rules of the crop system (YAML, ordered, with year, tile and patch filters), or null."""
    lists: dict[Literal["train", "val", "test"], str]
    """Part → text file with a name per line, or COCO JSON (`images[].file_name`); empty where `rules` is given."""
    tile_px: int | None = Field(gt=0)
    """Names are those of whole tiles `<scene>_<n>`, n counted from 0 row by row over the scene's pixels (the finest
    grid's), incomplete edge tiles included although they are no tiles (LandCover.ai: 512); null: names are scenes."""
    swap: bool
    """Exchange train and val at the end (the holdout member of the crop system)."""
    keep: dict[Literal["train", "val", "test"], Annotated[float, Field(gt=0, le=1)]]
    """Share of a part's names that is kept, at random, after duplicates are dropped; the rest is unused."""
    drop_duplicates: tuple[Literal["train", "val", "test"], ...]
    """Parts, in this order, that lose names which another part has, too; else such a name is an error."""
    missing: Literal["error", "report"]
    """What names without a delivered scene mean; `report` counts them in a warning."""

    @model_validator(mode="after")
    def _one_source(self) -> "Official":
        if (self.rules is None) == (not self.lists):
            raise ValueError("give either 'rules' or 'lists', and null or {} for the other")
        if self.rules is not None and self.tile_px is not None:
            raise ValueError("'tile_px' belongs to 'lists'; set it to null")
        return self


class Split(Section):
    """The spatial split, by ground position and in true metres."""

    section: ClassVar[str] = "split"

    input: str
    """The one path that DVC tracks: a folder of lists and rules, or any file that does not change."""
    unit: Literal["blocks", "cells", "scenes"]
    """What is dealt to the parts: blocks on the ground, the cells of each scene (torchbearer), or whole scenes."""
    cells: int | None = Field(gt=0)
    """Cells along each side of a scene, where `unit` is cells; else null."""
    stratify: Literal["classes", "elevation", "none"]
    """So that every part gets its share of the ground of every class, of every fifth of elevations (a grid needs the
    channel `elevation`), or nothing but its share of the ground."""
    official: Official | None
    """In place of rules and units: what the files name goes where they say; the rest is unused."""
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

    @model_validator(mode="after")
    def _consistent(self) -> "Split":
        if (self.cells is None) == (self.unit == "cells"):
            raise ValueError("'cells' is a number where 'unit' is cells, and else null")
        if self.official is not None and self.rules:
            raise ValueError("'official' decides on every scene; set 'rules' to []")
        return self
