"""Masked autoencoder: a vision transformer sees some patches, a small decoder says what the others held.

Source: He et al. 2022, Masked Autoencoders Are Scalable Vision Learners, https://arxiv.org/abs/2111.06377; here the
loss is over measured values of masked patches alone.
"""

from typing import Any

import torch
from lightly.models.modules.masked_vision_transformer_decoder_timm import MaskedVisionTransformerDecoderTIMM
from lightly.models.utils import get_at_index, patchify, random_token_mask, set_at_index
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from thalweg.pretrain.encoder import Encoder
from thalweg.pretrain.method import Method, Outcome, Plan, Views
from thalweg.pretrain.views import Look


class Options(BaseModel):
    """Of `options`."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    mask: float = Field(gt=0, lt=1)
    """Share of the patches that is hidden; 0.75 in the paper."""
    width: int = Field(ge=8)
    """Of the decoder; 512 in the paper."""
    blocks: int = Field(ge=1)
    """Of the decoder; 8 in the paper."""
    heads: int = Field(ge=1)
    """Of the decoder's attention, of which the width is a multiple; 16 in the paper."""


class Mae(Method):
    """One view."""

    looks = (Look(0, 0, 0),)

    def __init__(self, encoder: Encoder, options: Options, plan: Plan) -> None:
        super().__init__(encoder)
        if not encoder.tokens:
            raise ValueError("only a vision transformer leaves patches out: give one, such as tu-vit_tiny_patch16_224")
        if options.width % options.heads:
            raise ValueError(f"width {options.width} is no multiple of heads {options.heads}")
        self.patch = encoder.stride
        count = (plan.crops.wide_px // self.patch) ** 2
        self.prefix = int(encoder.trunk.num_prefix_tokens)
        if self.prefix != 1:
            raise ValueError("the vision transformer should have one class token and no other beside its patches")
        self.narrow = nn.Linear(encoder.dim, options.width)
        self.decoder = MaskedVisionTransformerDecoderTIMM(count, options.width, options.blocks, options.heads)
        self.predict = nn.Linear(options.width, self.patch**2 * plan.channels)
        self.mask = options.mask

    def step(self, views: Views, epoch: int) -> Outcome:  # noqa: ARG002 - the same in every epoch
        """Mean squared error of z-scores."""
        [view] = views.wide
        trunk: Any = self.encoder.trunk
        tokens = trunk._pos_embed(trunk.patch_embed(view.inputs))
        keep, hidden = random_token_mask(tokens.shape[:2], self.mask, device=tokens.device)
        encoded = trunk.norm(trunk.blocks(trunk.norm_pre(get_at_index(tokens, keep))))
        narrow = self.narrow(encoded)
        every = set_at_index(narrow.new_zeros(*tokens.shape[:2], narrow.shape[-1]), keep, narrow)
        said = self.predict(get_at_index(self.decoder(every, idx_mask=hidden), hidden))
        truth = get_at_index(patchify(view.inputs, self.patch), hidden - self.prefix)
        measured = get_at_index(patchify(view.measured.to(truth), self.patch), hidden - self.prefix)
        return Outcome(masked_error(said, truth, measured), (encoded[:, self.prefix :].mean(1).detach(),))


def masked_error(said: Tensor, truth: Tensor, measured: Tensor) -> Tensor:
    """Mean squared error over what was measured; 0 where nothing was."""
    return torch.sum((said - truth) ** 2 * measured) / measured.sum().clamp(min=1)


def build(encoder: Encoder, options: Options, plan: Plan) -> Method:
    """A masked autoencoder around a vision transformer."""
    return Mae(encoder, options, plan)
