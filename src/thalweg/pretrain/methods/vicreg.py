"""VICReg: views agree (invariance), every feature varies over chips (variance), no two say the same (covariance).

Source: Bardes, Ponce, LeCun 2022, https://arxiv.org/abs/2105.04906. With `dense` above 0 the same is asked of the cells
of feature maps that show the same ground, as in VICRegL (Bardes, Ponce, LeCun 2022, https://arxiv.org/abs/2210.01571,
its location-based half): what segmentation needs.
"""

import torch
from lightly.loss import VICRegLoss
from lightly.models.modules.heads import VICRegProjectionHead
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from thalweg.pretrain.encoder import Encoder, pooled
from thalweg.pretrain.method import Method, Outcome, Plan, Views
from thalweg.pretrain.views import matched

_CELLS = 4096
"""Of all pairs of cells of a batch, at most so many enter the loss, an even choice."""


class Options(BaseModel):
    """Of `options`."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    hidden: int = Field(ge=1)
    """Width of the head's hidden layers; 8192 in the paper."""
    projection: int = Field(ge=1)
    """8192 in the paper."""
    invariance: float = Field(ge=0)
    """25 in the paper."""
    variance: float = Field(ge=0)
    """25 in the paper."""
    covariance: float = Field(ge=0)
    """1 in the paper."""
    dense: float = Field(ge=0, le=1)
    """Share of the loss that is of cells; 0.75 in VICRegL, 0 without."""
    level: int = Field(ge=1)
    """Which of the encoder's maps the cells are of, from 1, the finest."""


class Vicreg(Method):
    """One network, two views."""

    def __init__(self, encoder: Encoder, options: Options) -> None:
        super().__init__(encoder)
        if options.level > len(encoder.dims):
            raise ValueError(f"level {options.level} is beyond the encoder's {len(encoder.dims)} maps")
        width = (options.hidden, options.projection)
        self.head = VICRegProjectionHead(encoder.dim, *width)
        self.cell_head = VICRegProjectionHead(encoder.dims[options.level - 1], *width) if options.dense else None
        self.level, self.dense = options.level - 1, options.dense
        self.criterion = VICRegLoss(options.invariance, options.variance, options.covariance)

    def step(self, views: Views, epoch: int) -> Outcome:  # noqa: ARG002 - the same in every epoch
        """The sum of the three terms, of chips and of cells by their share."""
        one, two = views.wide
        maps = [self.encoder(view.inputs) for view in (one, two)]
        features = [pooled(levels[-1], view.valid) for levels, view in zip(maps, (one, two), strict=True)]
        loss = (1 - self.dense) * self.criterion(*(self.head(each) for each in features))
        if self.cell_head is not None:
            cells = matched(one, two, [levels[self.level] for levels in maps])
            if len(cells[0]) > 1:
                loss = loss + self.dense * self.criterion(*(self.cell_head(some(each)) for each in cells))
        return Outcome(loss, (features[0].detach(), features[1].detach()))


def some(cells: Tensor) -> Tensor:
    """At most `_CELLS` of the cells (N, D), evenly spread."""
    if len(cells) <= _CELLS:
        return cells
    return cells[torch.arange(_CELLS, device=cells.device) * len(cells) // _CELLS]


def build(encoder: Encoder, options: Options, plan: Plan) -> Method:  # noqa: ARG001 - the methods' common form
    """VICReg around an encoder."""
    return Vicreg(encoder, options)
