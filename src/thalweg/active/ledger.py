"""Writes what training has cost into its history, epoch by epoch."""

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from thalweg.active.costs import Plan
from thalweg.manifest.costs import TrainingCosts

COSTS = tuple(name for name in TrainingCosts.model_fields if name != "schema_version")
"""Columns of the history, totals since the first epoch, what came before it included."""


class Ledger(Callback):
    """Logs totals; wall time is in the run record, since an out must not depend on it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Logs what the epochs up to this one have cost."""
        costs = self.plan.until(trainer.current_epoch + 1)
        pl_module.log_dict({name: float(getattr(costs, name)) for name in COSTS})
