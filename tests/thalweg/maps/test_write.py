"""A map's rasters and styles, from drawn probabilities, read back by others' tools."""

import hashlib
from functools import partial
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import rio_cogeo
from plain_map import make_grid
from rasterio.enums import ColorInterp

from thalweg import raster
from thalweg.classes import ClassInfo
from thalweg.errors import MapError
from thalweg.grid import Grid, iter_blocks
from thalweg.manifest.card import CARD, WEIGHTS
from thalweg.maps import DOUBTS, PROB_NODATA, PROB_SCALE, Look, Parts, create_probs, quantise, to_labels, write_map
from thalweg.maps.provenance import provenance_tags

LEGEND = (ClassInfo(name="background", color="#e6e0d4"), ClassInfo(name="channel", color="#1f6fb4"),
          ClassInfo(name="water", color="#20a0c0"))  # fmt: skip
ALL = ("entropy", "mutual_information", "margin", "disagreement")


def held_file(path: Path, grid: Grid, names, values: np.ndarray, measured: np.ndarray) -> Path:
    with create_probs(path, grid, names) as dataset:
        dataset.write(quantise(values, measured))
    return path


class Drawn:
    """Probabilities of some classes with a corner that was not measured."""

    def __init__(self, root: Path, shape: tuple[int, int] = (600, 700), classes: int = 3, doubts=ALL,
                 legend=LEGEND) -> None:  # fmt: skip
        random = np.random.default_rng(3)
        self.root, self.grid, self.legend = root, make_grid(shape), legend[:classes]
        self.probs = random.dirichlet(np.ones(classes), shape).transpose(2, 0, 1).astype(np.float32)
        self.doubt = random.random((len(doubts), *shape), np.float32) * 0.5
        self.measured = np.ones(shape, bool)
        self.measured[:100, :260] = False
        names = [info.name for info in self.legend]
        self.parts = Parts(
            held_file(root / "p.tif", self.grid, names, self.probs, self.measured),
            held_file(root / "d.tif", self.grid, doubts, self.doubt, self.measured),
            list(iter_blocks(shape, 512)),
            {"unet": held_file(root / "m.tif", self.grid, names, self.probs[::-1], self.measured)},
        )

    def write(self, **changes) -> Path:
        look = Look(self.legend, {"GIT_COMMIT": "abc"}, partial(to_labels, cut=None), **changes)
        write_map(self.parts, look, self.root / "map", self.root)
        return self.root / "map"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Drawn:
    drawn = Drawn(tmp_path_factory.mktemp("map"))
    drawn.write(probs="uint8", masks={"channel": PROB_SCALE // 4, "water": PROB_SCALE // 2})
    return drawn


TIFS = ("probs", "classes", "uncertainty", "masks/channel", "masks/water", "members/unet")


@pytest.mark.parametrize("name", TIFS)
def test_each_raster_is_a_strict_cog_with_its_tags_inside(drawn, name) -> None:
    path = drawn.root / "map" / f"{name}.tif"
    assert rio_cogeo.cog_validate(path, strict=True, quiet=True) == (True, [], [])
    with rasterio.open(path) as dataset:
        structure = dataset.tags(ns="IMAGE_STRUCTURE")
        assert structure["LAYOUT"] == "COG"
        assert structure["COMPRESSION"] == "DEFLATE"
        assert set(dataset.block_shapes) == {(256, 256)}
        assert dataset.overviews(1) == [2, 4]
        assert dataset.tags()["GIT_COMMIT"] == "abc"
        assert (dataset.crs.to_epsg(), dataset.nodata) == (32720, 255)
        assert ((dataset.read(1) == 255) == ~drawn.measured).all(), (
            "nodata is where nothing was measured, class 0 is not"
        )
        assert (dataset.read_masks(1)[:100, :260] == 0).all()
    assert not list((drawn.root / "map").rglob(".*"))


def test_overviews_take_the_most_frequent_class_and_the_mean_probability(tmp_path) -> None:
    labels = np.tile([[0, 1], [2, 2]], (300, 300)).astype(np.uint8)  # nearest would say 0, the mean 1
    drawn = Drawn(tmp_path)
    drawn.probs = np.eye(3, dtype=np.float32)[np.pad(labels, ((0, 0), (0, 100)))].transpose(2, 0, 1)
    drawn.measured[:] = True
    drawn.measured[0:2, 0:2] = [[False, False], [False, True]]  # one pixel of class 2 and three of nothing
    drawn.measured[0:2, 2:4] = [[False, False], [False, False]]
    held_file(tmp_path / "p.tif", drawn.grid, ("a", "b", "c"), drawn.probs, drawn.measured)
    folder = drawn.write()
    with rasterio.open(folder / "classes.tif", overview_level=0) as dataset:
        small = dataset.read(1)[:300, :300]
        assert small[0, 0] == 2, "nodata does not outvote what was measured"
        assert small[0, 1] == 255
        assert (np.delete(small.ravel(), 1) == 2).all()
    with rasterio.open(folder / "probs.tif", overview_level=0) as dataset:
        small = dataset.read()[:, 2:300, 2:300] / PROB_SCALE
        np.testing.assert_allclose(
            small, np.array([0.25, 0.25, 0.5])[:, None, None].repeat(298, 1).repeat(298, 2), atol=1e-4
        )


def test_bytes_and_words_hold_the_same_probabilities(drawn, tmp_path) -> None:
    with rasterio.open(drawn.root / "map" / "probs.tif") as dataset:
        assert dataset.dtypes == ("uint8",) * 3
        assert dataset.descriptions == ("background", "channel", "water")
        found = dataset.read() * dataset.scales[0]
    np.testing.assert_allclose(found[:, drawn.measured], drawn.probs[:, drawn.measured], atol=0.5 / 254 + 1e-5)
    words = Drawn(tmp_path)
    with rasterio.open(words.write() / "probs.tif") as dataset:
        assert (dataset.dtypes, dataset.nodata) == (("uint16",) * 3, PROB_NODATA)
        found = dataset.read() * dataset.scales[0]
    np.testing.assert_allclose(found[:, words.measured], words.probs[:, words.measured], atol=1e-5)
    assert not (tmp_path / "map" / "masks").exists()


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_bands_of_bytes_are_no_picture(tmp_path, classes) -> None:
    """GDAL would make red, green, blue and transparency of three and four bands."""
    legend = (*LEGEND, ClassInfo(name="road", color="#000000"))[:classes]
    drawn = Drawn(tmp_path, shape=(40, 40), classes=classes, doubts=ALL[:classes], legend=legend)
    folder = drawn.write(probs="uint8")
    for name in ("probs", "uncertainty", "members/unet"):
        with rasterio.open(folder / f"{name}.tif") as dataset:
            assert dataset.colorinterp == (ColorInterp.gray, *(ColorInterp.undefined,) * (classes - 1))


def test_masks_cut_and_members_keep_their_own(drawn) -> None:
    with rasterio.open(drawn.root / "map" / "masks" / "channel.tif") as dataset:
        mask = dataset.read(1)
        assert dataset.tags()["THRESHOLD"] == "0.249992"
        assert dataset.colormap(1)[1] == (0x1F, 0x6F, 0xB4, 255)
    assert set(np.unique(mask)) == {0, 1, 255}
    sure = drawn.measured & (np.abs(drawn.probs[1] - 0.25) > 1e-4)
    assert (mask[sure] == (drawn.probs[1] >= 0.25)[sure]).all()
    with rasterio.open(drawn.root / "map" / "members" / "unet.tif") as dataset:
        assert dataset.tags()["MEMBER"] == "unet"
        np.testing.assert_allclose(
            dataset.read(1)[drawn.measured] / 254, drawn.probs[2][drawn.measured], atol=2e-3 + 1e-5
        )


def test_doubts_come_in_the_order_that_was_asked_each_in_its_own_unit(drawn, tmp_path) -> None:
    with rasterio.open(drawn.root / "map" / "uncertainty.tif") as dataset:
        assert dataset.descriptions == tuple(DOUBTS[name][0] for name in ALL)
        assert dataset.scales == pytest.approx((1 / 254, 1 / 254, 1 / 254, 0.5 / 254))
        for band, scale in enumerate(dataset.scales):
            found = dataset.read(band + 1)[drawn.measured] * scale
            np.testing.assert_allclose(found, drawn.doubt[band][drawn.measured], atol=0.5 * scale + 1e-5)
    other = Drawn(tmp_path, doubts=("margin",))
    with rasterio.open(other.write() / "uncertainty.tif") as dataset:
        assert dataset.descriptions == ("lack of margin",)


def test_what_is_unknown_is_named(tmp_path) -> None:
    with pytest.raises(MapError, match=r"has no mask of class 'fen', but background, channel, water; ask for one"):
        Drawn(tmp_path).write(masks={"fen": 1})
    with pytest.raises(MapError, match=r"has no band of doubt 'mood', but entropy, mutual_information, margin, disag"):
        Drawn(tmp_path, doubts=("mood",)).write()


def test_a_binary_map_in_bytes_is_the_grey_map_of_seed_000_and_qgis_shows_it(tmp_path) -> None:
    """torchbearer writes one grey byte per pixel, the class's probability; here it is the class's band, shown first."""
    drawn = Drawn(tmp_path, classes=2)
    folder = drawn.write(probs="uint8")
    with rasterio.open(folder / "probs.tif") as dataset:
        grey = dataset.read(2)
    assert grey.dtype == np.uint8
    expected = np.where(drawn.measured, np.rint(drawn.probs[1] * 254), 255)
    assert np.abs(grey.astype(int) - expected).max() <= 1
    renderer = ET.parse(folder / "probs.qml").getroot().find("pipe/rasterrenderer")
    assert (renderer.get("type"), renderer.get("grayBand"), renderer.get("gradient")) == (
        "singlebandgray",
        "2",
        "BlackToWhite",
    )
    stretch = renderer.find("contrastEnhancement")
    assert [each.text for each in stretch] == ["0", "1", "StretchToMinimumMaximum"]


def test_the_palette_is_the_class_table(drawn) -> None:
    """What QgsPalettedRasterRenderer.create and QgsRasterLayer.readSymbology of QGIS 3.28 read."""
    text = (drawn.root / "map" / "classes.qml").read_text()
    assert text.startswith("<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n<qgis version=\"3.28\"")
    renderer = ET.fromstring(text.partition("\n")[2]).find("pipe/rasterrenderer")
    assert (renderer.get("type"), renderer.get("band"), renderer.get("alphaBand")) == ("paletted", "1", "-1")
    assert 0 < float(renderer.get("opacity")) <= 1
    entries = renderer.findall("colorPalette/paletteEntry")
    assert [(int(e.get("value")), e.get("label"), e.get("color"), e.get("alpha")) for e in entries] == [
        (value, info.name, info.color, "255") for value, info in enumerate(LEGEND)]  # fmt: skip
    with rasterio.open(drawn.root / "map" / "classes.tif") as dataset:
        colours = dataset.colormap(1)
        for value, info in enumerate(LEGEND):
            assert colours[value] == (*info.rgb, 255)
            assert dataset.tags()[f"CLASS_{value}"] == info.name


def test_gdal_itself_reads_the_class_names(drawn, tmp_path) -> None:
    rasterio.shutil.copy(drawn.root / "map" / "classes.tif", tmp_path / "seen.vrt", driver="VRT")
    seen = ET.parse(tmp_path / "seen.vrt").getroot()
    assert [each.text for each in seen.iter("Category")] == ["background", "channel", "water"]
    assert [each.text for each in seen.iter("NoDataValue")] == ["255"]


def test_what_may_outgrow_four_gigabytes_is_a_bigtiff(tmp_path) -> None:
    for side, magic in ((1000, b"II*\0"), (60_000, b"II+\0")):
        with create_probs(tmp_path / "p.tif", make_grid((side, side)), ("a",)):
            pass
        assert (tmp_path / "p.tif").read_bytes()[:4] == magic
    assert raster.read_grid(tmp_path / "p.tif").shape_yx == (60_000, 60_000)


def test_tags_tell_commit_params_products_and_weights_to_plain_rasterio(tmp_path) -> None:
    drawn = Drawn(tmp_path, shape=(40, 40))
    homes = {name: tmp_path / "models" / name for name in ("unet", "fcn")}
    for name, home in homes.items():
        home.mkdir(parents=True)
        (home / CARD).write_text(f"{{{name}}}")
        (home / WEIGHTS).write_bytes(name.encode() * 1000)
    tags = provenance_tags({"reducer": "mean"}, ["S2A_1", "S2B_2"], homes)
    look = Look(LEGEND, tags, partial(to_labels, cut=None))
    write_map(Parts(drawn.parts.probs, drawn.parts.doubts, drawn.parts.windows), look, tmp_path / "map", tmp_path)
    for name in ("probs", "classes", "uncertainty"):
        with rasterio.open(tmp_path / "map" / f"{name}.tif") as dataset:
            found = dataset.tags()
        assert found["PRODUCTS"].split() == ["S2A_1", "S2B_2"]
        assert len(found["GIT_COMMIT"]) == 40
        assert found["PARAMS_SHA256"] == hashlib.sha256(b'{"reducer": "mean"}').hexdigest()
        weights = dict(each.split(":") for each in found["WEIGHTS"].split())
        assert weights == {name: hashlib.sha256(name.encode() * 1000).hexdigest() for name in homes}
        assert dict(each.split(":") for each in found["MEMBERS"].split())["fcn"] == hashlib.sha256(b"{fcn}").hexdigest()
