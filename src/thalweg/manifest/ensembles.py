"""`ensembles/<name>/card.json`: what a map was made of and how good it is on held-out ground."""

from pathlib import Path

from thalweg.classes import ClassInfo
from thalweg.manifest import Record, read_record, write_record
from thalweg.manifest.heldout import PartScores

SCHEMA = 2
CARD = "card.json"
SHIFTED = 0.25
"""Stability index above which the input is another population. Source: Siddiqi 2006, Credit Risk Scorecards, ISBN
978-0-471-75451-0: below 0.10 no change to speak of, 0.10 to 0.25 some, above 0.25 a major one."""


class MemberEntry(Record):
    """One member's part in a map."""

    card_sha256: str
    """Of its card.json."""
    grid: str
    weight: float
    """Share in the combination; all weights sum to 1."""
    threshold: float | None
    """Its own, chosen as the ensemble's is, for its own scores only."""
    scenes: tuple[str, ...]
    """Scenes that it was predicted on."""
    scores: dict[str, dict[str, float]]
    """Part → scores on the same pixels of the ensemble's grid."""
    shift: dict[str, dict[str, float]]
    """Scene → channel → population stability index of its valid pixels against the member's training pixels; a scene
    without a valid pixel is not there, nor any where the member's card does not know its training pixels."""


class EnsembleCard(Record):
    """card.json."""

    schema_version: int
    name: str
    classes: tuple[ClassInfo, ...]
    grid: str
    scenes: tuple[str, ...]
    """Scenes in the map."""
    products: tuple[str, ...]
    """Their products."""
    members: dict[str, MemberEntry]
    reducer: str
    tta: bool
    overlap: float
    temperature: float
    """1 until calibrated."""
    threshold: float | None
    """Least probability of class 1 that counts as class 1, chosen on validation pixels; None: most probable class."""
    scores: dict[str, dict[str, float]]
    """Part → scores of the map."""
    parts: dict[str, PartScores]
    """Part → confusion matrices and reliability of the map."""
    git_commit: str | None


def read_ensemble_card(folder: Path) -> EnsembleCard:
    """The card of an ensemble.

    Raises:
        SceneError: It is missing or broken.
    """
    return read_record(EnsembleCard, folder / CARD, "run `dvc repro ensemble`")


def write_ensemble_card(card: EnsembleCard, folder: Path) -> None:
    """Writes card.json."""
    write_record(card, folder / CARD)
