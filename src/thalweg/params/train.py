"""Section `train`: what all members share, mostly the machine."""

from typing import ClassVar, Literal

from pydantic import Field

from thalweg.params import Section


class Train(Section):
    """Passed on to Lightning's Trainer."""

    section: ClassVar[str] = "train"

    accelerator: Literal["auto", "cpu", "cuda", "mps"]
    devices: int = Field(ge=1)
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    workers: int = Field(ge=0)
    """Loader processes; 0 reads in the training process, right for memory-mapped scenes on few cores."""
