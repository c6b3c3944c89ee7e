"""What a host answers before any fault."""

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reply:
    """Status, body and kind of body."""

    status: int
    body: bytes
    kind: str = "application/json"
    is_file: bool = False
    """A transfer in the account's name, which counts as a session."""
    location: str = ""
    """Of a redirect."""


def told(status: int, body: Any) -> Reply:
    """A JSON answer."""
    return Reply(status, json.dumps(body).encode())


def zipper_error(status: int, number: int, message: str) -> Reply:
    """An error of the download host."""
    return told(status, {"code": f"DAT-ZIP-{number}", "message": message})
