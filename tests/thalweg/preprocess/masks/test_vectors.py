"""Features to pixels: attributes, true metres, touched pixels, order, broken and missing geometry, any CRS."""

import geopandas
import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_builder import CLASSES, GRID, delivery, draw, features, rules, square, vector, write_raster, write_vectors
from pyproj import Geod, Transformer

from thalweg.errors import MaskError, ParamsError
from thalweg.grid import Grid
from thalweg.preprocess.masks import features as reading

ENDINGS = ("gpkg", "geojson", "shp", "fgb")
FINE = Grid("EPSG:32720", Affine(10, 0, 600_000, 0, -10, 7_000_000), (96, 96))


def box_labels(row: int, col: int, height: int, width: int, shape: tuple[int, int] = (16, 16)) -> np.ndarray:
    """1 in a rectangle of pixels, 0 elsewhere."""
    labels = np.zeros(shape, np.uint8)
    labels[row : row + height, col : col + width] = 1
    return labels


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("crs", ["EPSG:32720", "EPSG:4326", "EPSG:32721", "EPSG:3857"])
def test_every_form_in_any_crs_takes_the_pixels_whose_centre_it_covers(ending, crs, tmp_path):
    shape = square(2.2, 3.3, 5, 6)  # rows 2 to 6 and columns 3 to 8 have their centres in it
    geopandas.GeoSeries([shape], crs=GRID.crs_wkt).to_crs(crs).to_file(tmp_path / f"m.{ending}")
    if ending == "geojson" and crs != "EPSG:4326":
        assert str(crs.split(":")[1]) in (tmp_path / "m.geojson").read_text()  # not RFC 7946, but as GDAL writes it
    labels, names, warnings = draw(tmp_path, features(patterns=(f"m.{ending}",)))
    assert (labels == box_labels(2, 3, 5, 6)).all()
    assert (names, warnings) == ((f"m.{ending}",), ())


def test_all_touched_by_choice(tmp_path):
    write_vectors(tmp_path / "m.gpkg", [square(2.2, 3.3, 5, 6)])
    labels, _, _ = draw(tmp_path, features(vector=vector(all_touched=True)))
    assert (labels == box_labels(2, 3, 6, 7)).all()


@given(st.lists(st.tuples(*[st.floats(-3, 14)] * 2, *[st.floats(0.1, 9)] * 2), min_size=1, max_size=8))
@settings(deadline=None, max_examples=25)
def test_polygons_equal_a_test_of_every_centre(boxes):
    """Against shapely's own point in polygon; of features the last counts."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as home:
        shapes = [shapely.affinity.rotate(square(*box), 17) for box in ((5, 5, 2, 3), *boxes)]
        write_vectors(Path(home) / "m.gpkg", shapes, kind=[number % 2 + 1 for number in range(len(shapes))])
        masks = features(vector=vector(attribute="kind"), values={"1": "damage", "2": "water"})
        labels, _, _ = draw(Path(home), masks)
    row, col = np.mgrid[:16, :16] + 0.5
    xs, ys = 600_000 + 60 * col, 7_000_000 - 60 * row
    wanted = np.zeros((16, 16), int)
    for number, shape in enumerate(shapes):
        wanted[shapely.contains_xy(shape, xs, ys)] = number % 2 + 1
    assert (labels == wanted).all()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kind", [["road", "house", "shed"], [3, 1, 2], [3.0, 1.0, 2.0]])
def test_attributes_give_classes(ending, kind, tmp_path):
    shapes = [square(0, 0, 16, 4), square(0, 4, 16, 4), square(0, 8, 16, 4)]
    write_vectors(tmp_path / f"m.{ending}", shapes, kind=kind)
    values = {"house": "damage", "shed": "damage", "road": "water", "1": "damage", "2": "damage", "3": "water"}
    masks = features(patterns=(f"m.{ending}",), vector=vector(attribute="kind"), values=values)
    labels, _, _ = draw(tmp_path, masks)
    assert (labels == np.repeat([2, 1, 1, 0], 4)).all()


def test_an_attribute_without_a_meaning(tmp_path):
    shapes = [square(0, 0, 4, 4), square(4, 4, 4, 4), square(8, 8, 4, 4)]
    write_vectors(tmp_path / "m.gpkg", shapes, kind=["house", "tree", None])
    masks = features(vector=vector(attribute="kind"), values={"house": "damage"})
    with pytest.raises(MaskError, match=r"m\.gpkg holds the value tree in 1 features \(and 1 other values in 1\)"):
        draw(tmp_path, masks)
    labels, _, _ = draw(tmp_path, masks.model_copy(update={"other": "unlabelled"}))
    assert (labels[8:12, 8:12] == 255).all()
    assert (labels[4:8, 4:8] == 255).all()
    assert (labels[:4, :4] == 1).all()
    with pytest.raises(
        ParamsError, match=r"m\.gpkg has no attribute 'klass', but kind; correct masks\.vector\.attribute"
    ):
        draw(tmp_path, features(vector=vector(attribute="klass")))


@pytest.mark.parametrize("crs", ["EPSG:32720", "EPSG:3857", "EPSG:4326"])
def test_a_buffer_is_in_true_ground_metres(crs, tmp_path):
    """At 27° S a metre of EPSG:3857 is 0.89 m, and a scene in degrees has pixels that are not square."""
    lon, lat = Transformer.from_crs(32720, 4326, always_xy=True).transform(600_480.0, 6_999_520.0)
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
    unit = 1e-4 if crs == "EPSG:4326" else 10
    scene = Grid(crs, Affine(unit, 0, x - 48 * unit, 0, -unit, y + 48 * unit), (96, 96))
    write_vectors(tmp_path / "m.geojson", [shapely.Point(lon, lat)], crs="EPSG:4326")
    labels, _, _ = draw(tmp_path, features(patterns=("*.geojson",), vector=vector(buffer_m=200.0)), scene)
    row, col = np.mgrid[:96, :96] + 0.5
    lons, lats = scene.lonlat(row, col)
    away_m = np.array(Geod(ellps="WGS84").inv(lons, lats, np.full_like(lons, lon), np.full_like(lats, lat))[2])
    certain = abs(away_m - 200) > 0.5  # the circle is drawn of 64 edges, which leave it by 0.24 m
    assert (labels == (away_m < 200))[certain].all()
    assert certain.mean() > 0.98


def test_a_feature_beside_the_scene_reaches_it_by_its_buffer(tmp_path):
    write_vectors(tmp_path / "m.gpkg", [square(0, 17, 16, 3), square(-400, -400, 1, 1)])
    assert draw(tmp_path, features())[0] is None
    labels, _, _ = draw(tmp_path, features(vector=vector(buffer_m=150.0)))
    assert (labels == box_labels(0, 15, 16, 1)).all()  # one pixel of 60 m: the second has its centre 150 m away


def test_lines_and_points_take_what_they_touch(tmp_path):
    to_xy = GRID.transform
    line = shapely.LineString([to_xy @ (2.5, 4.5), to_xy @ (9.5, 4.5)])
    write_vectors(tmp_path / "m.geojson", [line, shapely.Point(to_xy @ (12.2, 12.8))])
    labels, _, warnings = draw(tmp_path, features(patterns=("*.geojson",)))
    assert (labels == box_labels(4, 2, 1, 8) + box_labels(12, 12, 1, 1)).all()
    assert warnings == ()


def test_later_features_overrule_and_disputed_pixels_are_counted(tmp_path):
    shapes = [square(0, 0, 8, 8), square(4, 4, 8, 8), square(6, 6, 2, 2), square(0, 0, 2, 2)]
    write_vectors(tmp_path / "m.gpkg", shapes, kind=[1, 2, 9, 1])
    masks = features(vector=vector(attribute="kind"), values={"1": "damage", "2": "water", "9": "unlabelled"})
    labels, _, warnings = draw(tmp_path, masks)
    wanted = box_labels(0, 0, 8, 8)
    wanted[4:12, 4:12] = 2
    wanted[6:8, 6:8] = 255
    assert (labels == wanted).all()
    assert warnings == ("s: features of m.gpkg give 16 pixels different classes; there the later in the file counts",)


def test_order_is_that_of_the_file_and_not_of_its_index(tmp_path):
    """Many features, so that a spatial index would answer in another order."""
    random = np.random.default_rng(3)
    shapes = [square(*random.uniform(-40, 40, 2), 9, 9) for _ in range(600)]
    for ending in ("gpkg", "fgb"):
        write_vectors(tmp_path / f"m.{ending}", shapes, kind=list(range(600)))
    order = pyogrio.read_dataframe(tmp_path / "m.fgb")["kind"].to_numpy()
    for ending, numbers in (("gpkg", np.arange(600)), ("fgb", order)):
        masks = features(patterns=(f"m.{ending}",), vector=vector(attribute="kind"),
                         values={str(number): ("damage", "water")[number % 2] for number in range(1, 600)})  # fmt: skip
        labels, _, _ = draw(tmp_path, masks)
        row, col = np.mgrid[:16, :16] + 0.5
        wanted = np.zeros((16, 16), int)
        for number in numbers.tolist():
            inside = shapely.contains_xy(shapes[number], 600_000 + 60 * col, 7_000_000 - 60 * row)
            wanted[inside] = 0 if number == 0 else number % 2 + 1
        assert (labels == wanted).all()


def bow_tie(row: float, col: float, size: float) -> shapely.Polygon:
    corners = ((0, 0), (size, size), (size, 0), (0, size))
    return shapely.Polygon([GRID.transform @ (col + right, row + down) for right, down in corners])


def test_broken_empty_and_lost_features_are_mended_or_left_out_and_counted(tmp_path):
    sliver = shapely.Polygon([GRID.transform @ corner for corner in ((0.1, 12), (4, 12), (0.1, 12))])
    shapes = [bow_tie(0.25, 0, 8), None, shapely.Polygon(), sliver, square(13.1, 13.1, 0.2, 0.2)]
    write_vectors(tmp_path / "m.gpkg", shapes)
    labels, _, warnings = draw(tmp_path, features())
    assert labels[:8, :4].sum(axis=0).tolist() == [7, 5, 3, 1]  # one of two triangles that meet at (4.25, 4)
    assert (labels[:8, :4] == labels[:8, 7:3:-1]).all()
    assert (labels[:, 8:] == 0).all()
    assert warnings == (
        "s: 2 features of m.gpkg cross themselves and were repaired",
        "s: 2 features of m.gpkg have no geometry and were left out",
        "s: 1 features of m.gpkg have no area once they are repaired and were left out",
        "s: 1 features of m.gpkg cover no pixel; set masks.vector.all_touched or buffer_m",
    )


def test_a_feature_that_later_ones_hide_is_not_said_to_cover_nothing(tmp_path):
    write_vectors(tmp_path / "m.gpkg", [square(2, 2, 2, 2), square(1, 1, 4, 4), square(0, 0, 9, 9)])
    assert draw(tmp_path, features())[2] == ()


def test_heights_multiples_and_collections(tmp_path):
    tall = shapely.force_3d(square(0, 0, 4, 4), 120.0)
    both = shapely.MultiPolygon([square(6, 0, 3, 3), square(6, 6, 3, 3)])
    mixed = shapely.GeometryCollection([
        shapely.GeometryCollection([square(12, 0, 2, 2)]), shapely.Point(GRID.transform @ (8.5, 12.5)),
        shapely.MultiLineString([[GRID.transform @ (10.5, 14.5), GRID.transform @ (14.5, 14.5)]]),
    ])  # fmt: skip
    write_vectors(tmp_path / "m.geojson", [tall, both, mixed])
    labels, _, warnings = draw(tmp_path, features(patterns=("*.geojson",)))
    wanted = sum(box_labels(*box) for box in (
        (0, 0, 4, 4), (6, 0, 3, 3), (6, 6, 3, 3), (12, 0, 2, 2), (12, 8, 1, 1), (14, 10, 1, 5)))  # fmt: skip
    assert (labels == wanted).all()
    assert warnings == ()


def test_long_edges_are_straight_in_the_files_own_crs(tmp_path):
    """A parallel is no straight line in UTM: over 90 km at 27° S it leaves one by 80 m."""
    scene = Grid("EPSG:32720", Affine(60, 0, 500_000, 0, -60, 7_000_000), (300, 1500))
    _, middle = scene.lonlat(np.array([150.0]), np.array([750.0]))
    write_vectors(tmp_path / "m.gpkg", [shapely.box(-64, middle[0], -61, -26)], crs="EPSG:4326")
    labels, _, _ = draw(tmp_path, features(), scene)
    row, col = np.mgrid[:300, :1500] + 0.5
    away = scene.lonlat(row, col)[1] - middle[0]
    certain = abs(away) > 0.02 * 60 / 111_000  # 1/50 of a pixel
    assert (labels == (away > 0))[certain].all()


def test_only_the_scenes_part_of_a_layer_is_read(tmp_path, monkeypatch):
    shapes = [square(20 * row, 20 * col, 10, 10) for row in range(30) for col in range(30)]
    write_vectors(tmp_path / "m.gpkg", shapes)
    read, counts = pyogrio.read_dataframe, []
    monkeypatch.setattr(reading, "_COUNTED_TO", 100)  # as if it were a large one
    monkeypatch.setattr(
        pyogrio, "read_bounds", lambda *_, **__: pytest.fail("the bounds of every feature of a large layer were read")
    )
    monkeypatch.setattr(
        pyogrio,
        "read_dataframe",
        lambda *args, **options: (table := read(*args, **options), counts.append(len(table)))[0],
    )
    labels, _, _ = draw(tmp_path, features())
    assert (labels == box_labels(0, 0, 10, 10)).all()
    assert counts == [1]


def test_layers_are_chosen_by_name(tmp_path):
    write_vectors(tmp_path / "m.gpkg", [square(0, 0, 4, 4)], layer="houses")
    assert draw(tmp_path, features())[0].sum() == 16
    write_vectors(tmp_path / "m.gpkg", [square(0, 0, 2, 2)], layer="sheds")
    with pytest.raises(
        ParamsError,
        match=r"m\.gpkg: which layer is meant is not said; correct masks\.vector\.layer, one of houses, sheds",
    ):
        draw(tmp_path, features())
    assert draw(tmp_path, features(vector=vector(layer="sheds")))[0].sum() == 4
    with pytest.raises(
        ParamsError, match=r"it has no layer 'roads'; correct masks\.vector\.layer, one of houses, sheds"
    ):
        draw(tmp_path, features(vector=vector(layer="roads")))


def test_what_vectors_must_bring(tmp_path):
    write_vectors(tmp_path / "m.gpkg", [square(0, 0, 4, 4)])
    with pytest.raises(ParamsError, match=r"m\.gpkg holds vectors, but masks\.vector is null; say there how features"):
        draw(tmp_path, rules(patterns=("*.gpkg",)))
    with pytest.warns(UserWarning, match="'crs' was not provided"):
        geopandas.GeoDataFrame(geometry=[square(0, 0, 4, 4)]).to_file(tmp_path / "no.shp")
    with pytest.raises(
        MaskError, match=r"no\.shp has no CRS, so its place on the ground is unknown; say it in masks\.crs"
    ):
        draw(tmp_path, features(patterns=("no.shp",)))
    labels, _, _ = draw(tmp_path, features(patterns=("no.shp",), crs="EPSG:32720"))
    assert labels.sum() == 16
    (tmp_path / "broken.geojson").write_text('{"type": "FeatureColl')
    with pytest.raises(MaskError, match=r"broken\.geojson cannot be read as vectors \("):
        draw(tmp_path, features(patterns=("broken.geojson",)))


def test_a_layer_covers_the_scenes_on_which_its_features_lie(tmp_path):
    far = Grid(GRID.crs_wkt, GRID.transform @ Affine.translation(100, 0), (16, 16))
    between = Grid(GRID.crs_wkt, GRID.transform @ Affine.translation(50, 0), (16, 16))
    write_vectors(tmp_path / "m.gpkg", [square(0, 0, 4, 4), square(0, 0, 4, 4, far)])
    assert (draw(tmp_path, features(), far)[0] == box_labels(0, 0, 4, 4)).all()
    assert draw(tmp_path, features(), between)[0] is None


def test_rasters_and_vectors_make_one_mask(tmp_path):
    """Ground without a feature says less than any raster."""
    raster_values = np.zeros((8, 16), np.uint8)
    raster_values[:, 8:] = 255
    write_raster(tmp_path / "z.tif", raster_values)
    write_vectors(tmp_path / "a.geojson", [square(0, 0, 16, 4), square(6, 12, 6, 2)], kind=["w", "d"])
    write_vectors(tmp_path / "b.geojson", [square(12, 12, 4, 4)], kind=["d"])
    masks = features(patterns=("*.geojson", "*.tif"), vector=vector(attribute="kind"),
                     values={"w": "water", "d": "damage", "255": "damage"}, zero="unlabelled")  # fmt: skip
    labels, names, warnings = draw(tmp_path, masks)
    wanted = np.full((16, 16), 255)
    wanted[:8, 8:] = 1
    wanted[:, :4] = 2
    wanted[6:12, 12:14] = 1
    wanted[12:, 12:] = 1
    assert (labels == wanted).all()
    assert names == ("a.geojson", "b.geojson", "z.tif")
    assert warnings == ()
    labels, _, warnings = draw(tmp_path, masks.model_copy(update={"zero": "background"}))
    assert (labels == np.where(wanted == 255, 0, wanted)).all()
    assert warnings == (
        "s: the mask z.tif differs from a.geojson and b.geojson in 32 pixels that both label; there it does not count",
    )


@pytest.mark.parametrize("part", ["m.dbf", "m.shp", "m.prj"])
def test_every_file_of_a_shapefile_decides(part, tmp_path):
    from thalweg.preprocess.masks.files import read_mask_files

    write_vectors(tmp_path / "m.shp", [square(0, 0, 4, 4)], kind=[1])
    masks = features(patterns=("m.*",), vector=vector(attribute="kind"))
    (before,) = read_mask_files(masks, tmp_path)
    path = tmp_path / part
    if part == "m.prj":
        path.write_text(path.read_text() + " ")
    else:
        write_vectors(tmp_path / "m.shp", [square(0, 0, 4, 5 if part == "m.shp" else 4)], kind=[1 + (part == "m.dbf")])
    (after,) = read_mask_files(masks, tmp_path)
    assert before.identity != after.identity


def test_files_in_capitals_decide_too(tmp_path):
    from thalweg.preprocess.masks.files import read_mask_files

    masks = features(patterns=("*.SHP",), vector=vector(attribute="kind"))
    found = []
    for kind in (1, 2):
        write_vectors(tmp_path / "m.shp", [square(0, 0, 4, 4)], kind=[kind])
        for path in tmp_path.glob("m.*"):
            path.rename(tmp_path / path.name.upper())
        found += read_mask_files(masks, tmp_path)
    assert found[0].identity != found[1].identity


def test_vectors_have_no_place_on_a_picture_without_one(tmp_path):
    from thalweg.preprocess.masks import find_masks, write_mask

    write_vectors(tmp_path / "s.gpkg", [square(0, 0, 4, 4)])
    found = find_masks(features(match="name"), CLASSES, tmp_path, {"s": GRID})["s"]
    with pytest.raises(MaskError, match=r"s has no place on the ground, but the mask s\.gpkg is made of vectors"):
        write_mask("s", delivery(GRID, georeferenced=False), found, tmp_path)


def test_stripes_do_not_change_features(tmp_path, monkeypatch):
    from thalweg.preprocess.masks import outlines

    random = np.random.default_rng(3)
    shapes = [
        shapely.affinity.rotate(square(*random.uniform(-9, 90, 2), *random.uniform(0.2, 30, 2), FINE), 23)
        for _ in range(60)
    ]
    shapes += [
        shapely.LineString(random.uniform((600_000, 6_999_040), (600_960, 7_000_000), (4, 2))) for _ in range(20)
    ]
    write_vectors(tmp_path / "m.gpkg", shapes, kind=[number % 2 + 1 for number in range(80)])
    masks = features(vector=vector(attribute="kind"), values={"1": "damage", "2": "water"})
    for touched in (False, True):
        masks = masks.model_copy(update={"vector": vector(attribute="kind", all_touched=touched)})
        with monkeypatch.context() as patch:
            whole = draw(tmp_path, masks, FINE)
            patch.setattr(outlines, "_STRIPE_ROWS", 7)
            striped = draw(tmp_path, masks, FINE)
        assert (whole[0] == striped[0]).all()
        assert whole[1:] == striped[1:]


def test_points_on_both_sides_of_the_antimeridian(tmp_path):
    x, y = Transformer.from_crs(4326, 32660, always_xy=True).transform(179.99, 10)
    scene = Grid("EPSG:32660", Affine(100, 0, x, 0, -100, y), (30, 30))
    points = [shapely.Point(179.995, 9.99), shapely.Point(-179.995, 9.99)]
    write_vectors(tmp_path / "m.gpkg", points, crs="EPSG:4326")
    labels, _, _ = draw(tmp_path, features(), scene)
    cols, rows = ~scene.transform @ tuple(
        np.array(Transformer.from_crs(4326, 32660, always_xy=True).transform([179.995, -179.995], [9.99, 9.99]))
    )
    assert sorted(zip(*np.nonzero(labels), strict=True)) == sorted(zip(rows.astype(int), cols.astype(int), strict=True))
    assert labels.sum() == 2


def test_a_list_for_an_attribute_is_a_value_like_others(tmp_path):
    (tmp_path / "m.geojson").write_text(
        '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {"kind": ["a", "b"]}, '
        '"geometry": {"type": "Point", "coordinates": [-61.99, -27.121]}}]}'
    )
    with pytest.raises(MaskError, match=r"holds the value .*a.*b.* in 1 features, which no class has"):
        draw(tmp_path, features(patterns=("*.geojson",), vector=vector(attribute="kind")))


@pytest.mark.parametrize("counted_to", [0, 1000])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_that_was_cut_short(ending, counted_to, tmp_path, monkeypatch):
    """Also of a layer that is too large to be gone through when it is opened."""
    monkeypatch.setattr(reading, "_COUNTED_TO", counted_to)
    path = write_vectors(tmp_path / f"m.{ending}", [square(row / 8, 1, 0.1, 9) for row in range(120)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(MaskError, match=rf"m\.{ending} cannot be read as vectors \(.*\); deliver it again"):
        draw(tmp_path, features(patterns=(f"m.{ending}",)))
