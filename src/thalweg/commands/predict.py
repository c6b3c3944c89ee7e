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
from thalweg.errors import ImageError

if TYPE_CHECKING:
    from thalweg.predict.run import Order


def predict(
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
) -> None:
    """Maps images by a trained model: classes, probabilities and uncertainty as COGs with a QGIS style.

    Needs no project, no DVC and no training data: the model's card says how images are prepared and what they must be.
    Started again after a kill, it goes on where it was.
    """
    with busy("loading torch"):  # takes seconds; faults of arguments show first
        from thalweg.predict.apply import Settings  # noqa: PLC0415
        from thalweg.predict.near import Part, bring_images  # noqa: PLC0415
        from thalweg.predict.run import Order  # noqa: PLC0415
        from thalweg.predict.source import open_source  # noqa: PLC0415

    said = to_said(bands, scale, offset, nodata, date, pixel_m, elevation, resample)
    views: Literal[1, 8] = 8 if tta else 1
    place = _place(out)
    shares = _shares(splits, split)
    with tempfile.TemporaryDirectory(prefix="thalweg.") as scratch:
        source = open_source(model, Path(scratch))
        near = place.absolute().with_name(f".{place.name}.images")
        margin_px = max(card.window_px for card in source.cards.values())
        found = bring_images(images, near, None if aoi is None else Part(aoi, margin_px))
        order = Order(source, tuple(found), said, Settings(overlap, blend, views, memory_gib, device, aoi))
        if dry_run:
            _tell_estimates(order, Path(scratch))
            return
        if shares:
            _predict_shares(order, place, each, shares)
        if split is not None:
            typer.echo(f"predicted split {split} of {splits}; when all are, the same without --split makes {out}")
            return
        if each:
            _map_each(order, place, out)
        else:
            _map(order, place, out)
    if bucket.is_url(out):
        _put(place, out, each)
    shutil.rmtree(near, ignore_errors=True)


def _shares(splits: int | None, split: int | None) -> "list[tuple[int, int]]":
    """Number and count of the shares to be predicted here.

    Raises:
        ImageError: There is no such share.
    """
    if split is None:
        return [(number, splits) for number in range(1, splits + 1)] if splits else []
    if splits is None or split > splits:
        said = "no --splits says of how many" if splits is None else f"--splits {splits} says that there are fewer"
        raise ImageError(f"--split {split} is asked for, but {said}; give --splits N and --split 1 to N")
    return [(split, splits)]


def _predict_shares(order: "Order", place: Path, each: bool, shares: "list[tuple[int, int]]") -> None:
    """Into the folder that the map is made from, which several machines may share."""
    from thalweg.predict.apply import Share  # noqa: PLC0415
    from thalweg.predict.run import predict_share  # noqa: PLC0415

    orders = {place / path.stem: replace(order, images=(path,)) for path in order.images} if each else {place: order}
    for out, one in orders.items():
        if out.exists():
            continue
        for number, of in shares:
            predict_share(one, _work(out), Share(number, of), bar)


def _work(out: Path) -> Path:
    return out.absolute().with_name(f".{out.name}.unfinished")


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


def _map_each(order: "Order", out: Path, said: str) -> None:
    """A map per image; those that a killed run finished stay, as its marks beside the folder tell."""
    from thalweg.predict.run import key_of  # noqa: PLC0415

    orders = {path.stem: replace(order, images=(path,)) for path in order.images}
    if len(orders) < len(order.images):
        raise ImageError(
            f"{len(order.images)} images have {len(orders)} different names ({', '.join(orders)}), which their maps "
            "are told apart by; rename some, or give them one after the other"
        )
    marks = out.absolute().with_name(f".{out.name}.finished")
    done = {name: marks / f"{name}.{key_of(one)}" for name, one in orders.items()}
    for name in orders:
        if (out / name).exists() and not done[name].exists():
            raise _taken(out / name)
    for name, one in orders.items():
        if (out / name).exists():
            typer.echo(f"{out / name} was finished by the run before")
            continue
        _map(one, out / name, f"{said}/{name}")
        marks.mkdir(parents=True, exist_ok=True)
        done[name].touch()
    shutil.rmtree(marks, ignore_errors=True)


def _taken(out: Path) -> ImageError:
    return ImageError(f"{out} is there already; remove it, or give another --out")


def _map(order: "Order", out: Path, said: str) -> None:
    from thalweg.predict.run import predict as run  # noqa: PLC0415

    if out.exists():
        raise _taken(out)
    home = next(parent for parent in out.absolute().parents if parent.exists())
    if not home.is_dir():
        raise ImageError(f"{out} cannot be made, because {home} is a file; give another --out")
    work = _work(out)
    names = run(order, out, work, bar, track)
    shutil.rmtree(work)
    typer.echo(f"mapped {len(names)} image{'s' * (len(names) != 1)} by {order.source.name}; open {said}/classes.tif")


def _tell_estimates(order: "Order", scratch: Path) -> None:
    from thalweg.predict.estimate import to_lines  # noqa: PLC0415
    from thalweg.predict.run import estimates  # noqa: PLC0415

    with busy("timing some windows"):
        found = estimates(order, scratch)
    for line in to_lines(found):
        typer.echo(line)
