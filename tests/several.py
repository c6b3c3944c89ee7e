"""Trains a tiny member, as one of several processes: `several.py ROOT OUTS DEVICES MEMBER-PARAMS [RANK EPOCH]`.

With a rank and an epoch, that process is killed when the epoch is over, as the kernel kills one that takes too much.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from member_builder import classes, member, places, train_params

from thalweg import stage, world
from thalweg.errors import ThalwegError
from thalweg.resume import Keeper
from thalweg.train import train_member


def main() -> None:
    root, outs, devices, params, *end = sys.argv[1:]
    train = train_params(devices=int(devices))
    if end and world.read(train).rank == int(end[0]):
        _end_after(int(end[1]))
    train_member("m", member(**_tuples(json.loads(params))), train, classes(), places(Path(root), outs))


def _end_after(epoch: int) -> None:
    ended = Keeper.on_train_epoch_end

    def killed(self: Keeper, trainer: Any, pl_module: Any) -> None:
        ended(self, trainer, pl_module)
        if trainer.current_epoch == epoch:
            os.kill(os.getpid(), signal.SIGKILL)

    Keeper.on_train_epoch_end = killed  # type: ignore[method-assign]


def _tuples(params: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in params.items()}


if __name__ == "__main__":
    stage.end_with_parent()
    signal.signal(signal.SIGTERM, stage._terminate)
    try:
        main()
    except ThalwegError as error:
        sys.exit(f"error: {error}")
