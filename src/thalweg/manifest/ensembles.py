"""`ensembles/<name>/card.json`: what a map was made of, every choice and fitted value, and how good it is.

With the members' model directories it is enough to make the same map of other scenes.
"""

from pathlib import Path
from typing import Any

from thalweg.classes import ClassInfo
from thalweg.errors import CardError
from thalweg.manifest import Record, read_record, upgraded, write_record
from thalweg.manifest.calibration import Calibration
from thalweg.manifest.heldout import PartScores
from thalweg.manifest.promises import AbstainRule, Kept, SetRule
from thalweg.params.ensembles import Ensemble

SCHEMA = 3
CARD = "card.json"
SHIFTED = 0.25
"""Stability index above which the input is another population. Source: Siddiqi 2006, Credit Risk Scorecards, ISBN
978-0-471-75451-0: below 0.10 no change to speak of, 0.10 to 0.25 some, above 0.25 a major one."""


class Pick(Record):
    """One step of the greedy selection."""

    member: str
    """Added in this step; it may have been before."""
    nll: float
    """Of the validation sample with it, nats."""
    gain: float
    """Fall of the NLL by it; of the first, against the uniform distribution."""


class Stacking(Record):
    """Multinomial logistic regression on the members' log-probabilities: softmax(Σ matrix · log p + shift)."""

    matrix: tuple[tuple[tuple[float, ...], ...], ...]
    """(K, M, K): class that is scored, member in the order of `Combination.bag`, class that it says."""
    shift: tuple[float, ...]
    """(K,)."""
    pull: float
    """Weight of the squared distance to the mean of log-probabilities, chosen with the rest."""


class Combination(Record):
    """How the members are combined."""

    reducer: str
    """That is used; `mean` where what was asked for did not serve other ground."""
    bag: tuple[str, ...]
    """Members as they are reduced; one that was selected twice is there twice."""
    weights: dict[str, float]
    """Member → share; 0 for those that were not selected; all sum to 1. Of stacking, each has the same."""
    stacking: Stacking | None
    picks: tuple[Pick, ...]
    """Of greedy selection, in order; empty without."""
    reason: str
    """One sentence: how it was found, on what, and what it gained elsewhere."""


class MemberEntry(Record):
    """One member's part in a map."""

    card_sha256: str
    """Of its card.json."""
    grid: str
    weight: float
    """Share in the combination; all weights sum to 1."""
    thresholds: dict[str, float]
    """Its own, chosen as the ensemble's are, for its own scores only."""
    scenes: tuple[str, ...]
    """Scenes that it was predicted on."""
    scores: dict[str, dict[str, float]]
    """Part → scores on the same pixels of the ensemble's grid."""
    shift: dict[str, dict[str, float]]
    """Scene → channel → population stability index of its valid pixels against the member's training pixels; a scene
    without a valid pixel is not there, nor any where the member's card does not know its training pixels."""
    pooled_shift: dict[str, float]
    """Channel → the same of all scenes of the map together; empty where nothing is known."""


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
    """All that were asked for, in order."""
    params: Ensemble
    """As params.yaml had them."""
    combination: Combination
    calibration: Calibration | None
    """Of the reduced probabilities; None: never asked."""
    thresholds: dict[str, float]
    """Class → threshold, chosen on validation pixels or given; empty: the most probable class. With rule `iou` that of
    class 1 alone: the least probability that counts as class 1."""
    promise: SetRule | AbstainRule | None
    """For the error rate of `params.conformal`."""
    kept: dict[str, Kept]
    """Part → what the promise came to; empty without one."""
    scores: dict[str, dict[str, float]]
    """Part → scores of the map."""
    parts: dict[str, PartScores]
    """Part → confusion matrices and reliability of the map."""
    raw_reliability: dict[str, tuple[tuple[float, ...], ...]]
    """Part → reliability counts before the ensemble's calibration; empty where there is none."""
    git_commit: str | None


def read_ensemble_card(folder: Path) -> EnsembleCard:
    """The card of an ensemble, in the present schema whichever it was written in.

    Raises:
        CardError: The card is of a newer schema.
        SceneError: It is missing or broken.
    """

    def upgrade(data: dict[str, Any]) -> dict[str, Any]:
        version = data.get("schema_version")
        if isinstance(version, int) and version > SCHEMA:
            raise CardError(f"{folder / CARD} has schema {version}, this Thalweg reads up to {SCHEMA}; update Thalweg")
        return upgraded(data, SCHEMA, {1: _to_2, 2: _to_3})

    return read_record(EnsembleCard, folder / CARD, "run `dvc repro ensemble`", upgrade)


def write_ensemble_card(card: EnsembleCard, folder: Path) -> None:
    """Writes card.json."""
    write_record(card, folder / CARD)


def _to_2(data: dict[str, Any]) -> None:
    """Schema 1 did not measure how far the input is shifted."""
    for entry in data.get("members", {}).values():
        entry["shift"] = {}


def _to_3(data: dict[str, Any]) -> None:
    """Schema 2 knew the mean of probabilities, one sweep, and of two classes the cut of the best IoU."""
    members, cut = data.get("members", {}), data.pop("threshold", None)
    names = [info["name"] for info in data.get("classes", ())]
    for part in data.get("parts", {}).values():
        part |= {"blocks": part.get("blocks", {}), "linear": part.get("linear", {})}
    for entry in members.values():
        own = entry.pop("threshold", None)
        entry |= {"thresholds": {} if own is None else {names[1]: own}, "pooled_shift": {}}
    data["params"] = {
        "members": list(members), "grid": data.get("grid"), "scenes": data.get("scenes"), "area": None, "onto": None,
        "select": "all", "reducer": data.get("reducer"), "weights": None, "calibrate": "none",
        "tta": {"views": 8 if data.pop("tta", False) else 1, "scales": [1]}, "overlaps": [data.pop("overlap", None)],
        "blend": "hann", "memory_gib": 2, "threshold": "argmax" if cut is None else "iou", "conformal": None,
        "uncertainty": ["entropy", "disagreement"],
        "outputs": {"probs": "uint16", "members": False, "masks": False, "polygons": None, "lines": None},
    }  # fmt: skip
    data["combination"] = {
        "reducer": data.pop("reducer", None), "bag": list(members), "stacking": None, "picks": [],
        "weights": {name: entry.get("weight") for name, entry in members.items()},
        "reason": "all members, as they are",
    }  # fmt: skip
    data.pop("temperature", None)
    data |= {"calibration": None, "thresholds": {} if cut is None else {names[1]: cut}, "promise": None, "kept": {},
             "raw_reliability": {}}  # fmt: skip
