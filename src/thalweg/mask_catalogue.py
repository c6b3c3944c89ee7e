"""The masks that a catalogue names, into build/raw/masks: each is fetched once and verified every time."""

from pathlib import Path

from thalweg import bring
from thalweg.http.expected import Checksum, Expected
from thalweg.http.session import Session
from thalweg.manifest.listing import MaskCatalogue, MaskEntry, read_list
from thalweg.sources import link_tree

FOLDER = "masks"
"""Below the raw folder; where the sample puts its own, too."""


def fetch_masks(catalogue: Path, raw: Path, store: Path) -> list[Path]:
    """Links all masks of a catalogue into `raw/masks` and returns them; none of an empty catalogue.

    Raises:
        ParamsError: The catalogue is missing or does not fit.
        DamagedError: A mask's size or SHA-256 is not the catalogue's.
        HttpError: A mask cannot be had.
    """
    session = Session(bring.PATIENCE, bring.connections(store))
    return [_fetch(mask, raw / FOLDER, store, session) for mask in read_list(MaskCatalogue, catalogue).masks]


def _fetch(mask: MaskEntry, folder: Path, store: Path, session: Session) -> Path:
    expected = Expected(mask.size, Checksum("sha256", mask.sha256), None)
    kept = bring.bring(mask.url, store / FOLDER / mask.sha256 / mask.name, expected, session)
    target = folder / mask.name
    link_tree(kept, target)
    return target
