"""`thalweg repack`: other forms into packed, memory-mapped scenes, and scenes into plain GeoTIFF chips."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from thalweg import params
from thalweg.commands.bar import track
from thalweg.commands.said import Bands, Date, Elevation, Nodata, Offset, PixelM, Scale, to_said
from thalweg.errors import RepackError

app = typer.Typer(no_args_is_help=True, help=__doc__)
_Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to make.")]
_Force = Annotated[bool, typer.Option("--force", help="Replace what stands there, once the new is verified.")]


@app.command()
def pack(
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE…", help="Rasters, SAFE folders or zips, NetCDF cubes; globs too.")
    ],
    out: _Out,
    grid: Annotated[
        str | None, typer.Option(help="Key under `grids`; rasters may do without: pixels as they are.")
    ] = None,
    file: Annotated[Path, typer.Option("--params", help="Where grids, classes and masks are.")] = params.PARAMS_FILE,
    masks: Annotated[Path | None, typer.Option(help="Folder of masks, read as section `masks` says.")] = None,
    size: Annotated[int, typer.Option("--pack", min=1, help="Scenes that share files; 1 gives each its own.")] = 300,
    check: Annotated[int, typer.Option(min=0, help="Scenes that are built twice and compared.")] = 8,
    force: _Force = False,
    bands: Bands = None,
    scale: Scale = None,
    offset: Offset = None,
    nodata: Nodata = None,
    date: Date = None,
    pixel_m: PixelM = None,
    elevation: Elevation = None,
) -> None:
    """Packs images into memory-mapped scenes, by the code of `preprocess`; never overwrites unasked.

    Run again with the same images, it verifies every byte of what is there and does nothing else.
    """
    from thalweg.classes import ClassInfo  # noqa: PLC0415 - these take seconds; faults of arguments show first
    from thalweg.params.classes import Classes  # noqa: PLC0415
    from thalweg.params.grids import GridParams  # noqa: PLC0415
    from thalweg.params.masks import Masks  # noqa: PLC0415
    from thalweg.prepare import Labels, find_images, no_labels  # noqa: PLC0415
    from thalweg.repack.pack import Order, derived_grid  # noqa: PLC0415
    from thalweg.repack.pack import pack as run  # noqa: PLC0415

    said = to_said(bands, scale, offset, nodata, date, pixel_m, elevation, resample=False)
    found = tuple(find_images(images))
    if grid is None:
        chosen = derived_grid(found[0], said, size)
    else:
        chosen = params.load(GridParams, grid, file).model_copy(update={"pack": size})
    if masks is not None and not masks.is_dir():
        raise RepackError(f"--masks should be a folder of masks, but {masks} is none; correct it")
    plain = tuple(
        ClassInfo(name=name, color=color) for name, color in (("background", "#000000"), ("other", "#ffffff"))
    )
    with tempfile.TemporaryDirectory(prefix="thalweg.") as scratch:
        labels = no_labels(Path(scratch)) if masks is None else Labels(params.load(Masks, path=file), masks)
        classes = Classes(legend=plain) if masks is None else params.load(Classes, path=file)
        order = Order(found, said, grid or out.name, chosen, labels, classes)
        count, standing = run(order, out, force, check, lambda each: track(each, "packs"))
    if standing:
        typer.echo(f"{out} is there already, made of just this; all bytes verified ({count} scenes)")
    else:
        typer.echo(f"packed {count} scenes into {out}")


@app.command()
def chips(
    scenes: Annotated[Path, typer.Argument(help="Folder of a grid's scenes: build/scenes/<grid>, or a repacked one.")],
    out: _Out,
    chip_px: Annotated[
        int | None, typer.Option(min=8, help="Edge; whole scenes, or the split's windows, by default.")
    ] = None,
    split: Annotated[Path | None, typer.Option(help="Windows of this split's chip table: build/split.")] = None,
    part: Annotated[str | None, typer.Option(help="Of the split: train, val or test alone.")] = None,
    least_valid: Annotated[
        float, typer.Option(min=0, max=1, help="Chips with a smaller valid share are left out.")
    ] = 0.0,
    force: _Force = False,
) -> None:
    """Writes scenes as plain GeoTIFF chips: images/, masks/ (255 = unlabelled or not valid) and chips.csv."""
    from thalweg.repack.chips import Wish, unpack  # noqa: PLC0415 - these take seconds; faults of arguments show first

    if part is not None and (split is None or part not in ("train", "val", "test")):
        raise RepackError(
            f"--part is train, val or test of a --split, got '{part}'; correct it, or add --split build/split"
        )
    wish = Wish(chip_px, split, part, least_valid)
    count, standing = unpack(scenes, out, wish, force, lambda each: track(each, "scenes"))
    if standing:
        typer.echo(f"{out} is there already, made of just this; all bytes verified ({count} images)")
    else:
        typer.echo(f"wrote {count} images and {out / 'chips.csv'}")
