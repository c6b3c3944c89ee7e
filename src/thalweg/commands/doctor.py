"""`thalweg doctor`: what stands in the way of a run."""

from pathlib import Path
from typing import Annotated

import typer

from thalweg.commands.bar import busy

_COLORS = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(
    login: Annotated[bool, typer.Option("--login", help="Log in once to the service that the recipe reads.")] = False,
) -> None:
    """Looks at environment, GPU, GDAL, disk, params, products, DVC and account; exits 1 if a run cannot go well."""
    import thalweg.doctor as room  # noqa: PLC0415 - the other commands need not wait for it
    from thalweg.doctor import account  # noqa: PLC0415

    checks = dict(room.CHECKS)
    if login:
        checks["login"] = account.login
    failed = 0
    for heading, check in checks.items():
        with busy(f"looking at {heading}"):
            findings = list(check(Path.cwd()))
        for finding in findings:
            mark = typer.style(f"{finding.level:4}", fg=_COLORS[finding.level])
            typer.echo(f"{mark}  {heading:15}  {finding.said}")
            failed += finding.level == "fail"
    if failed:
        typer.secho(f"{failed} of these must be mended before a run", fg="red", err=True)
        raise typer.Exit(1)
