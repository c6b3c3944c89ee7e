"""`encoders/<name>/card.json`: what a pre-trained encoder is, what it saw, and whether its features say anything."""

from pathlib import Path
from typing import Any

from thalweg.errors import CardError
from thalweg.manifest import Record, read_record, write_record
from thalweg.manifest.card import CARD, Normalisation
from thalweg.manifest.scene import Channel

SCHEMA = 1


class EncoderCard(Record):
    """card.json of an encoder."""

    schema_version: int
    encoder: str
    """Key in params.yaml."""
    method: str
    """File name in thalweg/pretrain/methods/."""
    options: dict[str, Any]
    """The method's."""
    architecture: str
    """smp's name, or timm's after `tu-`."""
    depth: int
    """Stages that learnt."""
    grid: str
    pixel_m: float
    """Mean ground size of a pixel over the scenes, metres."""
    pixel_m_range: tuple[float, float]
    channels: tuple[Channel, ...]
    normalisation: Normalisation
    """Whose z-scores the encoder takes; of training ground alone."""
    parts: tuple[str, ...]
    """Ground that it saw."""
    positives: str
    chips: int
    """Windows of the lattice that it learnt from."""
    watch: dict[str, float]
    """Of the last epoch: `feature_std`, `rank`, `uniformity`, and where there are pairs `alignment`."""
    collapsed: str | None
    """One sentence where the features say nothing, else None."""
    epochs: int
    git_commit: str | None
    products: tuple[str, ...]
    """Whose pixels it saw."""
    packages: dict[str, str]


class EncoderFigures(Record):
    """`metrics/encoders/<name>.json`: how a pre-training ended."""

    encoder: str
    method: str
    loss: float
    """Mean of the last epoch."""
    feature_std: float
    rank: float
    uniformity: float
    alignment: float | None
    """None where there are no pairs."""
    collapsed: str | None
    """One sentence where the features say nothing, else None."""


def read_encoder_card(folder: Path) -> EncoderCard:
    """The card of an encoder's folder.

    Raises:
        CardError: It is of a newer schema.
        SceneError: It is missing or broken.
    """
    path = folder / CARD
    card = read_record(EncoderCard, path, "pre-train it with `dvc repro pretrain`, or copy the whole directory")
    if card.schema_version > SCHEMA:
        raise CardError(f"{path} has schema {card.schema_version}, this Thalweg reads up to {SCHEMA}; update Thalweg")
    return card


def read_figures(path: Path) -> EncoderFigures:
    """How a pre-training ended.

    Raises:
        SceneError: The file is missing or broken.
    """
    return read_record(EncoderFigures, path, "remove it and run `dvc repro pretrain`")


def write_encoder_card(card: EncoderCard, folder: Path) -> None:
    """Writes card.json."""
    write_record(card, folder / CARD)
