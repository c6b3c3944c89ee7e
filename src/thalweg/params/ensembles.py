"""Section `ensembles`: which members make which map, how, and what is written of it."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from thalweg.params import Section

Doubt = Literal["entropy", "mutual_information", "margin", "disagreement"]
Blend = Literal["hann", "cosine", "linear", "crop", "none"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class Onto(_Part):
    """The map's grid."""

    crs: str = Field(min_length=1)
    """Anything that PROJ reads, such as EPSG:32633."""
    resolution_m: float = Field(gt=0)
    """Edge of a pixel, metres."""


class Tta(_Part):
    """Views of every window whose predictions are averaged."""

    views: Literal[1, 8]
    """1: as it is; 8: all flips and turns."""
    scales: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1)
    """Factors of the pixels' size; [1] for none but the window's own."""


class ThresholdRule(_Part):
    """A threshold per class, each against all others."""

    rule: Literal["f1", "recall", "fixed"]
    """f1: the best F1 on validation; recall: the best precision with at least `value` recall there; fixed: `value`."""
    value: float | None = Field(ge=0, le=1)

    @model_validator(mode="after")
    def _valued(self) -> "ThresholdRule":
        if (self.rule == "f1") != (self.value is None):
            raise ValueError("rule f1 takes the value null; recall and fixed take a value from 0 to 1")
        return self


class Promise(_Part):
    """An error rate to keep, chosen on validation and checked on test."""

    kind: Literal["sets", "abstain"]
    """sets: several classes where one would miss the truth too often; abstain: labels not to be believed where they
    would be wrong too often. Each is told in a band of uncertainty.tif; classes.tif keeps its labels."""
    error: float = Field(gt=0, lt=1)
    """sets: share of pixels whose set lacks the true class; abstain: share of wrong ones among the labels given."""


class PolygonRules(_Part):
    """Polygons of the classes."""

    min_area_m2: float = Field(ge=0)
    """Smaller patches go to their neighbours."""
    fill_m2: float = Field(ge=0)
    """Smaller gaps in the map are filled."""
    simplify_m: float = Field(ge=0)
    """Tolerance of the outlines; 0 keeps the pixels'."""
    formats: tuple[Literal["gpkg", "geojson", "geoparquet"], ...] = Field(min_length=1)


class LineRules(_Part):
    """Centrelines of one class."""

    model_config = ConfigDict(populate_by_name=True)

    name: str = Field(alias="class")
    """The class."""
    max_width_m: float = Field(gt=0)
    """Largest width of what is a line."""
    spur_widths: float = Field(ge=0)
    """Dead ends shorter than so many widths go."""
    min_length_m: float = Field(ge=0)
    """Connected lines shorter together go."""
    tolerance_m: float | None = Field(ge=0)
    """Of smoothing; null: a pixel."""
    formats: tuple[Literal["gpkg", "geojson", "geoparquet"], ...] = Field(min_length=1)


class Outputs(_Part):
    """What is written beside classes.tif and uncertainty.tif."""

    probs: Literal["uint8", "uint16"]
    """How probs.tif holds probabilities."""
    members: bool
    """members/<member>.tif: each member's own probabilities on the map's grid."""
    masks: bool
    """A binary mask per class, by its threshold."""
    polygons: PolygonRules | None
    lines: LineRules | None


class Ensemble(Section):
    """One map."""

    section: ClassVar[str] = "ensembles"

    members: tuple[str, ...] = Field(min_length=1)
    """Keys under `models` or `yardsticks`."""
    grid: str
    """Grid of the ensemble; members of other grids are brought onto it."""
    scenes: tuple[str, ...] = Field(min_length=1)
    """Globs on scene names: what is mapped. Where scenes overlap, probabilities are averaged: right for several dates
    of ground that stays, wrong where the classes move, as clouds do; then name one date."""
    area: str | None
    """Vector file in masks/areas: only ground inside is mapped, complete to its edge; null: all of the scenes."""
    onto: Onto | None
    """The map's grid; null: that of the first scene."""
    select: Literal["all", "greedy"]
    """greedy: members are added one by one, also twice, as long as validation gains by it."""
    reducer: str
    """File in src/thalweg/reducers/: how members are combined."""
    weights: dict[str, float] | None
    """Member → weight, for reducers that weigh; null: fitted on validation."""
    calibrate: Literal["none", "temperature", "vector"]
    """Of the ensemble, fitted on validation; kept only if it serves other ground."""
    tta: Tta
    overlaps: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = Field(min_length=1)
    """Shares of a window that overlap its neighbour: one sweep over the scene each, averaged."""
    blend: Blend
    """Weights of a window's pixels where windows overlap; crop: half of the overlap is cut off; none: all alike."""
    memory_gib: float = Field(gt=0)
    """For accumulators and batches, beside the model."""
    threshold: Literal["argmax", "iou"] | ThresholdRule
    """The most probable class; or of two classes the cut of the best IoU on validation; or a rule per class."""
    conformal: Promise | None
    uncertainty: tuple[Doubt, ...] = Field(min_length=1)
    """Bands of uncertainty.tif, in order."""
    outputs: Outputs

    @model_validator(mode="after")
    def _agreeing(self) -> "Ensemble":
        for name, values in (("members", self.members), ("uncertainty", self.uncertainty), ("overlaps", self.overlaps)):
            if len(set(values)) != len(values):
                raise ValueError(f"{name} should differ, got {', '.join(map(str, values))}")
        if self.weights is not None:
            if set(self.weights) != set(self.members):
                given = ", ".join(self.weights) or "none"
                raise ValueError(f"weights should name the members {', '.join(self.members)}, got {given}")
            if min(self.weights.values()) < 0 or not any(self.weights.values()):
                raise ValueError("weights should be 0 or more and not all 0")
            if self.select == "greedy":
                raise ValueError("greedy selection finds the members' weights itself; set weights to null")
        return self
