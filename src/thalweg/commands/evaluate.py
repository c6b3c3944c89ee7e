"""`thalweg evaluate`: a trained model's scores on any labelled scenes."""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from thalweg.commands.bar import bar, busy
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


def evaluate(
    model: Annotated[Path, typer.Argument(help="models/<member>, a bundle of one (.zip), or an .onnx file.")],
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE…", help="Scene folders with masks, or images with --masks; globs and s3:// too."),
    ],
    masks: Annotated[Path | None, typer.Option(help="Raster of labels, or a folder of such, for images.")] = None,
    values: Annotated[
        str | None, typer.Option(help="255=channel,…: what mask values mean. Default: the numbers of the classes.")
    ] = None,
    zero: Annotated[str, typer.Option(help="What 0 means: background (the first class) or unlabelled.")] = "background",
    out: Annotated[Path | None, typer.Option(help="JSON to write.")] = None,
    bands: Bands = None,
    scale: Scale = None,
    offset: Offset = None,
    nodata: Nodata = None,
    date: Date = None,
    pixel_m: PixelM = None,
    elevation: Elevation = None,
    resample: Resample = False,
    device: Device = "auto",
    tta: Annotated[bool, typer.Option("--tta", help="Mean over the eight flips and turns.")] = False,
    block_px: Annotated[int, typer.Option(min=1, help="Edge of the blocks that intervals are drawn from.")] = 64,
    memory_gib: MemoryGib = 2.0,
) -> None:
    """Scores a model on labelled ground: per class and scene, with calibration error and 95 % intervals by blocks."""
    with busy("loading torch"):  # takes seconds; faults of arguments show first
        from thalweg.evaluate import evaluate as run  # noqa: PLC0415
        from thalweg.evaluate import to_lines  # noqa: PLC0415
        from thalweg.infer.lattice import How  # noqa: PLC0415
        from thalweg.manifest import write_json  # noqa: PLC0415
        from thalweg.manifest.scene import read_scenes  # noqa: PLC0415
        from thalweg.predict.near import bring_images  # noqa: PLC0415
        from thalweg.predict.source import open_source  # noqa: PLC0415
        from thalweg.prepare import prepare  # noqa: PLC0415
        from thalweg.prepare.labels import labels_of  # noqa: PLC0415

    said = to_said(bands, scale, offset, nodata, date, pixel_m, elevation, resample)
    with tempfile.TemporaryDirectory(prefix="thalweg.") as scratch:
        found = bring_images(images, Path(scratch) / "images")
        source = open_source(model, Path(scratch))
        if source.ensemble is not None:
            raise ImageError(f"{model} is an ensemble, whose scores are in its card; give one of its models")
        source.check_device(device)
        [(name, card)] = source.cards.items()
        labels = None if masks is None else labels_of(card, masks, values, zero)
        with bar("preparing images"):
            prepare(card, found, said, Path(scratch) / "scenes", labels)
        member = source.load(name, device, 8 if tta else 1)
        how = How((card.overlap,), "hann")
        scores: dict[str, Any] = run(member, read_scenes(Path(scratch) / "scenes"), how, memory_gib, block_px,
                                     Path(scratch), bar)  # fmt: skip
    for line in to_lines(scores):
        typer.echo(line)
    if out:
        write_json(scores, out)
        typer.echo(f"wrote {out}")
