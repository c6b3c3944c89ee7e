"""The Lightning module of pre-training: views of a batch, one step, a network that follows, and the watch."""

from typing import Any

import lightning.pytorch as pl
import torch
from lightly.models.utils import get_weight_decay_parameters
from lightly.utils.scheduler import cosine_schedule, cosine_warmup_schedule
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from thalweg.dataset import augment
from thalweg.errors import TrainingError
from thalweg.manifest.scene import NODATA
from thalweg.models import Network
from thalweg.params.encoders import EncoderParams
from thalweg.pretrain import collapse
from thalweg.pretrain.method import Method, Views
from thalweg.pretrain.views import Light, Look, View, crop_places, look, relit

Batch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
"""Pixels (B, H, W, C) of the first and of the second date, where they lie (B, 3), whether these are two (B,), pixel
sizes of both in metres (B,)."""
WATCHED = 1024
"""Chips of an epoch whose features are watched, the first of each."""
LEAST_VIEW = 0.1
"""Chips one of whose views shows less measured ground are left out of a step."""
_REDRAWN = 7
"""How often a small view that shows less is drawn anew."""
_SMALL = 1000
"""First number of the draws of small views, beyond those that methods use."""


class PretrainTask(pl.LightningModule):
    """Logs per epoch `loss`, `lr`, `momentum` and the figures of the watch."""

    def __init__(self, name: str, params: EncoderParams, network: Network, light: Light) -> None:
        """Takes a network whose architecture is the method."""
        super().__init__()
        self.name, self.params, self.network, self.light = name, params, network, light
        self.skipped = 0
        self._features: list[tuple[Tensor, ...]] = []

    @property
    def method(self) -> Method:
        """What learns."""
        method: Method = self.network.architecture  # type: ignore[assignment] # as it was given
        return method

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """One step; all that is random in it follows from (seed, epoch, step). None where nothing is to be seen.

        Raises:
            TrainingError: The loss is not finite.
        """
        random = augment.generator(self.params.seed, self.current_epoch, batch_idx)
        torch.manual_seed(random.initial_seed())  # masks and shuffles, which draw from torch's own generator
        views = self.views(batch, random)
        if views is None:
            self.skipped += 1
            return None
        outcome = self.method.step(views, self.current_epoch)
        if not torch.isfinite(outcome.loss):
            raise TrainingError(
                f"encoders.{self.name}: the loss is {outcome.loss.item()} in epoch {self.current_epoch}, step "
                f"{batch_idx}; lower its lr (now {self.params.lr:g}), or set train.precision to 32-true"
            )
        if sum(len(each[0]) for each in self._features) < WATCHED:
            self._features.append(tuple(each.float().cpu() for each in outcome.features))
        self.log("loss", outcome.loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(views.places_m))
        return outcome.loss

    @torch.no_grad()
    def views(self, batch: Batch, random: torch.Generator) -> Views | None:
        """What the method looks at, of chips that show enough; None of fewer than two."""
        pixels, (places_m, paired), sizes = batch[:2], batch[2:4], batch[4:]
        with torch.autocast(self.device.type, enabled=False):  # where pixels move to does not fit 16 bits
            dates = [(self.network.normalise(each), _measured(each)) for each in pixels]
            streams = torch.randint(2**62, (2 * (_SMALL + self.params.crops.small),), generator=random).tolist()
            small = [Look(k % 2, _SMALL + k, _SMALL + k) for k in range(self.params.crops.small)]
            made = [self._view(one, dates[one.date], sizes[one.date], streams, wide=True) for one in self.method.looks]
            more = [self._view(one, dates[one.date], sizes[one.date], streams, wide=False) for one in small]
        kept = torch.stack([_shows(view) >= LEAST_VIEW for view in (*made, *more)]).all(0)
        if self.method.seasons:
            kept &= paired
        if int(kept.sum()) < 2:
            return None
        if not bool(kept.all()):
            made, more = ([View(*(part[kept] for part in view)) for view in each] for each in (made, more))
        return Views(made, more, places_m[kept])

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """One step, after which the second network follows."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.method.follow(self.momentum(self.trainer.global_step))

    def momentum(self, step: int) -> float:
        """1 − (1 − ema) (cos(π step / (steps − 1)) + 1) / 2.

        Source: Grill et al. 2020, BYOL, https://arxiv.org/abs/2006.07733, section 3.3.
        """
        return float(cosine_schedule(min(step, self.params.steps), self.params.steps, self.params.ema, 1.0))

    def on_train_epoch_end(self) -> None:
        """Logs the rate, the momentum and what the watch saw."""
        self.log("lr", float(self.trainer.optimizers[0].param_groups[0]["lr"]))
        self.log("momentum", self.momentum(self.trainer.global_step - 1))
        self.log_dict(self.watched())
        self._features = []

    def watched(self) -> dict[str, float]:
        """The figures of this epoch's features.

        Raises:
            TrainingError: No step saw anything.
        """
        if not self._features:
            raise TrainingError(
                f"encoders.{self.name}: no batch of epoch {self.current_epoch} showed measured ground in every view; "
                "raise least_valid"
            )
        columns = [torch.cat(column)[:WATCHED] for column in zip(*self._features, strict=True)]
        return collapse.figures(columns[0], columns[1] if len(columns) > 1 else None)

    def configure_optimizers(self) -> Any:
        """AdamW, its rate risen and fallen step by step."""
        decayed, others = get_weight_decay_parameters([self.method])
        groups: list[dict[str, Any]] = [{"params": [p for p in decayed if p.requires_grad]},
                  {"params": [p for p in others if p.requires_grad], "weight_decay": 0.0}]  # fmt: skip
        made = torch.optim.AdamW(groups, lr=self.params.lr, weight_decay=self.params.weight_decay)
        steps = self.params.steps
        rise = round(self.params.warmup_epochs * steps / self.params.max_epochs)

        def share(step: int) -> float:
            return float(cosine_warmup_schedule(min(step, steps), steps, 1.0, 0.0, rise, 0.0))

        return {"optimizer": made, "lr_scheduler": {"scheduler": LambdaLR(made, share), "interval": "step"}}

    def _view(self, one: Look, date: tuple[Tensor, Tensor], pixel_m: Tensor, streams: list[int], wide: bool) -> View:
        random = torch.Generator().manual_seed(streams[2 * one.crop])
        view = self._crop(date, pixel_m, random, wide)
        if not wide:  # wide ones by one draw show one place on both dates, so that no date may have its own
            for _ in range(_REDRAWN):
                poor = _shows(view) < LEAST_VIEW
                if not bool(poor.any()):
                    break
                view = _replaced(view, self._crop(date, pixel_m, random, wide), poor)
        if one.light is None:
            return view
        return relit(view, self.params.alter, self.light,
                     torch.Generator().manual_seed(streams[2 * one.light + 1]))  # fmt: skip

    def _crop(self, date: tuple[Tensor, Tensor], pixel_m: Tensor, random: torch.Generator, wide: bool) -> View:
        crops, (inputs, measured) = self.params.crops, date
        edges, size = (crops.wide_m, crops.wide_px) if wide else (crops.small_m or crops.wide_m, crops.small_px)
        place = crop_places(len(inputs), edges, inputs.shape[-1], pixel_m.float().cpu(), crops,
                            bool(self.params.alter.d4), random)  # fmt: skip
        return look(inputs, measured, place, size, pixel_m * inputs.shape[-1] / 2)


def _shows(view: View) -> Tensor:
    """(B,) share of a view that is measured."""
    return view.valid.mean((1, 2, 3))


def _replaced(view: View, other: View, where: Tensor) -> View:
    """A view, of the chips (B,) bool another."""
    return View(*(torch.where(where.view(-1, *[1] * (old.ndim - 1)), new, old)
                  for old, new in zip(view, other, strict=True)))  # fmt: skip


def _measured(pixels: Tensor) -> Tensor:
    """(B, C, H, W) bool of stored values (B, H, W, C)."""
    there = pixels != NODATA
    if pixels.is_floating_point():
        there &= torch.isfinite(pixels)
    return there.permute(0, 3, 1, 2)
