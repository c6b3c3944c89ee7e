"""`models/<member>/card.json`: everything that is needed, beside the weights, to predict anywhere."""

from pathlib import Path
from typing import Any

from thalweg.classes import ClassInfo
from thalweg.errors import CardError
from thalweg.manifest import Record, read_record, upgraded, write_record
from thalweg.manifest.calibration import Calibration
from thalweg.manifest.scene import Channel

SCHEMA = 3
WEIGHTS = "weights.safetensors"
CARD = "card.json"


class Normalisation(Record):
    """Per channel, in physical units: model input = (value − mean) / std, clipped to ±5; nodata becomes 0."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class ModelCard(Record):
    """card.json."""

    schema_version: int
    member: str
    architecture: str
    """File name in thalweg/models/."""
    options: dict[str, Any]
    architecture_sha256: str
    """Of the architecture's source file, so that an edit reaches the aggregators through models/ alone."""
    grid: str
    pixel_m: float
    """Ground size of a training pixel, metres."""
    pixel_m_range: tuple[float, float]
    """The smallest and the largest of all training scenes."""
    channels: tuple[Channel, ...]
    normalisation: Normalisation
    deciles: tuple[tuple[float, ...], ...]
    """Per channel the nine values, in physical units, that part the training pixels in tenths; empty if unknown."""
    shares: tuple[tuple[float, ...], ...]
    """Per channel the share of the training pixels in each of the ten bins between them; empty if unknown."""
    classes: tuple[ClassInfo, ...]
    window_px: int
    """Window edge in prediction."""
    overlap: float
    temperature: float
    """Logits are divided by it; 1 until calibrated, and with vector scaling."""
    calibration: Calibration | None
    """How the logits are scaled, and why; None: never asked."""
    preparation: dict[str, Any]
    """The grid's params that made the training scenes' pixels, so that any product can be prepared alike (all but
    `products` and `pack`); empty if unknown."""
    metrics: dict[str, float]
    """Headline scores on the validation part: `miou`, `accuracy`."""
    epoch: int
    """Epoch of the weights, from 0."""
    git_commit: str | None
    products: tuple[str, ...]
    """Products whose pixels trained the model."""
    packages: dict[str, str]
    """Package → version."""


def read_card(folder: Path) -> ModelCard:
    """The card of a model directory, in the present schema whichever it was written in.

    Raises:
        CardError: The card is of a newer schema.
        SceneError: It is missing or broken.
    """
    remedy = "train the member with `dvc repro` or copy the whole directory"
    return read_record(ModelCard, folder / CARD, remedy, lambda data: upgraded_card(data, folder / CARD))


def upgraded_card(data: dict[str, Any], where: Path) -> dict[str, Any]:
    """A card as JSON in the present schema.

    Raises:
        CardError: It is of a newer one.
    """
    version = data.get("schema_version")
    if isinstance(version, int) and version > SCHEMA:
        raise CardError(f"{where} has schema {version}, this Thalweg reads up to {SCHEMA}; update Thalweg")
    return upgraded(data, SCHEMA, {1: _to_2, 2: _to_3})


def write_card(card: ModelCard, folder: Path) -> None:
    """Writes card.json."""
    write_record(card, folder / CARD)


def _to_2(data: dict[str, Any]) -> None:
    """Schema 1 knew one pixel size and no distribution of the training pixels."""
    data |= {"pixel_m_range": [data.get("pixel_m"), data.get("pixel_m")], "deciles": [], "shares": []}


def _to_3(data: dict[str, Any]) -> None:
    """Schema 2 knew a temperature alone, and not how its scenes were made."""
    data |= {"calibration": None, "preparation": {}}
