"""`thalweg suggest`: where to draw next."""

from pathlib import Path
from typing import Annotated

import typer

from thalweg import params
from thalweg.commands.bar import busy
from thalweg.params.grids import GridParams
from thalweg.params.round import Round
from thalweg.params.split import Split

_Weight = typer.Option(min=0, help="Weight in the score.")


def suggest(
    maps: Annotated[list[Path], typer.Argument(metavar="MAP…", help="Folders of maps, such as maps/main.")],
    out: Annotated[Path, typer.Option(help="GeoPackage to write.")] = Path("suggestions.gpkg"),
    count: Annotated[int, typer.Option(min=1, help="Blocks to rank.")] = 20,
    by: Annotated[
        str, typer.Option(help="Doubt: entropy, or a word of a band of uncertainty.tif, such as disagreement.")
    ] = "entropy",
    doubt: Annotated[float, _Weight] = 1.0,
    novelty: Annotated[float, _Weight] = 1.0,
    typical: Annotated[float, _Weight] = 0.25,
    cost: Annotated[float, _Weight] = 0.25,
    least: Annotated[float, typer.Option(min=0, max=1, help="Least share of a block that is free to draw.")] = 0.25,
    grid: Annotated[
        str | None, typer.Option(help="Whose channels tell how blocks look; default: the coarsest.")
    ] = None,
    apart: Annotated[
        bool, typer.Option("--apart", help="List validation and test blocks in a layer of their own.")
    ] = False,
) -> None:
    """Ranks blocks by what drawing them would teach and cost; validation and test ground is never among them."""
    from thalweg.guard import scenes_of  # noqa: PLC0415 - the other commands need not wait for it
    from thalweg.manifest.rounds import read_round  # noqa: PLC0415
    from thalweg.suggest.rank import Weights  # noqa: PLC0415
    from thalweg.suggest.suggest import APART, SUGGESTIONS, Ground, Wish, write_suggestions  # noqa: PLC0415
    from thalweg.suggest.suggest import suggest as find  # noqa: PLC0415
    from thalweg.vectors import check_target  # noqa: PLC0415

    check_target(out)
    split, folder = params.load(Split), Path("build/split")
    scenes = scenes_of(Path("build/scenes"), folder)
    grids = params.load_items(GridParams)
    coarsest = max(grids, key=lambda name: grids[name].resolution_m or 0)
    ground = Ground(
        scenes, grid or coarsest, folder, split.block_m, split.buffer_m, read_round(Path(params.load(Round).input))
    )
    with busy("ranking blocks"):
        layers = find(maps, Wish(Weights(doubt, novelty, typical, cost), count, by, least), ground)
    ranked, held = layers[SUGGESTIONS], layers[APART]
    for row in ranked.itertuples():
        typer.echo(f"{row.rank:4d}  {row.block:14} {row.score:.3f}  {row.reason}")
    write_suggestions(layers if apart else {SUGGESTIONS: ranked}, out)
    beside = (
        f" and apart from them {len(held)} held-out ones" if apart else f"; {len(held)} held-out blocks are left out"
    )
    typer.echo(f"wrote {out} with {len(ranked)} blocks{beside}")
