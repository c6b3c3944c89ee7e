"""`metrics/crossval/<member>.json`: a member on ground that folds held out, and how a random split flatters it."""

from pathlib import Path

from thalweg.manifest import Record, read_record, write_record


class FoldCounts(Record):
    """What one finished training leaves for the sum over all folds."""

    confusion: tuple[tuple[int, ...], ...]
    """Of the test part: rows truth, columns prediction, at the most probable class."""
    reliability: tuple[tuple[float, ...], ...]
    """`metrics.calibration` counts of the test part."""
    blocks: tuple[str, ...]
    """Blocks with labelled test pixels."""


class CrossvalScores(Record):
    """metrics/crossval/<member>.json; scores as of `metrics.scores`, and `ece`."""

    member: str
    folds: dict[str, dict[str, float]]
    """Fold, from 0 → scores on its test part."""
    mean: dict[str, float]
    """Over the folds that have the score."""
    std: dict[str, float]
    """Of the sample (n − 1) over these folds; 0 where only one has the score."""
    pooled: dict[str, float]
    """From the sum of all folds' confusion matrices, so that every labelled pixel counts once."""
    confusion: tuple[tuple[int, ...], ...]
    """That sum."""
    blocks: int
    """Blocks that were held out."""
    random: dict[str, float]
    """Of the same member on a random split of windows; empty where none was asked for."""
    optimism: dict[str, float]
    """`random` − `pooled` per score: what a random split would have made believe."""


def read_crossval(path: Path) -> CrossvalScores:
    """A member's cross-validation.

    Raises:
        SceneError: It is missing or broken.
    """
    return read_record(CrossvalScores, path, "remove it and run `dvc repro crossval`")


def write_crossval(scores: CrossvalScores, path: Path) -> None:
    """Writes metrics/crossval/<member>.json."""
    write_record(scores, path)
