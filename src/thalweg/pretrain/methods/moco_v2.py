"""MoCo v2: a view is told from those of other places by its likeness to a second view; keys wait in a queue.

Sources: He et al. 2020, https://arxiv.org/abs/1911.05722; Chen et al. 2020, https://arxiv.org/abs/2003.04297. Keys go
through the following network in two shuffled halves, so that batch statistics do not give the pair away (section 3.3
of the first, for one device). Keys of chips that share ground are no negatives.
"""

import torch
from lightly.models.modules.heads import MoCoProjectionHead
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

from thalweg.pretrain.encoder import Encoder
from thalweg.pretrain.method import Method, Outcome, Plan, Pooled, Views, follow, follower
from thalweg.pretrain.queue import Queue, info_nce
from thalweg.pretrain.views import View


class Options(BaseModel):
    """Of `options`."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    hidden: int = Field(ge=1)
    """Width of the head's hidden layer; 2048 in the paper."""
    projection: int = Field(ge=1)
    """What is compared; 128 in the paper."""
    queue: int = Field(ge=1)
    """Keys that are kept; 65536 in the paper, less where there are few places."""
    temperature: float = Field(gt=0)
    """0.2 in the paper."""


class MocoV2(Method):
    """The first view asks, the second is the key."""

    def __init__(self, encoder: Encoder, options: Options, plan: Plan) -> None:
        super().__init__(encoder)
        self.asking = Pooled(encoder, MoCoProjectionHead(encoder.dim, options.hidden, options.projection))
        self.answering = follower(self.asking)
        self.queue = Queue(options.queue, options.projection, plan.crops.chip_m)
        self.temperature = options.temperature

    def step(self, views: Views, epoch: int) -> Outcome:  # noqa: ARG002 - the same in every epoch
        """InfoNCE against the queue, which then takes the keys."""
        features, asked = self.asking(views.wide[0])
        others, keys = shuffled_halves(self.answering, views.wide[1])
        keys = F.normalize(keys, dim=1)
        loss = info_nce(F.normalize(asked, dim=1), keys[:, None], self.queue.keys.clone(),
                        self.queue.strangers(views.places_m), self.temperature)  # fmt: skip
        self.queue.add(keys, views.places_m)
        return Outcome(loss, (features.detach(), others))

    def follow(self, momentum: float) -> None:
        """The answering network follows."""
        follow(self.asking, self.answering, momentum)


@torch.no_grad()
def shuffled_halves(network: torch.nn.Module, view: View) -> tuple[Tensor, Tensor]:
    """What a network makes of a view, in two halves of a random order, back in the view's order."""
    order = torch.randperm(len(view.inputs)).to(view.inputs.device)
    halves = [part for part in order.chunk(2 if len(order) >= 4 else 1) if len(part)]
    made = [network(View(*(tensor[half] for tensor in view))) for half in halves]
    back = torch.argsort(order)
    return torch.cat([each[0] for each in made])[back], torch.cat([each[1] for each in made])[back]


def build(encoder: Encoder, options: Options, plan: Plan) -> Method:
    """MoCo v2 around an encoder."""
    return MocoV2(encoder, options, plan)
