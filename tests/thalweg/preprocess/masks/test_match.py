"""Which masks belong to which scene: by ground or by name; strays reach a record."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from mask_builder import CLASSES, GRID, draw, features, rules, square, vector, write_raster, write_vectors

from thalweg.errors import MaskError
from thalweg.grid import Grid
from thalweg.params.masks import Masks
from thalweg.preprocess.masks import find_masks, mask_identity
from thalweg.preprocess.masks.match import SceneMasks


def moved(cols: float) -> Grid:
    return Grid(GRID.crs_wkt, GRID.transform @ Affine.translation(cols, 0), (16, 16))


def find(folder, masks: Masks, *names: str) -> dict[str, SceneMasks]:
    """Masks of scenes side by side."""
    return find_masks(masks, CLASSES, folder, {name: moved(20 * number) for number, name in enumerate(names)})


def picture(folder, *names: str, shape=(16, 16)) -> None:
    """Masks without any georeference."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        codes = np.arange(shape[0] * shape[1]).reshape(shape) % 2 * 255
        with rasterio.open(
            folder / name, "w", driver="PNG", height=shape[0], width=shape[1], count=1, dtype="uint8"
        ) as file:
            file.write(codes.astype(np.uint8), 1)


def names_of(found: dict[str, SceneMasks]) -> dict[str, list[str]]:
    return {scene: [file.name for file in masks.files] for scene, masks in found.items()}


NAMED = rules(match="name", patterns=("**/*.png",))


def test_by_ground_names_do_not_matter(tmp_path):
    write_raster(tmp_path / "b.tif", np.zeros((16, 16), np.uint8), moved(0))
    write_raster(tmp_path / "a.tif", np.zeros((16, 16), np.uint8), moved(20))
    assert names_of(find(tmp_path, rules(), "a", "b")) == {"a": ["b.tif"], "b": ["a.tif"]}


def test_a_neighbour_does_not_overlap(tmp_path):
    write_raster(tmp_path / "m.tif", np.zeros((16, 16), np.uint8), moved(16))
    write_raster(tmp_path / "n.tif", np.zeros((16, 16), np.uint8), moved(0))
    assert names_of(find_masks(rules(), CLASSES, tmp_path, {"s": GRID})) == {"s": ["n.tif"]}


def test_strays_are_told_with_the_scene_that_is_nearest(tmp_path):
    for name, cols in (("a", 0), ("far", 60), ("further", 90)):
        write_raster(tmp_path / f"{name}.tif", np.zeros((16, 16), np.uint8), moved(cols))
    found = find(tmp_path, rules(), "s", "t")
    assert found["t"].warnings == ("2 of 3 masks lie on no scene: far.tif, further.tif",)
    assert found["s"].warnings == ()


def test_no_mask_lies_anywhere(tmp_path):
    write_raster(tmp_path / "m.tif", np.zeros((16, 16), np.uint8), moved(2000))
    with pytest.raises(
        MaskError, match=r"none of the 1 masks lies on any scene: .*m\.tif covers lon .*, the nearest scene t lon"
    ):
        find(tmp_path, rules(), "s", "t")
    write_vectors(tmp_path / "e.geojson", [])
    with pytest.raises(MaskError, match=r"none of the 1 masks lies on any scene: .*e\.geojson has no feature"):
        find(tmp_path, features(patterns=("*.geojson",)), "s", "t")


def test_landcover_chips_by_name_and_no_number_is_cut_in_two(tmp_path):
    picture(tmp_path, *(f"out/M-33-20-D-c-4-2_{number}_m.png" for number in (1, 2, 10, 12)))
    scenes = [f"M-33-20-D-c-4-2_{number}" for number in (1, 2, 10, 12, 21)]
    found = find(tmp_path, NAMED, *scenes)
    assert names_of(found) == {name: [f"out/{name}_m.png"] for name in scenes[:4]} | {scenes[4]: []}


def test_the_longest_name_wins(tmp_path):
    picture(tmp_path, "field_m.png", "field_north_m.png")
    assert names_of(find(tmp_path, NAMED, "field", "field_north")) == {
        "field": ["field_m.png"],
        "field_north": ["field_north_m.png"],
    }


def test_potsdam_pictures_of_two_kinds_share_the_label_of_their_tile(tmp_path):
    picture(tmp_path, "top_potsdam_2_10_label.png", "top_potsdam_2_1_label.png")
    scenes = ("top_potsdam_2_10_IRRG", "top_potsdam_2_10_RGB", "top_potsdam_2_1_IRRG")
    assert list(names_of(find(tmp_path, NAMED, *scenes)).values()) == [
        ["top_potsdam_2_10_label.png"], ["top_potsdam_2_10_label.png"], ["top_potsdam_2_1_label.png"],
    ]  # fmt: skip


def test_names_that_do_not_tell(tmp_path):
    picture(tmp_path, "a_m.png", "a_old.png")
    with pytest.raises(MaskError, match=r"2 masks carry the name of the scene a: a_m\.png and a_old\.png; narrow"):
        find(tmp_path, NAMED, "a")
    for path in tmp_path.glob("*.png"):
        path.unlink()
    picture(tmp_path, "east_west.png")
    with pytest.raises(MaskError, match=r"east_west\.png contains both east and west, which are scenes; rename it"):
        find(tmp_path, NAMED, "east", "west")
    with pytest.raises(
        MaskError,
        match=r"none of the 1 masks carries a scene's name: the first mask is east_west\.png, the first scene north",
    ):
        find(tmp_path, NAMED, "north", "south")


def test_a_mask_by_name_is_laid_pixel_by_pixel_and_a_stray_is_said(tmp_path):
    picture(tmp_path, "s_m.png", "t_m.png")
    labels, names, warnings = draw(tmp_path, NAMED, {"s": GRID})
    assert (labels.ravel() == np.arange(256) % 2).all()
    assert names == ("s_m.png",)
    assert warnings == ("1 of 2 masks carry no scene's name: t_m.png",)


def test_a_mask_by_name_has_the_pictures_size(tmp_path):
    picture(tmp_path, "s_m.png", shape=(16, 12))
    with pytest.raises(
        MaskError, match=r"s_m\.png has 16 × 12 pixels, but s, whose name it carries, has 16 × 16; a mask"
    ):
        draw(tmp_path, NAMED, {"s": GRID})


def test_vectors_by_name_cover_their_scene_even_without_a_feature(tmp_path):
    """SpaceNet's form: chips without a building come with a file without a feature."""
    write_vectors(tmp_path / "buildings_img1.geojson", [square(0, 0, 4, 4)])
    write_vectors(tmp_path / "buildings_img2.geojson", [])
    masks = features(match="name", patterns=("*.geojson",))
    assert draw(tmp_path, masks, {"img1": GRID, "img2": GRID})[0].sum() == 16
    labels, names, _ = draw(tmp_path, masks, {"img2": GRID, "img1": GRID})
    assert (labels == 0).all()
    assert names == ("buildings_img2.geojson",)


def test_thousands_of_names_each_find_their_own(tmp_path):
    from thalweg.preprocess.masks.files import MaskFile
    from thalweg.preprocess.masks.match import matched
    from thalweg.preprocess.masks.meaning import read_meaning

    names = [f"M-33-20-D-c-{sheet}_{number}" for sheet in range(20) for number in range(100)]
    files = tuple(
        MaskFile(f"{name}_m.png", tmp_path / f"{name}_m.png", "", None, (16, 16), (1,), None, None, None)
        for name in names
    )
    found = matched(NAMED, read_meaning(NAMED, CLASSES, tmp_path), files, None, dict.fromkeys(names, GRID))
    assert names_of(found) == {name: [f"{name}_m.png"] for name in names}


AREA = [square(2, 2, 8, 8)]


def test_an_area_bounds_what_is_labelled(tmp_path):
    """Outside it all is unlabelled; inside, unmarked ground is what zero and outside say."""
    write_vectors(tmp_path / "area.geojson", AREA)
    marked = np.zeros((16, 6), np.uint8)
    marked[4:6] = 255
    write_raster(tmp_path / "m.tif", marked)
    inside = np.zeros((16, 16), bool)
    inside[2:10, 2:10] = True
    for zero, outside in ((0, 0), (0, 255), (255, 0), (255, 255)):
        words = {0: "background", 255: "unlabelled"}
        masks = rules(area="area.*", zero=words[zero], outside=words[outside])
        labels, names, _ = draw(tmp_path, masks)
        wanted = np.full((16, 16), outside)
        wanted[:, :6] = np.where(marked == 255, 1, zero)
        assert (labels == np.where(inside, wanted, 255)).all()
        assert names == ("m.tif",)


def test_an_area_cuts_features_and_is_no_mask_itself(tmp_path):
    write_vectors(tmp_path / "area.gpkg", AREA, crs=GRID.crs_wkt)
    write_vectors(tmp_path / "fields.gpkg", [square(0, 0, 16, 6)])
    labels, names, _ = draw(tmp_path, features(area="area.gpkg", zero="background"))
    wanted = np.full((16, 16), 255)
    wanted[2:10, 2:6], wanted[2:10, 6:10] = 1, 0
    assert (labels == wanted).all()
    assert names == ("fields.gpkg",)


def test_an_area_without_a_mask_labels_only_where_its_ground_is_background(tmp_path):
    write_vectors(tmp_path / "area.geojson", [*AREA, *(square(2, 22, 8, 8) for _ in range(1))])
    write_raster(tmp_path / "m.tif", np.full((16, 16), 255, np.uint8))
    scenes = {"t": moved(20), "s": GRID}
    labels, names, _ = draw(tmp_path, rules(area="*.geojson", outside="background"), scenes)
    assert labels.sum() == 255 * (256 - 64)
    assert names == ("area.geojson",)
    assert draw(tmp_path, rules(area="*.geojson", outside="unlabelled"), scenes)[:2] == (None, ())


def test_a_scene_off_every_area_has_no_label(tmp_path):
    write_vectors(tmp_path / "area.geojson", [square(100, 100, 8, 8)])
    write_raster(tmp_path / "m.tif", np.full((16, 16), 255, np.uint8))
    labels, _, warnings = draw(tmp_path, rules(area="*.geojson"))
    assert (labels == 255).all()
    assert warnings == ("s has masks (m.tif), but no labelled pixel",)


def test_an_area_is_made_of_polygons(tmp_path):
    write_raster(tmp_path / "m.tif", np.zeros((16, 16), np.uint8))
    with pytest.raises(MaskError, match=r"m\.tif is no area: masks\.area takes polygons as \.fgb, \.geojson, \.gpkg"):
        draw(tmp_path, rules(area="*.tif", patterns=()))
    with pytest.raises(MaskError, match=r"masks\.area: '\*\.gpkg' finds no file below"):
        draw(tmp_path, rules(area="*.gpkg"))


def test_accents_are_one_however_a_disk_keeps_them(tmp_path):
    picture(tmp_path, "a\u0308cker_m.png")
    assert names_of(find(tmp_path, NAMED, "\u00e4cker", "a")) == {"\u00e4cker": ["a\u0308cker_m.png"], "a": []}


def test_an_area_has_no_place_on_a_picture_without_one(tmp_path):
    picture(tmp_path, "s_m.png")
    write_vectors(tmp_path / "area.geojson", AREA)
    masks = NAMED.model_copy(update={"area": "area.geojson"})
    with pytest.raises(MaskError, match=r"s has no place on the ground, but masks\.area says where ground is labelled"):
        draw(tmp_path, masks, georeferenced=False)
    assert draw(tmp_path, masks.model_copy(update={"area": None}), georeferenced=False)[1] == ("s_m.png",)


def test_an_areas_content_is_part_of_what_decides_a_scene(tmp_path):
    write_raster(tmp_path / "m.tif", np.zeros((16, 16), np.uint8))
    keys = []
    for shapes in (AREA, [square(2, 2, 8, 9)], [square(200, 200, 9, 9)]):
        write_vectors(tmp_path / "area.geojson", shapes)
        keys.append(repr(mask_identity(find(tmp_path, rules(area="*.geojson"), "s")["s"])))
    keys.append(repr(mask_identity(find(tmp_path, rules(), "s")["s"])))
    assert len(set(keys)) == 4


def test_the_ways_of_drawing_are_part_of_the_params_and_so_of_the_key():
    assert rules(vector=vector(buffer_m=3.0)).model_dump() != rules(vector=vector()).model_dump()
