"""Section `models`: one block per member of the ensemble-to-be."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from thalweg.params import Section
from thalweg.params.active import Active

Calibrate = Literal["none", "temperature", "vector"]
"""`temperature`: one number for all classes; `vector`: a scale and a shift per class (thalweg/calibrate.py)."""


class ClassWeights(BaseModel):
    """Weights of the classes in the cross-entropy, from their training pixels: thalweg/class_weights.py."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    formula: Literal["inverse", "inverse_sqrt", "balanced", "effective", "median", "given"]
    """1/f and 1/√f with a mean of 1; `balanced` 1/(K f) as it is; `effective` number of samples (Cui et al. 2019);
    `median` frequency (Eigen and Fergus 2015); or a list of one's own."""
    beta: float | None = Field(ge=0, lt=1)
    """Of `effective`, say 0.999; else null."""
    blend: float = Field(ge=0, le=1)
    """Share of the formula's weights; the rest is 1 for every class."""
    cap: float | None = Field(gt=0)
    """No weight is larger; null for no bound."""
    given: tuple[Annotated[float, Field(ge=0)], ...]
    """Of `given`: one per class; else empty."""

    @model_validator(mode="after")
    def _fit(self) -> "ClassWeights":
        if (self.formula == "effective") != (self.beta is not None):
            raise ValueError("give 'beta' with the formula effective, and null with any other")
        if (self.formula == "given") != bool(self.given):
            raise ValueError("list weights under 'given' with the formula given, and [] with any other")
        if self.given and self.blend == 1 and not any(self.given):
            raise ValueError("all weights under 'given' are 0, so that nothing would be learned; give one above 0")
        return self


class Plateau(BaseModel):
    """The rate falls when validation stops getting better (ReduceLROnPlateau on `val_miou`)."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    name: Literal["plateau"]
    factor: float = Field(gt=0, lt=1)
    """By which the rate is multiplied."""
    patience: int = Field(ge=0)
    """Epochs without a better score before it falls."""
    threshold: float = Field(ge=0)
    """Relative gain that counts as better."""
    min_lr: float = Field(ge=0)


class Steps(BaseModel):
    """The rate falls by a factor every so many epochs."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    name: Literal["step"]
    factor: float = Field(gt=0, lt=1)
    epochs: int = Field(ge=1)


class Oversample(BaseModel):
    """Windows that show rare classes are drawn more often."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    classes: tuple[str, ...] = Field(min_length=1)
    """The rare ones."""
    share: float = Field(gt=0, lt=1)
    """Of an epoch's windows, at least this share is drawn from rows of the chip table that hold one of them."""


class Holdout(BaseModel):
    """Blocks of the *training* part that are set aside for a member that judges another."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    share: float = Field(gt=0, lt=1)
    """Of the training blocks."""
    seed: int = Field(ge=0)
    """The same in both members, so that they share no block."""
    use: Literal["holdout", "rest"]
    """The judge trains on the blocks set aside, the judged on the rest."""


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
    loss: dict[str, float | dict[str, Any]] = Field(min_length=1)
    """File names in src/thalweg/losses/ → weight in the sum, or → `{weight: 1.0, <option>: …}`."""
    class_weights: Annotated[
        Annotated[Literal["none", "inverse_sqrt"], Tag("name")] | Annotated[ClassWeights, Tag("mapping")],
        Discriminator(lambda given: "mapping" if isinstance(given, (dict, ClassWeights)) else "name"),
    ]
    """Weights of the cross-entropy by training pixels: none, 1/sqrt(share) with a mean of 1, or a formula's."""
    augment: dict[
        Literal["d4", "rotate", "resized_crop", "jitter", "gain", "noise", "band_dropout", "cutmix", "mixup"],
        Annotated[float, Field(ge=0)],
    ]
    """Name → strength. `d4`: 1, the eight flips and turns. `rotate`: degrees, up to ±. `resized_crop`: least share of a
    chip's area that is zoomed to its size. `jitter`: brightness and contrast of reflectance, up to ± this share.
    `gain`: deviation of gain and offset per channel. `noise`: deviation per value, in standard deviations of a channel.
    `band_dropout`: probability that a channel is missing. `cutmix`: probability that a box of another chip is pasted
    in. `mixup`: α of the Beta distribution of the share. 0 leaves one out."""
    chip_px: int = Field(ge=8)
    """Edge of a training chip, pixels."""
    chips_per_epoch: int = Field(ge=1)
    """Windows of an epoch; a remainder that fills no batch is left out."""
    sampler: Literal["random", "grid"]
    """`random`: rows of the chip table in proportion to their labelled pixels, each window moved at random. `grid`: a
    lattice of windows over the rows, each once, in a new order, before any comes again."""
    least_valid: float = Field(ge=0, le=1)
    """Rows whose valid fraction is lower are not trained on."""
    oversample: Oversample | None
    """Null draws rare classes as often as they come."""
    train_prop: float | None = Field(gt=0, le=1)
    """Share of the training rows whose labels are used, chosen by the seed so that rows of rare classes have their
    share; a smaller share is part of a larger. Null: all."""
    train_count: int | None = Field(ge=1)
    """Or their number. Normalisation and class weights stay those of all training pixels."""
    area: tuple[tuple[float, float], ...] | None = Field(min_length=3)
    """Corners [longitude, latitude] of a polygon; only rows whose centre lies in it are trained on. Null: all."""
    batch_size: int = Field(ge=1)
    """Chips of a step, of all processes together (`train.devices`), so that `lr` means the same for any number."""
    max_epochs: int = Field(ge=1)
    patience: int = Field(ge=1)
    """Epochs without a better `val_miou` before training stops."""
    keep: Literal["best", "last"]
    """Which epoch's weights become the model: best `val_miou`, or the last (one-cycle ends at its best)."""
    optimizer: Literal["adamw", "adam", "sgd"]
    """`sgd` has Nesterov momentum 0.9."""
    lr: Annotated[float, Field(gt=0)] | Literal["auto"]
    """Highest rate of the schedule; `auto` takes it from a range test before training and records it."""
    weight_decay: float = Field(ge=0)
    schedule: Literal["one_cycle", "cosine", "constant"] | Plateau | Steps
    """`one_cycle` rises for a quarter and falls to nothing, `cosine` falls to nothing, both step by step."""
    warmup_epochs: float = Field(ge=0)
    """Epochs in which the rate rises from nothing before its schedule starts; 0 with one_cycle, which rises itself."""
    clip_norm: float | None = Field(gt=0)
    """Gradients longer than this are scaled down to it; null leaves them."""
    accumulate: int = Field(ge=1)
    """Batches whose gradients are averaged for one step: a large batch in little memory."""
    ema: float | None = Field(gt=0, lt=1)
    """Decay per step of the moving average of weights that is validated and kept instead of the last; null for none."""
    freeze: tuple[str | int, ...]
    """Stages of the architecture that do not learn, from the input on: [stem, 1, 2]."""
    thaw_epochs: int | None = Field(ge=1)
    """After so many epochs the last frozen stage learns, too, after as many again the one before; null for never."""
    prior_bias: bool
    """Whether the last layer starts from the classes' shares, which training then need not learn."""
    calibrate: Calibrate
    """How logits are scaled after training, fitted on validation ground and kept only if other ground gains by it."""
    after: str
    """What must be there first: an encoder's or a holdout member's folder, `models/<member>`; masks/none.yaml: none."""
    holdout: Holdout | None
    """Null trains on all blocks of the training part."""
    active: Active | None
    """Null trains on every chip that is drawn."""
    window_px: int = Field(ge=8)
    """Edge of a window when areas are predicted; larger than a chip gives more context and fewer borders."""
    overlap: float = Field(ge=0, lt=1)
    """Share of a window that overlaps its neighbour when held-out areas are predicted."""

    @model_validator(mode="after")
    def _a_judge(self) -> "Member":
        if self.active is None:
            return self
        named = self.after.startswith("models/")
        if self.active.judge == "after" and not named:
            raise ValueError("active.judge is after, but 'after' names no member; give models/<member>, or judge: self")
        if self.compares and not named:
            raise ValueError(
                f"{' and '.join(self.compares)} needs a holdout member; name its folder in 'after': models/<member>"
            )
        if self.active.warmup_epochs >= self.max_epochs:
            raise ValueError(
                f"active.warmup_epochs {self.active.warmup_epochs} leaves none of max_epochs {self.max_epochs} to "
                "choose in; lower it, or set active to null"
            )
        return self

    @property
    def compares(self) -> tuple[str, ...]:
        """Scores of `active` that compare with a member which must not have seen these chips."""
        return tuple(name for name in ("irreducible_loss", "rho_loss") if self.active and name in self.active.scores)

    @model_validator(mode="after")
    def _one_rise(self) -> "Member":
        if self.schedule == "one_cycle" and self.warmup_epochs:
            raise ValueError("one_cycle rises by itself: set warmup_epochs to 0, or take schedule: cosine")
        return self

    @model_validator(mode="after")
    def _strengths_are_shares(self) -> "Member":
        for name in ("d4", "resized_crop", "jitter", "band_dropout", "cutmix"):
            if self.augment.get(name, 0) > 1:
                raise ValueError(f"augment.{name} is a share: give at most 1, not {self.augment[name]:g}")
        return self

    @model_validator(mode="after")
    def _one_choice_of_chips(self) -> "Member":
        if self.train_prop is not None and self.train_count is not None:
            raise ValueError("give train_prop or train_count, and null for the other")
        if self.sampler == "grid" and self.oversample is not None:
            raise ValueError("a grid shows every window equally often: set oversample to null, or sampler to random")
        if self.thaw_epochs is not None and not self.freeze:
            raise ValueError("nothing is frozen that could thaw: set thaw_epochs to null, or name stages in freeze")
        return self
