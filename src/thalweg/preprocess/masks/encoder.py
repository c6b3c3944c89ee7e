"""Label encoders of the crop system, read as they are: an ordered list of classes, each with the codes it takes in."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from thalweg.errors import MaskError


@dataclass(frozen=True)
class Encoder:
    """A label encoder."""

    names: tuple[str, ...]
    """Class names as the file has them; the place is the class id, and 0 is what codes have that are not listed."""
    ids: dict[int, int]
    """Code → class id; the last of several wins."""
    warnings: tuple[str, ...]

    @property
    def classes(self) -> dict[int, str]:
        """Code → class name."""
        return {code: self.names[number] for code, number in self.ids.items()}


def read_encoder(path: Path) -> Encoder:
    """A file `labels: [{name, id}]`, where `id` is a code or a list of codes.

    YAML is read as 1.1, as the crop system wrote it.

    Raises:
        MaskError: The file is missing or does not have that form.
    """
    ids: dict[int, int] = {}
    warnings = []
    entries = _entries(path)
    for number, (name, codes) in enumerate(entries):
        for code in codes:
            if ids.get(code, number) != number:
                warnings.append(
                    f"{path.name} lists the code {code} under '{entries[ids[code]][0]}' and '{name}'; the last counts"
                )
            ids[code] = number
    return Encoder(tuple(name for name, _ in entries), ids, tuple(warnings))


def plain(name: str) -> str:
    """A class name as a legend may have it: `Non-crops` is `non_crops`."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _entries(path: Path) -> list[tuple[str, list[int]]]:
    try:
        data = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise MaskError(f"{path} is missing; put the label encoder there or correct masks.encoder") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise MaskError(f"{path} is no YAML ({' '.join(str(error).split())}); correct the label encoder") from error
    labels = data.get("labels") if isinstance(data, dict) else None
    if not isinstance(labels, list) or not labels:
        raise MaskError(f"{path} has no list 'labels' of classes; a label encoder is `labels: [{{name: …, id: …}}]`")
    return [_entry(label, number, path) for number, label in enumerate(labels)]


def _entry(label: Any, number: int, path: Path) -> tuple[str, list[int]]:
    name, codes = (label.get("name"), label.get("id")) if isinstance(label, dict) else (None, None)
    codes = codes if isinstance(codes, list) else [codes]
    if not isinstance(name, str) or any(type(code) is not int for code in codes):
        raise MaskError(
            f"{path}: labels[{number}] is {label!r}, but a class has a name, and as id a whole number or a list of "
            "them; correct the label encoder"
        )
    return name, codes
