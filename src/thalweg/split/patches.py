"""What the crop system's rules know of a scene: attributes from its name, and columns to stratify on."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from thalweg.classes import IGNORE
from thalweg.errors import SplitError
from thalweg.manifest.scene import Scene
from thalweg.split.tables import BAND_PX, bands, labels
from thalweg.split.terrain import channel_of, heights

_NAME = re.compile(r"(?P<year>\d{4})_(?P<tile>\d\d[A-Z]{3})_patch_(?P<patch_x>\d+)_(?P<patch_y>\d+)")
_TILE = re.compile(r"(?:^|_)T?(\d\d[A-Z]{3})(?:_|$)")
_ELEVATIONS: dict[str, Callable[[np.ndarray], float]] = {
    "elevation_mean": np.nanmean,
    "elevation_std": np.nanstd,
    "elevation_median": np.nanmedian,
}


@dataclass(frozen=True)
class Patch:
    """A scene as rules see it; None where its name does not say."""

    name: str
    year: int | None
    tile: str | None
    patch_x: int | None
    patch_y: int | None

    @property
    def path(self) -> str:
        """What `path` filters are compared with: the name alone, since a scene has no path."""
        return self.name


def patch_of(scene: Scene) -> Patch:
    """Attributes from a name such as `2019_31TCJ_patch_20_29`; else year and tile of a Sentinel-2 scene."""
    if match := _NAME.search(scene.name):
        at = match.groupdict()
        return Patch(scene.name, int(at["year"]), at["tile"], int(at["patch_x"]), int(at["patch_y"]))
    sensed = scene.record.dates[0] if scene.record.dates else scene.record.sensing_time
    tile = _TILE.search(scene.name)
    return Patch(scene.name, int(sensed[:4]) if sensed else None, tile[1] if tile else None, None, None)


def column(name: str, scenes: Iterable[Scene], classes: tuple[str, ...]) -> dict[str, float]:
    """Scene name → value of a numeric column: year, patch_x, patch_y, elevation_<mean|std|median>, share_<class>.

    Raises:
        SplitError: There is no such column, or a scene has no value in it.
    """
    values = {scene.name: _value(name, scene, classes) for scene in scenes}
    lacking = [scene for scene, value in values.items() if value is None or not np.isfinite(value)]
    if lacking:
        raise SplitError(
            f"split.official stratifies on '{name}', of which {len(lacking)} of {len(values)} scenes have no value, "
            f"such as {lacking[0]}; add the channel 'elevation' to the grid, or drop the column from stratify_on"
        )
    return {scene: float(value) for scene, value in values.items() if value is not None}


def _value(name: str, scene: Scene, classes: tuple[str, ...]) -> float | None:
    if name in ("year", "patch_x", "patch_y"):
        found: int | None = getattr(patch_of(scene), name)
        return found
    if name in _ELEVATIONS:
        channel = channel_of(scene)
        metres = None if channel is None else heights(scene, scene.grid.full, channel)
        return None if metres is None or not np.isfinite(metres).any() else float(_ELEVATIONS[name](metres))
    if name.removeprefix("share_") in classes:
        return _shares(scene, classes)[name.removeprefix("share_")]
    raise SplitError(
        f"split.official stratifies on '{name}', which is no column; known are year, patch_x, patch_y, "
        f"{', '.join(_ELEVATIONS)} and {', '.join(f'share_{each}' for each in classes)}"
    )


def _shares(scene: Scene, classes: tuple[str, ...]) -> Mapping[str, float]:
    """Of the labelled, valid pixels; all 0 where there is none."""
    counts = np.zeros(len(classes), np.int64)
    for window in bands(scene.grid.shape_yx, BAND_PX):
        truth = labels(scene, window, classes)
        counts += np.bincount(truth[truth != IGNORE], minlength=len(classes))
    return dict(zip(classes, (counts / max(counts.sum(), 1)).tolist(), strict=True))
