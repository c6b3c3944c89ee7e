"""`thalweg view`: maps and scenes of any size to look around in, in the browser."""

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thalweg import bucket, params

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from thalweg.classes import ClassInfo


def view(
    source: Annotated[
        str | None,
        typer.Argument(metavar="[MAP|SCENE]", help="A folder, or s3:// of a map; default: the project's all."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of this machine; 0: any that is free.")] = 0,
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open it in the browser.")] = True,
) -> None:
    """Shows a map or scene in the browser, straight from its files: layers, swipe, zoom, classes and probabilities.

    Below a map the project's scenes are shown. /data tells of the data: class shares, bands, chips of each part. Only
    this machine can open it; Ctrl-C ends it.
    """
    from thalweg.explorer.find import find_sources  # noqa: PLC0415 - the other commands need not wait for it
    from thalweg.explorer.serve import Viewer  # noqa: PLC0415

    root = Path.cwd()
    legend = _legend(root)
    path = None if source is None else bucket.to_vsi(source) if bucket.is_url(source) else Path(source)
    server = Viewer(find_sources(path, root, legend), _data(root, legend), port)
    typer.echo(f"{server.address}  (Ctrl-C ends it)")
    if open_:
        webbrowser.open(server.address)
    try:
        server.run()
    except KeyboardInterrupt:
        server.server_close()


def _legend(root: Path) -> "Sequence[ClassInfo]":
    """The project's classes; none outside of a project."""
    from thalweg.params.classes import Classes  # noqa: PLC0415

    return params.load(Classes).legend if (root / params.PARAMS_FILE).is_file() else ()


def _data(root: Path, legend: "Sequence[ClassInfo]") -> "Callable[[], str] | None":
    """What makes the page about the data, where the project has a split."""
    from thalweg.datapage import build_page  # noqa: PLC0415

    scenes, split = root / "build" / "scenes", root / "build" / "split"
    return (lambda: build_page(scenes, split, legend)) if legend and split.is_dir() else None
