"""Lists that people write and stages read: YAML files in git that say which files a data set or a mask set has."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from thalweg.errors import ParamsError
from thalweg.params import Section, parse

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*$")]
"""One name, so that a list cannot write elsewhere."""
FileUrl = Annotated[str, Field(pattern=r"^(https?|file)://\S+$")]
"""`file://` serves copies that are already on this machine."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Part(_Entry):
    """One download."""

    url: FileUrl
    size: int = Field(ge=0)
    """Bytes."""
    checksum: str = Field(pattern=r"^(md5|sha1|sha256|sha512|sha3-256):[0-9A-Fa-f]+$")
    """`<algorithm>:<hexadecimal>`."""


class Archive(_Entry):
    """One file of a data set, perhaps packed, perhaps cut into parts."""

    name: FileName
    pack: Literal["zip", "tar", "none"]
    """`tar` also where compressed; `none` is taken as it is, under its name."""
    into: str = Field(pattern=r"^(\.|[A-Za-z0-9_][A-Za-z0-9_./+-]*)$")
    """Folder of the data set that it is unpacked into; `.` is its top."""
    parts: tuple[Part, ...] = Field(min_length=1)
    """In order; more than one are joined before unpacking."""

    @model_validator(mode="after")
    def _stay_inside(self) -> "Archive":
        if ".." in self.into.split("/"):
            raise ValueError(f"'into' climbs out of the data set: {self.into}")
        return self

    @property
    def key(self) -> str:
        """Name in the store: changes with anything that can change the content."""
        said = self.model_dump(include={"name", "pack", "into"}) | {"parts": [part.checksum for part in self.parts]}
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:32]


class FileList(Section):
    """`recipes/<name>.files.yaml`: a data set by its files."""

    section: ClassVar[str] = "files"

    source: str
    """Where it is published: a page or DOI."""
    licence: str
    archives: tuple[Archive, ...] = Field(min_length=1)


class MaskGrid(_Entry):
    """Where a mask lies, for people who choose products by it."""

    crs: str
    pixel_m: float = Field(gt=0)
    left_top: tuple[float, float]
    """CRS units."""
    shape_yx: tuple[int, int]


class MaskEntry(_Entry):
    """One mask."""

    name: FileName
    url: FileUrl
    sha256: Sha256
    size: int = Field(ge=1)
    grid: MaskGrid
    note: str


class MaskCatalogue(Section):
    """`masks/<name>.yaml`: training-objective masks by URL."""

    section: ClassVar[str] = "masks"

    source: str
    licence: str
    classes: dict[str, str]
    """Mask value → what it means."""
    masks: tuple[MaskEntry, ...]

    @model_validator(mode="after")
    def _names_once(self) -> "MaskCatalogue":
        names = [mask.name for mask in self.masks]
        if len(set(names)) < len(names):
            raise ValueError("two masks have one name")
        return self


ListT = TypeVar("ListT", bound=Section)


def read_list(model: type[ListT], path: Path) -> ListT:
    """A list, validated.

    Raises:
        ParamsError: It is missing, is no YAML mapping, or does not fit; all faults are named.
    """
    if not path.is_file():
        raise ParamsError(f"{path} is missing; correct 'fetch' in params.yaml, or write the list")
    try:
        data: Any = YAML(typ="safe").load(path.read_text("utf-8"))
    except YAMLError as error:
        raise ParamsError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    return parse(model, data, path.stem, path)
