"""What training took: time and machine from the newest run's record, counted work from the learning history."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from thalweg.manifest.runs import read_newest


class Effort(NamedTuple):
    """One member's training; None where nothing is known."""

    member: str
    seconds: float | None
    started: str | None
    epochs: int | None
    chips: int | None
    """That were learned from, all epochs together."""
    flops: float | None
    """Of training and of choosing what to train on."""
    machine: str
    """Device, processor and cores."""
    status: str


def read_efforts(runs: Path, history: Path, members: Iterable[str]) -> tuple[Effort, ...]:
    """Of every member that has a run's record or a history."""
    found = (_read(runs, history / f"{member}.csv", member) for member in members)
    return tuple(effort for effort in found if effort)


def _read(runs: Path, history: Path, member: str) -> Effort | None:
    run = read_newest(runs, member)
    facts = run.facts if run else {}
    table = pd.read_csv(history) if history.is_file() else pd.DataFrame()
    if not facts and table.empty:
        return None
    work = [float(table[key].iloc[-1]) for key in ("flops_train", "flops_score") if key in table and len(table)]
    chips = int(table["chips_trained"].iloc[-1]) if "chips_trained" in table and len(table) else None
    devices = ", ".join(facts.get("devices") or [])
    said = [
        devices or facts.get("device"),
        facts.get("processor"),
        f"{facts['cores']} cores" if "cores" in facts else None,
    ]
    return Effort(
        member, facts.get("seconds"), facts.get("started"), len(table) or None, chips, sum(work) or None,
        ", ".join(str(each) for each in said if each), str(facts.get("status", "no record of the run")),
    )  # fmt: skip
