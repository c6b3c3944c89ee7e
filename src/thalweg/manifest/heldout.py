"""`build/heldout/<member>/`: what a member says about ground it has not trained on, for plots and the report.

Files: `scores.json` (this record) and `panels.npz` (a few held-out windows as pictures: `rgb` (N, h, w, 3) uint8,
`mask` and `labels` (N, h, w) uint8, `prob` (N, h, w) uint8 of the predicted class × 255, `doubt` (N, h, w) uint8
normalised entropy of all classes × 255, `names` (N,) text).
"""

from pathlib import Path

from thalweg.manifest import Record, read_record, write_record


class PartScores(Record):
    """One part (val or test)."""

    confusion: tuple[tuple[int, ...], ...]
    """Rows truth, columns prediction, stitched at native resolution."""
    scenes: dict[str, tuple[tuple[int, ...], ...]]
    """The same per scene."""
    blocks: dict[str, tuple[tuple[int, ...], ...]]
    """The same per block of ground, for intervals."""
    linear: dict[str, dict[str, float]]
    """Class → `linear.scores`, for the classes from id 1 on."""
    reliability: tuple[tuple[float, ...], ...]
    """`metrics.calibration` counts."""
    positives: tuple[int, ...]
    """Binary tasks: pixels of class 1 per bin of its probability (256 bins); else empty."""
    negatives: tuple[int, ...]
    """Likewise pixels of class 0."""


class Heldout(Record):
    """scores.json."""

    member: str
    classes: tuple[str, ...]
    parts: dict[str, PartScores]
    ranked: dict[str, dict[str, tuple[tuple[int, ...], tuple[int, ...]]]]
    """Part → class → pixels of other classes, and of the class, per bin of the class's probability (256 bins)."""


def read_heldout(folder: Path) -> Heldout:
    """The held-out scores of one member.

    Raises:
        SceneError: They are missing or broken.
    """
    return read_record(Heldout, folder / "scores.json", "run `dvc repro train`")


def write_heldout(heldout: Heldout, folder: Path) -> None:
    """Writes scores.json."""
    write_record(heldout, folder / "scores.json")
