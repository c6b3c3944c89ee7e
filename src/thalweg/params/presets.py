"""`recipes/presets/<name>.yaml`: how a member's training is cut short to find a fault, by `thalweg debug`."""

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from thalweg.errors import SettingsError
from thalweg.params import Section, parse, read_yaml
from thalweg.params.models import Member
from thalweg.params.train import Train

FOLDER = Path("recipes/presets")


class Preset(Section):
    """One way of cutting a training short."""

    section: ClassVar[str] = "preset"

    about: str
    """One sentence: what it finds."""
    batches: int | None = Field(ge=1)
    """Batches of an epoch, and as many of each held-out part; null for all that the member says."""
    same: bool
    """Whether every epoch shows the same windows, where they lie in the chip table."""
    anomalies: bool
    """Whether torch names the operation that made the first number which is not finite, at several times the cost."""
    falls: float | None = Field(gt=0, lt=1)
    """Share of the first epoch's loss below which the last one's must lie; null asks nothing of it."""
    member: dict[str, Any]
    """Keys of the member's block, with the values that they take instead."""
    train: dict[str, Any]
    """Keys of section `train`, likewise."""

    def apply(self, name: str, member: Member, train: Train, where: Path) -> tuple[Member, Train]:
        """The member's block and section `train` as the preset has them.

        Raises:
            ParamsError: The preset names an unknown key, or a value does not fit.
        """
        block = member.model_dump(mode="json") | self.member
        if block.get("active") and isinstance(block["max_epochs"], int):  # so that there is a choice to be tried, too
            warmup = min(block["active"]["warmup_epochs"], max(block["max_epochs"] - 1, 0))
            block["active"] = block["active"] | {"warmup_epochs": warmup}
        members = parse(Member, block, f"preset.member of models.{name}", where)
        return members, parse(Train, train.model_dump(mode="json") | self.train, "preset.train", where)


def preset_paths(root: Path) -> dict[str, Path]:
    """Presets by name, sorted."""
    return {path.stem: path for path in sorted((root / FOLDER).glob("*.yaml"))}


def read_preset(name: str, root: Path) -> Preset:
    """A preset by the name of its file.

    Raises:
        SettingsError: There is no such file.
        ParamsError: It does not fit its schema.
    """
    known = preset_paths(root)
    if name not in known:
        raise SettingsError(f"there is no preset '{name}' in {root / FOLDER}; there are {', '.join(known) or 'none'}")
    return parse(Preset, read_yaml(known[name]), "preset", known[name])
