"""`thalweg pseudo-label`: what maps are sure of, as masks for a next round of training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from thalweg import params
from thalweg.commands.bar import busy
from thalweg.errors import RoundError
from thalweg.params.classes import Classes
from thalweg.params.round import Round
from thalweg.params.split import Split


def pseudo_label(
    maps: Annotated[list[Path], typer.Argument(metavar="MAP…", help="Folders of maps, such as maps/main.")],
    out: Annotated[Path, typer.Option(help="New folder, for round.input of the next round.")] = Path("masks/round2"),
    confidence: Annotated[float, typer.Option(min=0, max=1, help="Least probability of the map's class.")] = 0.9,
    entropy: Annotated[float | None, typer.Option(min=0, max=1, help="Largest normalised entropy.")] = None,
    disagreement: Annotated[float | None, typer.Option(min=0, help="Largest disagreement of members.")] = None,
    max_share: Annotated[
        list[str] | None, typer.Option(help="Of each class's ground, the surest, 0.2; or CLASS=0.2; repeat.")
    ] = None,
) -> None:
    """Writes what maps are sure of as masks for a next round, clear of validation, test and drawn ground.

    Run it in the project that made the maps, then start the next round by a recipe whose round.input is the folder.
    """
    from thalweg.manifest.rounds import read_round  # noqa: PLC0415 - the other commands need not wait for it
    from thalweg.pseudo.sure import Rules  # noqa: PLC0415
    from thalweg.pseudo.write import Project, write_pseudo_labels  # noqa: PLC0415

    classes = params.load(Classes)
    rules = Rules(confidence, entropy, disagreement, _shares(max_share or [], classes.names))
    earlier = read_round(Path(params.load(Round).input))
    project = Project(classes, params.load(Split), Path("build/scenes"), Path("build/split"), earlier)
    with busy("looking for what the maps are sure of"):
        record = write_pseudo_labels(_named(maps), rules, project, out)
    for name, pixels in record.class_px.items():
        typer.echo(f"{name:24} {pixels:10d} pixels")
    nearest = "beyond twice the buffer" if record.nearest_m is None else f"{record.nearest_m:.0f} m"
    typer.echo(f"nearest to validation or test ground: {nearest} (buffer {record.buffer_m:g} m)")
    typer.echo(f"wrote {out} for round {record.number}; keep it in git, set round.input to it, then `make train`")


def _named(maps: Sequence[Path]) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for path in maps:
        name = path.parent.resolve().name if path.suffix else path.resolve().name
        if name in named:
            raise RoundError(f"{named[name]} and {path} are both called {name}; give maps of different names")
        named[name] = path
    return named


def _shares(given: Sequence[str], names: Sequence[str]) -> dict[str, float]:
    shares: dict[str, float] = {}
    for text in given:
        name, equals, value = text.rpartition("=")
        try:
            shares |= dict.fromkeys([name] if equals else names, float(value))
        except ValueError as error:
            raise RoundError(f"--max-share should be 0.2 or CLASS=0.2, got {text}; correct it") from error
    return shares
