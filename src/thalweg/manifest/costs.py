"""`models/<member>/costs.json`: what a training has cost, counted and not timed, for whom it judges later."""

from pathlib import Path

from thalweg.manifest import Record, read_record, write_record

SCHEMA = 1
COSTS = "costs.json"


class TrainingCosts(Record):
    """costs.json; validation, which all members have alike, is not in it."""

    schema_version: int
    chips_trained: int
    chips_scored: int
    """Forward passes over chips that were only looked at."""
    flops_train: int
    """Forward and backward, of the chips trained on."""
    flops_score: int
    """Of the chips scored."""
    flops_irreducible: int
    """Of the holdout member's loss on the training ground, whether it was computed for this member or lay there."""
    flops_holdout: int
    """All that the training of the judge in `after` has cost, its own judges included."""

    @property
    def flops(self) -> int:
        """Operations in all."""
        return self.flops_train + self.flops_score + self.flops_irreducible + self.flops_holdout


def read_costs(folder: Path) -> TrainingCosts:
    """What the member in a model directory has cost.

    Raises:
        SceneError: Nobody counted it.
    """
    return read_record(TrainingCosts, folder / COSTS, "train the member that judges here, with `dvc repro`")


def write_costs(costs: TrainingCosts, folder: Path) -> None:
    """Writes costs.json."""
    write_record(costs, folder / COSTS)
