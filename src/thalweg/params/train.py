"""Section `train`: what all members share, mostly the machine."""

from typing import ClassVar, Literal

from pydantic import Field

from thalweg.params import Section


class Train(Section):
    """Passed on to Lightning's Trainer."""

    section: ClassVar[str] = "train"

    accelerator: Literal["auto", "cpu", "cuda", "mps"]
    devices: int = Field(ge=1)
    num_nodes: int = Field(ge=1)
    strategy: str
    """Lightning's: `auto`, `ddp`, `fsdp`."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
    """`auto`: bfloat16 where the device computes in it, else float16 on cards with tensor cores, else float32."""
    compile: bool
    """Whether torch.compile makes the network's steps faster, at the cost of a minute at the start."""
    channels_last: bool
    """Memory order of convolutions: faster on tensor cores and on CPUs."""
    workers: int = Field(ge=0)
    """Loader processes; 0 reads in the training process, right for memory-mapped scenes on few cores."""
