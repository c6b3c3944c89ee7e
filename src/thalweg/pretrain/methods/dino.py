"""DINO: small and wide views say of a place what a following network says of its wide views, over many soft classes.

Source: Caron et al. 2021, Emerging Properties in Self-Supervised Vision Transformers, https://arxiv.org/abs/2104.14294.
The following network is kept, as in the paper.
"""

import torch
from lightly.loss import DINOLoss
from lightly.models.modules.heads import ProjectionHead
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from thalweg.pretrain.encoder import Encoder
from thalweg.pretrain.method import Method, Outcome, Plan, Pooled, Views, follow, follower


class Options(BaseModel):
    """Of `options`."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    hidden: int = Field(ge=1)
    """Width of the head's hidden layers; 2048 in the paper."""
    bottleneck: int = Field(ge=1)
    """256 in the paper."""
    prototypes: int = Field(ge=2)
    """Soft classes; 65536 in the paper, less for small archives."""
    teacher_temperature: float = Field(gt=0)
    """0.04 in the paper."""
    warmup_temperature: float = Field(gt=0)
    """From which it moves there."""
    warmup_temperature_epochs: int = Field(ge=0)
    student_temperature: float = Field(gt=0)
    """0.1 in the paper."""
    freeze_epochs: int = Field(ge=0)
    """In which the last layer does not learn; 1 in the paper."""


class Head(nn.Module):
    """Three layers, then the cosine to every prototype: lightly's head, whose weight_norm torch deprecates."""

    def __init__(self, dim: int, options: Options, norms: bool) -> None:
        super().__init__()
        hidden = options.hidden

        def norm() -> nn.Module | None:
            return nn.BatchNorm1d(hidden) if norms else None

        self.narrow = ProjectionHead([(dim, hidden, norm(), nn.GELU()), (hidden, hidden, norm(), nn.GELU()),
                                      (hidden, options.bottleneck, None, None)])  # fmt: skip
        self.prototypes = nn.Parameter(nn.init.trunc_normal_(torch.empty(options.prototypes, options.bottleneck)))

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) to (B, prototypes)."""
        return F.linear(F.normalize(self.narrow(features), dim=1), F.normalize(self.prototypes, dim=1))


class Dino(Method):
    """Student and teacher."""

    multi_crop = True

    def __init__(self, encoder: Encoder, options: Options) -> None:
        super().__init__(encoder)
        self.head = Head(encoder.dim, options, norms=not encoder.tokens)
        self.student = Pooled(encoder, self.head)
        self.teacher = follower(self.student)
        self.criterion = DINOLoss(
            options.prototypes, options.warmup_temperature, options.teacher_temperature,
            options.warmup_temperature_epochs, options.student_temperature)  # fmt: skip
        self.frozen_epochs = options.freeze_epochs

    def step(self, views: Views, epoch: int) -> Outcome:
        """Cross-entropy of the teacher's wide views and all of the student's, but a view and itself."""
        self.head.prototypes.requires_grad_(epoch >= self.frozen_epochs)
        said = [self.teacher(view)[1].detach() for view in views.wide]
        made = [self.student(view) for view in (*views.wide, *views.small)]
        loss = self.criterion(said, [each[1] for each in made], epoch=epoch)
        return Outcome(loss, (made[0][0].detach(), made[1][0].detach()))

    def follow(self, momentum: float) -> None:
        """The teacher follows."""
        follow(self.student, self.teacher, momentum)

    @property
    def kept(self) -> Encoder:
        """The teacher's."""
        kept: Encoder = self.teacher.encoder  # type: ignore[assignment] # a copy of the student's
        return kept


def build(encoder: Encoder, options: Options, plan: Plan) -> Method:  # noqa: ARG001 - the methods' common form
    """DINO around an encoder."""
    return Dino(encoder, options)
