"""Masks of new forms through build_scenes: into the record, and into the key of the store."""

import numpy as np
import pytest
import rasterio
from mask_builder import features, square, vector, write_raster, write_vectors
from product_builder import build, grid_params, index, make_raster, mask_params

from thalweg.errors import DegradedDataWarning, MaskError
from thalweg.grid import Grid
from thalweg.raster import transform_from

PLAIN = grid_params(resolution_m=None, bands=("B03",))
PLACE = Grid("EPSG:32720", transform_from([10, 0, 600_000, 0, -10, 7_000_000]), (8, 8))
ROADS = features(
    input="masks", patterns=("*.geojson", "*.tif"), values={"road": "channel", "255": "channel"},
    vector=vector(attribute="kind", buffer_m=5.0), zero="positive_unlabelled", prior=0.2,
)  # fmt: skip


def rasters(folder) -> None:
    """Two scenes, 1 km apart."""
    paths = [make_raster(folder / f"raw/{name}.tif", np.full((1, 8, 8), 500, np.uint16), origin=(600_000.0 + east, 7_000_000.0))
             for name, east in (("a", 0), ("b", 1000))]  # fmt: skip
    index(folder / "raw", *paths, form="raster", bands={"B03": 1})


def test_vectors_label_the_scene_on_whose_ground_they_lie(tmp_path):
    rasters(tmp_path)
    write_vectors(tmp_path / "masks/r.geojson", [square(0, 0, 8, 2, PLACE)], kind=["road"])
    write_raster(
        tmp_path / "masks/far.tif",
        np.zeros((8, 8), np.uint8),
        Grid("EPSG:32720", transform_from([10, 0, 602_000, 0, -10, 7_000_000]), (8, 8)),
    )
    with pytest.warns(DegradedDataWarning, match="1 of 2 masks lie on no scene"):
        scenes = build(tmp_path, PLAIN, ROADS)
    assert scenes["a"].mask.tolist() == [[1, 1, 0, 0, 0, 0, 0, 0]] * 8  # 20 m and a buffer of 5: the centre at 25 m not
    assert scenes["b"].mask is None
    assert (scenes["a"].record.masks, scenes["a"].record.prior) == (("r.geojson",), 0.2)
    assert [len(scene.record.warnings) for scene in scenes.values()] == [0, 1]
    assert scenes["b"].record.warnings == ("1 of 2 masks lie on no scene: far.tif",)


def test_a_feature_more_builds_its_scene_anew_and_no_other(tmp_path):
    rasters(tmp_path)
    masks = mask_params(patterns=("*.geojson",), vector=vector(), values={"1": "channel"})
    shapes = [square(0, 0, 8, 2, PLACE)]
    for number in range(2):
        write_vectors(tmp_path / "masks/r.geojson", shapes)
        before = {path.name for path in (tmp_path / "store").glob("*")}
        scenes = build(tmp_path, PLAIN, masks, out=f"{number}")
        shapes.append(square(0, 4, 8, 2, PLACE))
    assert len({path.name for path in (tmp_path / "store").glob("*")} - before) == 1
    assert scenes["a"].mask.tolist() == [[1, 1, 0, 0, 1, 1, 0, 0]] * 8


def test_chips_without_georeference_and_masks_by_name(tmp_path):
    """LandCover.ai's form."""
    for folder, name, codes in (
        ("raw", "sheet_1.png", 90),
        ("raw", "sheet_12.png", 90),
        ("masks", "sheet_1_m.png", 1),
        ("masks", "sheet_12_m.png", 0),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        pixels = np.full((1, 8, 8), codes, np.uint8)
        pixels[0, 0, 0] = min(codes, 2)
        with rasterio.open(
            tmp_path / folder / name, "w", driver="PNG", height=8, width=8, count=1, dtype="uint8"
        ) as file:
            file.write(pixels)
    paths = [tmp_path / "raw" / name for name in ("sheet_1.png", "sheet_12.png")]
    index(tmp_path / "raw", *paths, form="raster", bands={"B03": 1}, pixel_m=0.5, nodata=None, scale=0.004)
    masks = mask_params(patterns=("*_m.png",), match="name", values={"1": "channel"})
    with pytest.warns(DegradedDataWarning):
        scenes = build(tmp_path, PLAIN, masks)
    assert [scene.record.masks for scene in scenes.values()] == [("sheet_1_m.png",), ("sheet_12_m.png",)]
    assert (scenes["sheet_1"].mask == 1).all()
    assert (scenes["sheet_12"].mask == 0).all()
    assert not scenes["sheet_1"].record.georeferenced


def test_bad_masks_leave_no_scene_behind(tmp_path):
    rasters(tmp_path)
    write_vectors(tmp_path / "masks/r.geojson", [square(0, 0, 8, 2, PLACE)], kind=["river"])
    with pytest.raises(
        MaskError, match=r"r\.geojson holds the value river in 1 features, which no class has; known are 0, 255, road"
    ):
        build(tmp_path, PLAIN, ROADS.model_copy(update={"patterns": ("*.geojson",)}))
    assert not list((tmp_path / "store").glob("*[!.]*/mask.tif"))
