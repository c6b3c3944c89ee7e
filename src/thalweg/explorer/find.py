"""What can be looked at: a map or scene that is named, or all maps and scenes of a project."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from thalweg import bucket
from thalweg.classes import ClassInfo
from thalweg.errors import ViewError
from thalweg.explorer.ground import Ground
from thalweg.explorer.held import HeldMap
from thalweg.explorer.tiles import Source
from thalweg.grid import Grid
from thalweg.manifest.scene import SCENE, Scene, read_scenes, scene_files
from thalweg.mapfiles import CLASSES, PROBS, UNCERTAINTY, read_map
from thalweg.mosaic import footprint

MAX_SCENES = 100
"""Scenes of a project that are offered by themselves."""


def find_sources(path: Path | None, project: Path, classes: Sequence[ClassInfo]) -> dict[str, Source]:
    """Everything to look at, by its name in the address.

    Args:
        path: A map's folder or classes.tif, or a scene's folder; None: what the project has.
        project: Folder of maps/ and build/, whose scenes are shown below maps.
        classes: Names and colours of the scenes' masks; none: masks are not shown.

    Raises:
        ViewError: It is neither, or there is nothing.
        RasterError, MapError, SceneError: It is broken.
    """
    scenes = project / "build" / "scenes"
    if path is not None and bucket.is_url(str(path)):
        return _in_bucket(bucket.to_url(str(path)), scenes)
    if path is not None:
        return {path.resolve().name: _source(path, scenes, classes)}
    found = {folder.parent.name: _map(folder.parent, scenes) for folder in sorted(project.glob(f"maps/*/{CLASSES}"))}
    for grid in sorted(scenes.glob("*/")):
        for name, scene in list(read_scenes(grid).items() if scene_files(grid) else ())[:MAX_SCENES]:
            found[f"{grid.name}/{name}"] = Source(name, Ground([scene], scene.grid), None, classes)
    if not found:
        raise ViewError(
            f"{project.resolve()} has no map in maps/ and no scene in build/scenes; name one, or run `dvc repro`"
        )
    return found


def _source(path: Path, scenes: Path, classes: Sequence[ClassInfo]) -> Source:
    if (path / SCENE).is_file():
        scene = Scene(path)
        return Source(scene.name, Ground([scene], scene.grid), None, classes)
    if path.is_file() or (path / CLASSES).is_file():
        return _map(path, scenes)
    raise ViewError(f"{path} holds neither {CLASSES} nor {SCENE}; name the folder of a map or of a scene")


def _in_bucket(url: str, scenes: Path) -> dict[str, Source]:
    """A map whose files GDAL reads where they are, tile by tile."""
    folder = url.removesuffix(f"/{CLASSES}")
    bucket.tell_gdal()
    there = set(bucket.find(f"{folder}/*.tif"))
    if f"{folder}/{CLASSES}" not in there:
        raise ViewError(f"{folder} holds no {CLASSES}; name the folder of a map in a bucket")
    files = read_map(bucket.to_vsi(f"{folder}/{CLASSES}"))
    beside = {name: bucket.to_vsi(f"{folder}/{name}") if f"{folder}/{name}" in there else None
              for name in (PROBS, UNCERTAINTY)}  # fmt: skip
    files = replace(files, probs=beside[PROBS], uncertainty=beside[UNCERTAINTY])
    name = Path(folder).name
    return {name: Source(name, ground_of(files.grid, scenes), HeldMap(name, files))}


def _map(path: Path, scenes: Path) -> Source:
    files = read_map(path)
    folder = path if path.is_dir() else path.parent
    return Source(folder.resolve().name, ground_of(files.grid, scenes), HeldMap(folder.resolve().name, files))


def ground_of(grid: Grid, scenes: Path) -> Ground:
    """The scenes below a map: of the grid whose pixels are nearest to the map's, those that meet it."""
    grids = [list(read_scenes(folder).values()) for folder in sorted(scenes.glob("*/")) if scene_files(folder)]
    below = [meeting for each in grids if (meeting := [scene for scene in each if _meets(grid, scene)])]
    if not below:
        return Ground([], grid)
    return Ground(min(below, key=lambda each: abs(each[0].grid.pixel_m_yx[0] - grid.pixel_m_yx[0])), grid)


def _meets(grid: Grid, scene: Scene) -> bool:
    inside = footprint(grid, scene.grid).clip(grid.shape_yx)
    return bool(inside.height and inside.width and scene.record.georeferenced)
