"""What stages hand to each other: one file per record, with its schema, reader and writer."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from thalweg.errors import SceneError


class Record(BaseModel):
    """Base of all records: frozen, strict, no unknown keys."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


RecordT = TypeVar("RecordT", bound=Record)


def read_record(model: type[RecordT], path: Path, remedy: str,
                upgrade: Callable[[dict[str, Any]], dict[str, Any]] | None = None) -> RecordT:  # fmt: skip
    """Reads and validates a JSON record.

    Args:
        model: Its schema.
        path: The file.
        remedy: What to do where it cannot be read.
        upgrade: Turns what an older Thalweg wrote into what this one reads; see `upgraded`.

    Raises:
        SceneError: The file is missing or does not fit the schema; the message ends with `remedy`.
    """
    if not path.is_file():
        raise SceneError(f"{path} is missing; {remedy}")
    try:
        text = path.read_text("utf-8")
        if upgrade and isinstance(data := json.loads(text), dict):
            text = json.dumps(upgrade(data))
        return model.model_validate_json(text)
    except json.JSONDecodeError as error:
        raise SceneError(f"{path} is no JSON ({error}); {remedy}") from error
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise SceneError(f"{path} does not fit its schema at '{where}' ({fault['msg']}); {remedy}") from error


def upgraded(data: dict[str, Any], schema: int, steps: dict[int, Callable[[dict[str, Any]], None]]) -> dict[str, Any]:
    """A record as the schema wants it: the step of each older version is applied in turn, in place.

    Args:
        data: With its `schema_version`; one that is newer, or has no step, is left for validation to judge.
        schema: The version to reach.
        steps: Version → what makes the next version of it.
    """
    while data.get("schema_version") in steps and data["schema_version"] < schema:
        steps[data["schema_version"]](data)
        data["schema_version"] += 1
    return data


def write_record(record: Record, path: Path) -> None:
    """Writes a record as indented JSON, whole or not at all; the same record gives the same bytes."""
    write_json(json.loads(record.model_dump_json()), path)


def write_json(data: object, path: Path) -> None:
    """Writes JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(json.dumps(data, indent=1) + "\n", "utf-8")
    partial.replace(path)
