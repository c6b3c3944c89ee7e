"""What lets a killed training go on where it was, and keeps two from training the same member.

State lies in `<folder>/<member>/<fingerprint>/last.ckpt`, outside every out. The fingerprint covers params, data and
code, so that a state is never picked up by a training that it does not belong to.
"""

import hashlib
import os
import socket
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from filelock import FileLock, Timeout
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from thalweg.errors import DegradedDataWarning, TrainingError

STATE = "last.ckpt"


def fingerprint(texts: Iterable[str], files: Iterable[Path]) -> str:
    """Sixteen hexadecimal digits over texts and the contents of files."""
    digest = hashlib.sha256()
    for content in (*(text.encode() for text in texts), *(path.read_bytes() for path in sorted(files))):
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()[:16]


@contextmanager
def held(folder: Path, member: str) -> Iterator[None]:
    """Holds the member for this process.

    Raises:
        TrainingError: Another process holds it; the message says which.
    """
    folder.mkdir(parents=True, exist_ok=True)
    holder = folder / f"{member}.holder"
    lock = FileLock(folder / f"{member}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        who = holder.read_text("utf-8") if holder.is_file() else "another process"
        raise TrainingError(
            f"member '{member}' is already being trained by {who}; wait for it, or end that process"
        ) from error
    try:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        holder.write_text(f"process {os.getpid()} on {socket.gethostname()} since {since}", "utf-8")
        yield
        holder.unlink(missing_ok=True)
    finally:
        lock.release()


def found(state: Path) -> Path | None:
    """The state that a killed training left, or None; one that is broken is taken away, with a warning."""
    if not state.exists():
        return None
    try:
        with zipfile.ZipFile(state) as parts:
            whole = parts.testzip() is None
    except zipfile.BadZipFile:
        whole = False
    if whole:
        return state
    state.unlink(missing_ok=True)
    warnings.warn(f"{state}, from which training would have gone on, is broken; it starts again from epoch 0",
                  DegradedDataWarning, stacklevel=2)  # fmt: skip
    return None


class Keeper(Checkpoint):
    """After each epoch: notes its scores, keeps the best weights, saves all of it in one file, whole or not at all."""

    def __init__(self, path: Path, kept: Callable[[], dict[str, Tensor]], monitor: str) -> None:
        """Saves to `path`; `kept` copies the weights that are kept from the epoch with the highest `monitor`."""
        self._kept = kept
        self.path = path
        self.monitor = monitor
        self.resumed_from = 0
        self.history: list[dict[str, float]] = []
        self.best: tuple[int, float] | None = None
        self.best_weights: dict[str, Tensor] = {}
        self.stopped = False

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs."""
        names = ("history", "best", "best_weights", "stopped")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The counterpart of `state_dict`."""
        for name, value in state_dict.items():
            setattr(self, name, value)
        self.resumed_from = len(self.history)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Does not train on where training had ended before the kill."""
        trainer.should_stop = trainer.should_stop or self.stopped

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Runs after early stopping has decided, since Lightning calls checkpoints last."""
        row = {key: float(value) for key, value in trainer.callback_metrics.items()}
        epoch = trainer.current_epoch
        self.history.append({"epoch": epoch, **row})
        score = row.get(self.monitor)
        if score is not None and (self.best is None or score > self.best[1]):
            self.best = (epoch, score)
            self.best_weights = self._kept()
        self.stopped = trainer.should_stop
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f".{self.path.name}.part")
        trainer.save_checkpoint(partial)  # of several processes, all take part and the first one writes
        if not trainer.is_global_zero:
            return
        with partial.open("rb+") as file:
            os.fsync(file)  # else a power failure may leave the new name on what was not yet written
        partial.replace(self.path)
