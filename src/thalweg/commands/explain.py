"""`thalweg explain`: what a key of params.yaml means."""

from typing import Annotated, Any

import typer

from thalweg import params


def explain(
    key: Annotated[str, typer.Argument(help="Such as models.unet.lr, models.lr, split, or split.buffer_m.")],
) -> None:
    """Says unit, range and meaning of a key of params.yaml, and what stands there now."""
    from thalweg.reference.keys import find  # noqa: PLC0415 - the other commands need not wait for it

    section: Any = (
        params.read_yaml(params.PARAMS_FILE).get(key.partition(".")[0]) if params.PARAMS_FILE.is_file() else {}
    )
    for found in find(key, section if isinstance(section, dict) else ()):
        unit = f" [{found.unit}]" if found.unit else ""
        typer.secho(found.path, bold=True, nl=False)
        typer.echo(f"{unit}: {found.values.replace('`', '')}{_now(key, found.path)}")
        if found.meaning:
            typer.echo(f"    {found.meaning}")


def _now(asked: str, path: str) -> str:
    """What params.yaml holds there, where the question names this one place of it."""
    fits = [have in (word, "<name>") for have, word in zip(path.split("."), asked.split("."), strict=False)]
    if asked.count(".") != path.count(".") or not all(fits) or not params.PARAMS_FILE.is_file():
        return ""
    value: Any = params.read_yaml(params.PARAMS_FILE)
    for part in asked.split("."):
        if not isinstance(value, dict) or part not in value:
            return ""
        value = value[part]
    return f"; now {value}"
