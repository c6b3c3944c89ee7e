"""What differs from machine to machine: `.env` in the project's root, overruled by the environment.

`DATA_ROOT` is where data lie that a command line names without saying where; `OUTPUT_ROOT` is where run records and
debug runs go. Neither is any stage's dependency or out: DVC's paths are the project's own, on every machine the same.
"""

import os
import re
from pathlib import Path

from thalweg.errors import SettingsError

ENV_FILE = Path(".env")
DATA_ROOT, OUTPUT_ROOT = "DATA_ROOT", "OUTPUT_ROOT"
_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*")


def read_settings(file: Path, start: str) -> dict[str, str]:
    """What `.env` says of names that begin so, overruled by what the environment says of them and is not empty.

    Raises:
        SettingsError: The file is no text in UTF-8.
    """
    said: dict[str, str] = {}
    for line in _lines(file):
        match = _LINE.fullmatch(line)
        if match and match[1].startswith(start):
            said[match[1]] = _unquoted(match[2])
    return said | {name: value for name, value in os.environ.items() if name.startswith(start) and value}


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text("utf-8-sig").splitlines() if file.is_file() else []  # Windows writes a mark before it
    except UnicodeDecodeError:
        raise SettingsError(f"{file} is no text in UTF-8; save it as such") from None  # the error holds the secrets


def data_path(given: Path, file: Path = ENV_FILE) -> Path:
    """A path as it is given, or below `DATA_ROOT` where it is not there and `DATA_ROOT` has it.

    Raises:
        SettingsError: `DATA_ROOT` is no folder.
    """
    root = read_settings(file, DATA_ROOT).get(DATA_ROOT)
    if given.exists() or given.is_absolute() or not root:
        return given
    home = Path(root).expanduser()
    if not home.is_dir():
        raise SettingsError(f"{DATA_ROOT} is '{root}', which is no folder; correct it in the environment or in {file}")
    return home / given if (home / given).exists() else given


def output_root(file: Path = ENV_FILE) -> Path | None:
    """Where run records and debug runs go: `OUTPUT_ROOT`, or None for the project itself.

    Raises:
        SettingsError: `OUTPUT_ROOT` is no folder, or none of this user's.
    """
    root = read_settings(file, OUTPUT_ROOT).get(OUTPUT_ROOT)
    if not root:
        return None
    home = Path(root).expanduser()
    if not home.is_dir() or not os.access(home, os.W_OK):
        raise SettingsError(
            f"{OUTPUT_ROOT} is '{root}', which is no folder that can be written; make it, or correct it in the "
            f"environment or in {file}"
        )
    return home


def runs_root(project: Path = Path()) -> Path:
    """Where records of trainings go: the project's `runs/`, or below `OUTPUT_ROOT` a folder with the project's name.

    Raises:
        SettingsError: As for `output_root`.
    """
    root = output_root(project / ENV_FILE)
    return project / "runs" if root is None else root / project.absolute().name / "runs"


def _unquoted(text: str) -> str:
    """A value as shells read it; a password may hold '#', so only ' #' begins a comment."""
    if len(text) > 1 and text[0] in "'\"":
        end = text.find(text[0], 1)
        return text[1:end] if end > 0 else text
    return re.split(r"\s+#", text, maxsplit=1)[0]
