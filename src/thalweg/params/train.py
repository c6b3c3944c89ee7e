"""Section `train`: what all members share, mostly the machine."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from thalweg.params import Section


class Train(Section):
    """Passed on to Lightning's Trainer."""

    section: ClassVar[str] = "train"

    accelerator: Literal["auto", "cpu", "cuda", "mps"]
    devices: int = Field(ge=1)
    """Processes of one machine that train a member together, each on a device, or on its share of the CPU's cores."""
    num_nodes: int = Field(ge=1)
    """Machines; with more than one, torchrun or srun starts the processes, and all see one file system."""
    strategy: Literal["auto", "ddp", "ddp_find_unused_parameters_true", "fsdp"]
    """Of several processes. `auto` and `ddp`: every one holds the whole network. `ddp_find_unused_parameters_true`: for
    architectures of which a step may leave weights unused. `fsdp`: every one holds a share of each weight, of its
    gradient and of the optimiser's state, for networks that fill a device."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
    """`auto`: bfloat16 where the device computes in it, else float16 on cards with tensor cores, else float32."""
    compile: bool
    """Whether torch.compile makes the network's steps faster, at the cost of a minute at the start."""
    channels_last: bool
    """Memory order of convolutions: faster on tensor cores and on CPUs. With `fsdp`, that of their inputs alone."""
    workers: int = Field(ge=0)
    """Loader processes; 0 reads in the training process, right for memory-mapped scenes on few cores."""
    loggers: tuple[Literal["csv", "tensorboard", "wandb", "mlflow", "comet"], ...]
    """Where curves go, beside the history; the last three are extras, and stay offline unless their own environment
    variables (WANDB_MODE, MLFLOW_TRACKING_URI, COMET_API_KEY) say otherwise."""
    watch: tuple[Literal["panels", "samples", "system", "histograms"], ...]
    """What a run's folder shows. `panels`: the same chips after each epoch. `samples`: the first augmented batch.
    `system`: cores, memory and device per epoch. `histograms`: of weights and gradients, for TensorBoard."""
    profiler: Literal["simple", "torch"] | None
    """`simple`: Lightning's table of hooks; `torch`: a trace of some steps for Perfetto or chrome://tracing."""

    @model_validator(mode="after")
    def _histograms_have_a_home(self) -> "Train":
        if "histograms" in self.watch and "tensorboard" not in self.loggers:
            raise ValueError("histograms go to tensorboard: name it in loggers, or take histograms out of watch")
        return self
