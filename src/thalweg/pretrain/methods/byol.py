"""BYOL: a network predicts what its own moving average says of another view.

Source: Grill et al. 2020, Bootstrap Your Own Latent, https://arxiv.org/abs/2006.07733. The online network is kept.
"""

from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules.heads import BYOLPredictionHead, BYOLProjectionHead
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from thalweg.pretrain.encoder import Encoder
from thalweg.pretrain.method import Method, Outcome, Plan, Pooled, Views, follow, follower


class Options(BaseModel):
    """Of `options`."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    hidden: int = Field(ge=1)
    """Width of the heads' hidden layer; 4096 in the paper."""
    projection: int = Field(ge=1)
    """What is compared; 256 in the paper."""
    heads: bool
    """False takes projector and predictor away: then nothing keeps the features from becoming one and the same."""


class Byol(Method):
    """Symmetric: either view predicts the other."""

    def __init__(self, encoder: Encoder, options: Options) -> None:
        super().__init__(encoder)
        width = options.projection
        head = BYOLProjectionHead(encoder.dim, options.hidden, width) if options.heads else nn.Identity()
        self.online = Pooled(encoder, head)
        self.target = follower(self.online)
        self.predictor = BYOLPredictionHead(width, options.hidden, width) if options.heads else nn.Identity()
        self.criterion = NegativeCosineSimilarity()

    def step(self, views: Views, epoch: int) -> Outcome:  # noqa: ARG002 - the same in every epoch
        """2 − 2 cos, both ways, halved: 0 where predictions are right."""
        (features, one), (others, two) = (self.online(view) for view in views.wide)
        said = [self.target(view)[1].detach() for view in views.wide]
        loss = self.criterion(self.predictor(one), said[1]) + self.criterion(self.predictor(two), said[0])
        return Outcome(2 + loss, (features.detach(), others.detach()))

    def follow(self, momentum: float) -> None:
        """The target follows."""
        follow(self.online, self.target, momentum)


def build(encoder: Encoder, options: Options, plan: Plan) -> Method:  # noqa: ARG001 - the methods' common form
    """BYOL around an encoder."""
    return Byol(encoder, options)
