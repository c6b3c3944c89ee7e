"""`thalweg predict`: a map of any image by a trained model, wherever it lies."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from thalweg import bucket
from thalweg.commands.bar import bar, busy, track
from thalweg.commands.said import (
    Bands,
    Date,
    Device,
    Elevation,
    MemoryGib,
    Nodata,
    Offset,
    PixelM,
    Resample,
    Scale,
    to_said,
)
from thalweg.commands.scheduled import PANEL, AtOnce, Cpus, Gpus, Hours, Options, to_options
from thalweg.commands.shares import Wanted, check_wanted, predict_shares, submit_shares, work_of
from thalweg.errors import ImageError
from thalweg.submit.jobs import Resources

if TYPE_CHECKING:
    from thalweg.predict.run import Order


def predict(
    context: typer.Context,
    model: Annotated[Path, typer.Argument(help="models/<member>, ensembles/<name>, a bundle (.zip) or an .onnx file.")],
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE…", help="SAFE folders or zips, rasters, scene folders; globs and s3:// too."),
    ],
    out: Annotated[str, typer.Option(help="Folder of the map to make, or s3://bucket/name.")] = "map",
    bands: Bands = None,
    scale: Scale = None,
    offset: Offset = None,
    nodata: Nodata = None,
    date: Date = None,
    pixel_m: PixelM = None,
    elevation: Elevation = None,
    resample: Resample = False,
    aoi: Annotated[Path | None, typer.Option(help="Vector file: only ground inside is mapped.")] = None,
    each: Annotated[bool, typer.Option("--each", help="A map per image, OUT/<image>, instead of one of all.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how long it would take and how much memory.")] = False,
    device: Device = "auto",
    tta: Annotated[bool, typer.Option("--tta", help="Mean over the eight flips and turns: 8 times the work.")] = False,
    overlap: Annotated[
        float | None, typer.Option(min=0, max=0.95, help="Of neighbouring windows; default: the model's own.")
    ] = None,
    blend: Annotated[str | None, typer.Option(help="hann (default), cosine, linear, crop or none.")] = None,
    memory_gib: MemoryGib = 2.0,
    splits: Annotated[
        int | None, typer.Option(min=1, help="Predict the rows in so many shares, one for each of so many machines.")
    ] = None,
    split: Annotated[
        int | None, typer.Option(min=1, help="Which share; without it, those that are not there, and the map.")
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Make the map of shares that are all there, and predict nothing.")
    ] = False,
    submit: Annotated[
        str | None,
        typer.Option(
            metavar="SCHEDULER",
            rich_help_panel=PANEL,
            help="Hand the shares that are not there to slurm, aws_batch or run_ai, and the map after them; with "
            "--dry-run print specs and calls.",
        ),
    ] = None,
    gpus: Gpus = None,
    cpus: Cpus = 8,
    node_gib: Annotated[int, typer.Option(min=1, help="Memory per node.", rich_help_panel=PANEL)] = 32,
    hours: Hours = 24,
    at_once: AtOnce = None,
    options: Options = None,
) -> None:
    """Maps images by a trained model: classes, probabilities and uncertainty as COGs with a QGIS style.

    Needs no project, no DVC and no training data: the model's card says how images are prepared and what they must be.
    Started again after a kill, it goes on where it was.
    """
    wanted = Wanted(splits, split, merge, submit)
    check_wanted(context, wanted)
    accelerators = int(device.startswith("cuda")) if gpus is None else gpus
    resources = Resources(nodes=1, processes=1, gpus=accelerators, cpus=cpus, memory_gib=node_gib, hours=hours,
                          at_once=at_once, options=to_options(options))  # fmt: skip
    with busy("loading torch"):  # takes seconds; faults of arguments show first
        from thalweg.predict.apply import Settings  # noqa: PLC0415
        from thalweg.predict.near import Part, bring_images  # noqa: PLC0415
        from thalweg.predict.run import Order  # noqa: PLC0415
        from thalweg.predict.source import open_source  # noqa: PLC0415

    said = to_said(bands, scale, offset, nodata, date, pixel_m, elevation, resample)
    views: Literal[1, 8] = 8 if tta else 1
    place = _place(out)
    with tempfile.TemporaryDirectory(prefix="thalweg.") as scratch:
        source = open_source(model, Path(scratch))
        near = place.absolute().with_name(f".{place.name}.images")
        margin_px = max(card.window_px for card in source.cards.values())
        found = bring_images(images, near, None if aoi is None else Part(aoi, margin_px))
        order = Order(source, tuple(found), said, Settings(overlap, blend, views, memory_gib, device, aoi))
        orders = _orders(order, place, each)
        if submit:
            _check_homes(orders)
            _check_free(orders, place, each)
            submit_shares(context, orders, wanted, resources)
            return
        if dry_run:
            _tell_estimates(order, Path(scratch))
            return
        _check_homes(orders)
        if split is None:
            _check_free(orders, place, each)
        elif all(made.exists() for made in orders):
            typer.echo(f"{out} is there already, and nothing was predicted; remove it, or give another --out")
            return
        predict_shares(orders, wanted)
        if split is not None:
            typer.echo(f"predicted split {split} of {splits}; when all are, the same without --split makes {out}")
            return
        if each:
            _map_each(orders, place, out, wanted)
        else:
            _map(order, place, out, wanted)
    if bucket.is_url(out):
        _put(place, out, each)
    shutil.rmtree(near, ignore_errors=True)


def _orders(order: "Order", place: Path, each: bool) -> "dict[Path, Order]":
    """The maps that are to be made, with what is on each."""
    if not each:
        return {place: order}
    orders = {place / path.stem: replace(order, images=(path,)) for path in order.images}
    if len(orders) < len(order.images):
        names = ", ".join(path.name for path in orders)
        raise ImageError(
            f"{len(order.images)} images have {len(orders)} different names ({names}), which their maps "
            "are told apart by; rename some, or give them one after the other"
        )
    return orders


def _place(out: str) -> Path:
    """Where a map is made: its own folder, or, for a bucket, one here with the map's name.

    Raises:
        ImageError: Something lies in the bucket under that name.
    """
    if not bucket.is_url(out):
        return Path(out)
    if bucket.find(out):
        raise ImageError(f"{bucket.to_url(out)} is there already; remove it, or give another --out")
    return Path(f".{Path(out).name}.for-s3")


def _put(place: Path, out: str, each: bool) -> None:
    """What was made here into the bucket; it is here no more when all of it is there."""
    from thalweg.predict.near import put_map  # noqa: PLC0415

    with busy("putting the map into the bucket"):
        for folder in sorted(place.iterdir()) if each else [place]:
            put_map(folder, f"{out}/{folder.name}" if each else out)
    shutil.rmtree(place)
    typer.echo(f"put it into {bucket.to_url(out)}")


def _map_each(orders: "dict[Path, Order]", place: Path, said: str, wanted: Wanted) -> None:
    """A map per image; those that a killed run finished stay, as its marks beside the folder tell."""
    done = _marks(orders, place)
    for out, order in orders.items():
        if out.exists():
            typer.echo(f"{out} was finished by the run before")
            continue
        _map(order, out, f"{said}/{out.name}", wanted)
        done[out].parent.mkdir(parents=True, exist_ok=True)
        done[out].touch()
    shutil.rmtree(_finished(place), ignore_errors=True)


def _marks(orders: "dict[Path, Order]", place: Path) -> dict[Path, Path]:
    """Map → what tells that a run of the same order finished it."""
    from thalweg.predict.run import key_of  # noqa: PLC0415

    return {out: _finished(place) / f"{out.name}.{key_of(order)}" for out, order in orders.items()}


def _finished(place: Path) -> Path:
    return place.absolute().with_name(f".{place.name}.finished")


def _check_free(orders: "dict[Path, Order]", place: Path, each: bool) -> None:
    """Whether nothing lies where maps are to be made, but for maps that a killed run of the same order finished.

    Raises:
        ImageError: Something does.
    """
    done = _marks(orders, place) if each else {}
    for out in orders:
        if out.exists() and not (each and done[out].exists()):
            raise ImageError(f"{out} is there already; remove it, or give another --out")


def _check_homes(orders: "dict[Path, Order]") -> None:
    """Whether maps can be made where they shall.

    Raises:
        ImageError: Something that is no folder is in the way.
    """
    for out in orders:
        home = next(parent for parent in out.absolute().parents if parent.exists())
        if not home.is_dir():
            raise ImageError(f"{out} cannot be made, because {home} is a file; give another --out")


def _map(order: "Order", out: Path, said: str, wanted: Wanted) -> None:
    from thalweg.predict.run import predict as run  # noqa: PLC0415
    from thalweg.predict.several import merge  # noqa: PLC0415

    of, work = wanted.splits or 1, work_of(out)
    names = merge(order, out, work, of, bar) if wanted.splits else run(order, out, work, bar, track)
    typer.echo(f"mapped {len(names)} image{'s' * (len(names) != 1)} by {order.source.name}; open {said}/classes.tif")


def _tell_estimates(order: "Order", scratch: Path) -> None:
    from thalweg.predict.estimate import to_lines  # noqa: PLC0415
    from thalweg.predict.run import estimates  # noqa: PLC0415

    with busy("timing some windows"):
        found = estimates(order, scratch)
    for line in to_lines(found):
        typer.echo(line)
