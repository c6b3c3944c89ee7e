"""`masks/<round>/`: what one round of training hands to the next: masks of class ids, and the split as it was."""

from pathlib import Path

from thalweg.errors import RoundError
from thalweg.manifest import Record, read_record, write_record

SCHEMA = 1
RECORD = "round.json"
BLOCKS = "blocks.geojson"
MASKS = "*.tif"
FROM_A_ROUND = "round:"
"""How such masks are called in a scene's record: no rule of the split means them."""


class RoundRecord(Record):
    """round.json."""

    schema_version: int
    number: int
    """Of the round that these labels are for: 2 for those of the first maps."""
    git_commit: str | None
    classes: tuple[str, ...]
    """Names by id."""
    split: str
    """What decided on the ground of the parts, as JSON: `ground_rules`."""
    buffer_m: float
    """Least ground distance of a label from validation and test ground."""
    rules: dict[str, str]
    """How labels were chosen."""
    maps: dict[str, dict[str, str]]
    """Mask file → where its map lay, the SHA-256 of its classes.tif, and its tags."""
    class_px: dict[str, int]
    """Labelled pixels of all masks."""
    nearest_m: float | None
    """Least ground distance between a label and validation or test ground, as measured; None where it is far."""


class RoundFolder:
    """A folder of one round."""

    def __init__(self, folder: Path) -> None:
        """Reads its record.

        Raises:
            RoundError: It is no such folder.
        """
        self.folder = folder
        if not (folder / RECORD).is_file() or not (folder / BLOCKS).is_file():
            raise RoundError(
                f"{folder} has no {RECORD} and {BLOCKS}, so it is no folder of a round; give one that `thalweg "
                "pseudo-label` wrote, or set round.input to masks/first.yaml"
            )
        self.record = read_record(RoundRecord, folder / RECORD, "run `thalweg pseudo-label` again")
        if self.record.schema_version != SCHEMA:
            raise RoundError(
                f"{folder / RECORD} has schema version {self.record.schema_version}, but this Thalweg reads {SCHEMA}; "
                "run `thalweg pseudo-label` again"
            )

    @property
    def blocks(self) -> Path:
        """The split's blocks.geojson, as it was."""
        return self.folder / BLOCKS

    @property
    def masks(self) -> list[Path]:
        """Its masks, by name; there may be none, where only the split is kept."""
        return sorted(self.folder.glob(MASKS))

    def check_classes(self, names: tuple[str, ...]) -> None:
        """Class ids mean what they meant.

        Raises:
            RoundError: They do not.
        """
        if self.record.classes != names:
            raise RoundError(
                f"{self.folder} holds ids of the classes {', '.join(self.record.classes)}, but params.yaml has "
                f"{', '.join(names)}; name the same classes in the same order, or run `thalweg pseudo-label` again"
            )


def read_round(path: Path) -> RoundFolder | None:
    """What `round.input` names: a folder of a round, or None for a file, which means that this is the first.

    Raises:
        RoundError: It is neither.
    """
    if path.is_file():
        return None
    if not path.is_dir():
        raise RoundError(
            f"{path} is missing; write it by `thalweg pseudo-label` from the maps of the round before, or set "
            "round.input to masks/first.yaml"
        )
    return RoundFolder(path)


def write_round(record: RoundRecord, folder: Path) -> None:
    """Writes round.json."""
    write_record(record, folder / RECORD)
