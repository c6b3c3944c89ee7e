"""Seasonal contrast: three spaces, one that heeds neither season nor light and crop, one for each that it heeds.

Source: Mañas et al. 2021, Seasonal Contrast, https://arxiv.org/abs/2103.16607, section 3.2. The query and its keys are
one place: k0 at the other date by another draw, k1 at the other date by the query's draw, k2 at the query's date by
another draw. The first space takes all for positives, the second k1 alone (it heeds the draw), the third k2 alone (it
heeds the date); what is no positive is a negative there. Wants `positives: dates`.
"""

import torch
from lightly.models.modules.heads import MoCoProjectionHead
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from thalweg.pretrain.encoder import Encoder, pooled
from thalweg.pretrain.method import Method, Outcome, Plan, Views, follow, follower
from thalweg.pretrain.queue import Queue, info_nce
from thalweg.pretrain.views import Look, View

POSITIVES = ((0, 1, 2), (1,), (2,))
"""Per space its keys."""


class Options(BaseModel):
    """Of `options`."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    hidden: int = Field(ge=1)
    projection: int = Field(ge=1)
    """Of each space; 128 in the paper."""
    queue: int = Field(ge=1)
    """Keys that each space keeps; 16384 in the paper."""
    temperature: float = Field(gt=0)
    """0.07 in the paper."""


class Spaces(nn.Module):
    """An encoder and three heads."""

    def __init__(self, encoder: Encoder, options: Options) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleList(
            MoCoProjectionHead(encoder.dim, options.hidden, options.projection) for _ in POSITIVES
        )

    def forward(self, view: View) -> tuple[Tensor, Tensor]:
        """Features (B, D) and their unit-length images (B, 3, P)."""
        features = pooled(self.encoder(view.inputs)[-1], view.valid)
        return features, F.normalize(torch.stack([head(features) for head in self.heads], 1), dim=2)


class Seasonal(Method):
    """Momentum contrast in three spaces."""

    looks = (Look(0, 0, 0), Look(1, 1, 1), Look(1, 0, 0), Look(0, 2, 2))
    seasons = True

    def __init__(self, encoder: Encoder, options: Options, plan: Plan) -> None:
        super().__init__(encoder)
        self.asking = Spaces(encoder, options)
        self.answering = follower(self.asking)
        self.queues = nn.ModuleList(Queue(options.queue, options.projection, plan.crops.chip_m) for _ in POSITIVES)
        self.temperature = options.temperature

    def step(self, views: Views, epoch: int) -> Outcome:  # noqa: ARG002 - the same in every epoch
        """The mean of the three spaces' losses."""
        features, asked = self.asking(views.wide[0])
        with torch.no_grad():
            made = [self.answering(view) for view in views.wide[1:]]
        keys = torch.stack([each[1] for each in made], 1)  # (B, 3 keys, 3 spaces, P)
        losses = [self._loss(asked[:, k], keys[:, :, k], k, views.places_m) for k in range(len(POSITIVES))]
        for k, queue in enumerate(self.queues):
            queue.add(keys[:, 0, k], views.places_m)  # type: ignore[operator] # a Queue
        return Outcome(torch.stack(losses).mean(), (features.detach(), made[0][0]))

    def follow(self, momentum: float) -> None:
        """The answering network follows."""
        follow(self.asking, self.answering, momentum)

    def _loss(self, asked: Tensor, keys: Tensor, space: int, places_m: Tensor) -> Tensor:
        queue: Queue = self.queues[space]  # type: ignore[assignment] # of a ModuleList
        near = list(POSITIVES[space])
        far = [k for k in range(keys.shape[1]) if k not in near]
        own = keys[:, far]
        negatives = torch.cat([own, queue.keys.clone()[None].expand(len(asked), -1, -1)], 1)
        strangers = torch.cat([own.new_ones(own.shape[:2], dtype=torch.bool), queue.strangers(places_m)], 1)
        return info_nce(asked, keys[:, near], negatives, strangers, self.temperature)


def build(encoder: Encoder, options: Options, plan: Plan) -> Method:
    """Seasonal contrast around an encoder."""
    return Seasonal(encoder, options, plan)
