"""Small folders as the stages leave them, made up by hand, for tests of what reads them."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from affine import Affine
from scene_builder import make_scene

from thalweg import doubt, maps, raster
from thalweg.classes import ClassInfo
from thalweg.grid import Grid
from thalweg.manifest.chips import PARTS, Stats, part_path, write_chips, write_stats
from thalweg.manifest.crossval import CrossvalScores, write_crossval
from thalweg.manifest.heldout import Heldout, PartScores, write_heldout
from thalweg.manifest.products import Product, write_products
from thalweg.manifest.scene import Scene
from thalweg.params.classes import Classes

LEGEND = (ClassInfo(name="background", color="#e6e0d4"), ClassInfo(name="palaeochannel", color="#1f6fb4"))
CLASSES = Classes(legend=LEGEND)
PART = PartScores(
    confusion=((90, 10), (4, 16)), scenes={}, blocks={}, linear={}, positives=(), negatives=(),
    reliability=((0.0,) * 12 + (60.0, 0.0, 60.0), (0.0,) * 12 + (48.0, 0.0, 57.0), (0.0,) * 12 + (46.0, 0.0, 60.0)),
)  # fmt: skip


def make_history(folder: Path, member: str, mious: tuple[float, ...] = (0.4, 0.6, 0.55)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"{epoch},{1 / (epoch + 1):.3f},{1.2 / (epoch + 1):.3f},{miou}" for epoch, miou in enumerate(mious)]
    (folder / f"{member}.csv").write_text("\n".join(["epoch,train_loss,val_loss,val_miou", *rows]) + "\n")


def make_ranked(names=CLASSES.names) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Of each class 4 pixels near probability 0.9 and 2 near 0.3, of the others 1 and 3."""
    others, own = [0] * 256, [0] * 256
    own[230], own[76], others[230], others[76] = 4, 2, 1, 3
    return dict.fromkeys(names, (tuple(others), tuple(own)))


def make_heldout(
    folder: Path, member: str, parts: dict[str, PartScores] | None = None, panels: bool = True, names=CLASSES.names
) -> None:
    parts = parts or {"val": PART, "test": PART}
    ranked = dict.fromkeys(parts, make_ranked(names))
    write_heldout(Heldout(member=member, classes=names, parts=parts, ranked=ranked), folder / member)
    if panels:
        mask = np.zeros((2, 8, 8), np.uint8)
        mask[:, 2:4], mask[:, 7] = 1, 255
        rgb = np.full((2, 8, 8, 3), 120, np.uint8)
        names_of = np.array(["T20KNA 0 0", "T20KNA 0 8"])
        np.savez(
            folder / member / "panels.npz", rgb=rgb, mask=mask, labels=mask % 2, prob=mask, doubt=mask, names=names_of
        )


def scores(iou: float) -> dict[str, float]:
    return {"pixels": 120.0, "accuracy": 0.883, "miou": iou / 2 + 0.4501, "macro_f1": 0.8, "weighted_iou": 0.8,
            "iou_background": 0.9, "iou_palaeochannel": iou, "f1_palaeochannel": 2 * iou / (1 + iou), "ece": 0.0417}  # fmt: skip


def make_metrics(root: Path, test: bool = True) -> None:
    """Scores of `unet` and `fcn`, fcn better on test and worse on validation, and of the map `main`."""
    for member, val, tested in (("unet", 0.61, 0.512), ("fcn", 0.59, 0.533)):
        data = {"val": scores(val) | {"threshold": 0.37}}
        data |= {"test": scores(tested), "test_at_threshold": scores(tested + 0.01)} if test else {}
        _write(root / "metrics" / f"{member}.json", data)
    members = {"unet": {"val": scores(0.601)}, "fcn": {"val": scores(0.581)}}
    card = {"members": {name: {"scores": parts} for name, parts in members.items()}}
    _write(root / "ensembles" / "main" / "card.json", card)
    data = {"val": scores(0.644) | {"threshold": 0.41}}
    data |= {"test": scores(0.577) | {"threshold": 0.41}} if test else {}
    _write(root / "metrics" / "ensemble" / "main.json", data)


def make_crossval(root: Path, member: str = "unet") -> None:
    """Five folds whose scores are made up, a random split that flatters by 0.12."""
    mean, std = {"iou_palaeochannel": 0.47, "ece": 0.05}, {"iou_palaeochannel": 0.05, "ece": 0.01}
    pooled, random = {"iou_palaeochannel": 0.48, "ece": 0.05}, {"iou_palaeochannel": 0.6, "ece": 0.04}
    optimism = {"iou_palaeochannel": 0.12, "ece": -0.01}
    folds = {str(number): mean for number in range(5)}
    found = CrossvalScores(member=member, folds=folds, mean=mean, std=std, pooled=pooled, random=random, blocks=37,
                           confusion=((90, 10), (4, 16)), optimism=optimism)  # fmt: skip
    write_crossval(found, root / "metrics" / "crossval" / f"{member}.json")


def make_shift(root: Path, shift: dict[str, dict[str, float]], pooled: dict[str, float]) -> None:
    """Stability indices of the map's member `unet`: of single scenes, and of all together."""
    path = root / "ensembles" / "main" / "card.json"
    card = json.loads(path.read_text())
    card["members"]["unet"] |= {"shift": shift, "pooled_shift": pooled}
    _write(path, card)


def make_split(root: Path) -> None:
    corners = [[-65.0, -26.0], [-64.96, -26.0], [-64.96, -26.04], [-65.0, -26.04], [-65.0, -26.0]]
    features = [
        {"type": "Feature", "properties": {"block": f"0_{i}", "part": part}, "geometry": {"type": "Polygon", "coordinates":
         [[[lon + 0.04 * i, lat] for lon, lat in corners]]}}
        for i, part in enumerate(("train", "train", "val", "test"))
    ]  # fmt: skip
    _write(root / "build" / "split" / "blocks.geojson", {"type": "FeatureCollection", "features": features})
    px = {"background": 1234, "palaeochannel": 567}
    stats = Stats(channels=("B04",), mean=(0.1,), std=(0.1,), p02=(0.0,), p50=(0.1,), p98=(0.2,), pixels=1801, deciles=((0.1,) * 9,), shares=((0.1,) * 10,),
                  class_px=px, parts_px={"train": px, "val": px, "test": px}, leak_m=261.4, shown_m=253.0, hidden_fraction=0.05)  # fmt: skip
    write_stats(stats, root / "build" / "split", "s2_60m")


def make_parts(split: Path, scene: Scene) -> None:
    """Columns 0 to 29 train, 30 to 39 val, the rest test; a chip of 20 px each in rows 0 and 20."""
    path = part_path(split, scene.record.grid, scene.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = raster.create_pixels(path, scene.grid, 1, "uint8", None)
    rows = []
    for part, left, right in (("train", 0, 30), ("val", 30, 40), ("test", 40, 60)):
        parts[:, left:right, 0] = PARTS[part]
        rows += [{"scene": scene.name, "row": row, "col": left, "size": 20, "block": f"{row}_{left}", "part": part,
                  "valid_fraction": 1.0, "hidden_fraction": 0.0, "labelled_px": 200 + row} for row in (0, 20)]  # fmt: skip
    parts.flush()
    write_chips(pd.DataFrame(rows), split, scene.record.grid)


def make_map(root: Path, name: str = "main", shape: tuple[int, int] = (40, 60), members: tuple[str, ...] = ()) -> Path:
    """A map whose upper left corner has no measurement and whose middle rows are palaeochannel."""
    probs = np.full((2, *shape), 0.1, np.float32)
    probs[1, 15:20] = 0.9
    probs[0] = 1 - probs[1]
    measured = np.ones(shape, bool)
    measured[:8, :8] = False
    grid = Grid("EPSG:32720", Affine(60, 0, 600_000, 0, -60, 7_000_000), shape)
    scratch, folder = root / "scratch", root / "maps" / name
    scratch.mkdir(parents=True, exist_ok=True)
    tags = {"GIT_COMMIT": "0123abcd", "PRODUCTS": "S2A_SAMPLE"}
    with maps.create_probs(scratch / "probs.tif", grid, CLASSES.names, tags) as dataset:
        dataset.write(maps.quantise(probs, measured))
    with maps.create_probs(scratch / "doubts.tif", grid, ("entropy", "disagreement")) as dataset:
        dataset.write(maps.quantise(np.stack([doubt.entropy(probs), np.full(shape, 0.2)]), measured))
    parts = maps.Parts(scratch / "probs.tif", scratch / "doubts.tif", [grid.full])
    maps.write_map(parts, maps.Look(LEGEND, tags, partial(maps.to_labels, cut=None)), folder, scratch)
    for member in members:  # surer than the map, and only below its middle rows
        with maps.create_probs(scratch / "member.tif", grid, CLASSES.names, tags) as dataset:
            dataset.write(maps.quantise(np.roll(probs, 9, 1), measured))
        (folder / "members").mkdir(exist_ok=True)
        raster.write_cog(scratch / "member.tif", folder / "members" / f"{member}.tif", "average")
    return folder


def make_run(root: Path) -> Path:
    """A finished run without plots: products, scenes, split, metrics and one map."""
    product = Product(name="S2A_SAMPLE", form="safe", path="S2A_SAMPLE.SAFE", files=(), bands={}, scale=1.0, offset=0.0,
                      nodata=None, date=None)  # fmt: skip
    write_products([product], root / "build" / "raw")
    scene = make_scene(root / "build/scenes/s2_60m", "S2A_SAMPLE", shape=(40, 60), channels=("B02", "B03", "B04"))
    make_split(root)
    make_parts(root / "build/split", scene)
    make_metrics(root)
    make_map(root)
    return root


def _write(path: Path, data: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
