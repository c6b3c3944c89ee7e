"""Trains a tiny member, as one of several processes: `several.py ROOT OUTS DEVICES[:fsdp] MEMBER-PARAMS [RANK EPOCH]`.

With a rank and an epoch, that process is killed when the epoch is over, as the kernel kills one that takes too much.
Processes that take too long end by themselves and say where they stood: the clock runs before anything is imported,
since imports take most of their time.
"""

import faulthandler
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

PATIENCE_S = 540
"""A training by three takes some 45 s of a core's time, 10 of each process before its first line: three minutes at a
load of 5, and longer than this at a load of 30."""


def main() -> None:
    from member_builder import classes, member, places, train_params

    from thalweg import world
    from thalweg.train import train_member

    root, outs, count, params, *end = sys.argv[1:]
    devices, _, strategy = count.partition(":")
    train = train_params(devices=int(devices), strategy=strategy or "auto")
    if strategy:
        _tell_shares()
    if end and world.read(train).rank == int(end[0]):
        _end_after(int(end[1]))
    train_member("m", member(**_tuples(json.loads(params))), train, classes(), places(Path(root), outs))


def _tell_shares() -> None:
    """Of each process: how many weights it holds; every block of a hundred is divided by itself."""
    from thalweg import shards

    shards.BLOCK, shard = 100, shards.shard

    def told(architecture: Any, *rest: Any) -> None:
        total = sum(weight.numel() for weight in architecture.parameters())
        shard(architecture, *rest)
        mine = sum(weight.to_local().numel() for weight in architecture.parameters())
        blocks = sum(type(block).__name__.startswith("FSDP") for block in architecture.modules())
        sys.stderr.write(f"holds {mine} of {total} in {blocks} blocks\n")

    shards.shard = told


def _end_after(epoch: int) -> None:
    from thalweg.resume import Keeper

    ended = Keeper.on_train_epoch_end

    def killed(self: Keeper, trainer: Any, pl_module: Any) -> None:
        ended(self, trainer, pl_module)
        if trainer.current_epoch == epoch:
            os.kill(os.getpid(), signal.SIGKILL)

    Keeper.on_train_epoch_end = killed  # type: ignore[method-assign]


def _tuples(params: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in params.items()}


if __name__ == "__main__":
    faulthandler.dump_traceback_later(PATIENCE_S, exit=True)
    from thalweg import stage
    from thalweg.errors import ThalwegError

    stage.end_with_parent()
    signal.signal(signal.SIGTERM, stage._terminate)
    try:
        main()
    except ThalwegError as error:
        sys.exit(f"error: {error}")
