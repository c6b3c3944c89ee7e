"""Block `active` of a member: which chips of a pool it trains on."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Active(BaseModel):
    """Online selection of labelled chips."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    scores: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(min_length=1)
    """File names in src/thalweg/active/scores/ → weight in the sum, not 0."""
    pool: int = Field(ge=2)
    """Chips looked at per chip trained."""
    every: int = Field(ge=1)
    """Batches that one look at a pool chooses: the larger, the staler."""
    temperature: float = Field(ge=0)
    """0 takes the best; above, chips are drawn in proportion to exp(standardised score / temperature)."""
    warmup_epochs: int = Field(ge=0)
    """Epochs without any choice, before a network's judgement is worth anything."""
    diversity: float = Field(ge=0)
    """Weight of a chip's distance, in features, to those that are taken already; 0 for none."""
    judge: Literal["self", "after"]
    """Who scores: the network as it learns, or, frozen and maybe smaller, the member that `after` names."""
    precision: Literal["32", "bf16"]
    """Of the looking alone."""
    passes: int = Field(ge=2)
    """Of the score `bald`, with dropout."""

    @field_validator("scores")
    @classmethod
    def _weigh_something(cls, scores: dict[str, float]) -> dict[str, float]:
        if idle := [name for name, weight in scores.items() if not weight]:
            raise ValueError(f"{', '.join(idle)} has weight 0 and would choose nothing; leave it out, or weigh it")
        return scores
