"""What stages hand to each other: one file per record, with its schema, reader and writer."""

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from thalweg.errors import SceneError


class Record(BaseModel):
    """Base of all records: frozen, strict, no unknown keys."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


RecordT = TypeVar("RecordT", bound=Record)


def read_record(model: type[RecordT], path: Path, remedy: str) -> RecordT:
    """Reads and validates a JSON record.

    Raises:
        SceneError: The file is missing or does not fit the schema; the message ends with `remedy`.
    """
    if not path.is_file():
        raise SceneError(f"{path} is missing; {remedy}")
    try:
        return model.model_validate_json(path.read_text("utf-8"))
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise SceneError(f"{path} does not fit its schema at '{where}' ({fault['msg']}); {remedy}") from error


def write_record(record: Record, path: Path) -> None:
    """Writes a record as indented JSON, whole or not at all; the same record gives the same bytes."""
    write_json(json.loads(record.model_dump_json()), path)


def write_json(data: object, path: Path) -> None:
    """Writes JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(json.dumps(data, indent=1) + "\n", "utf-8")
    partial.replace(path)
