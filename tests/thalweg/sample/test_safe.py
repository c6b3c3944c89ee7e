"""SAFE products of the sample: the same bytes each time, and the contents that their baseline promises."""

import hashlib
from xml.etree import ElementTree as Xml

import numpy as np
import pytest
import rasterio

from thalweg.errors import ParamsError
from thalweg.sample import make_mask, make_product
from thalweg.sample.identity import identify
from thalweg.sample.landscape import View, iter_blocks, observe
from thalweg.sample.safe import corner
from thalweg.sample.spectra import BANDS

OPTIONS = {"tile": "T20KNB", "date": "2025-10-03", "seed": 4, "size_60m_px": 16}
B20 = ["B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12"]
B60 = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B09", "B11", "B12"]


def bytes_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def read(safe, band, resolution):
    [path] = safe.glob(f"GRANULE/*/IMG_DATA/R{resolution}m/*_{band}_{resolution}m.jp2")
    with rasterio.open(path) as image:
        return image.read(1), image.profile


def bands_of(safe, resolution):
    files = safe.glob(f"GRANULE/*/IMG_DATA/R{resolution}m/*.jp2")
    return sorted({path.stem.split("_")[2] for path in files} - {"SCL"}, key=BANDS.index)


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    return make_product(tmp_path_factory.mktemp("safe"), **OPTIONS)


def test_the_same_arguments_give_the_same_bytes(product, tmp_path):
    assert bytes_of(make_product(tmp_path, **OPTIONS)) == bytes_of(product)


def test_another_seed_gives_another_ground(product, tmp_path):
    other = make_product(tmp_path, **{**OPTIONS, "seed": 5})
    assert (read(other, "B04", 60)[0] != read(product, "B04", 60)[0]).mean() > 0.9


def test_the_name_follows_the_scheme(product):
    assert product.name.startswith("S2A_MSIL2A_20251003T141051_N0511_R110_T20KNB_20251003T")
    root = Xml.parse(product / "MTD_MSIL2A.xml").getroot()
    assert root.findtext(".//PRODUCT_URI") == product.name
    assert root.findtext(".//PROCESSING_BASELINE") == "05.11"


@pytest.mark.parametrize(
    ("baseline", "b20", "offset", "checksum"),
    [
        ("02.14", B20, None, "MD5"),
        ("03.01", B20, None, "SHA3-256"),
        ("04.00", ["B01", *B20], "-1000", "SHA3-256"),
        ("05.11", ["B01", *B20], "-1000", "SHA3-256"),
    ],
)
def test_what_a_baseline_brings(tmp_path, baseline, b20, offset, checksum):
    safe = make_product(tmp_path, **OPTIONS, baseline=baseline)
    root = Xml.parse(safe / "MTD_MSIL2A.xml").getroot()
    offsets = {item.attrib["band_id"]: item.text for item in root.iter("BOA_ADD_OFFSET")}
    assert offsets == ({str(number): offset for number in range(13)} if offset else {})
    assert bands_of(safe, 20) == b20
    assert bands_of(safe, 60) == B60
    listed = {item.text for item in root.iter("IMAGE_FILE")}
    assert listed == {str(path.relative_to(safe).with_suffix("")) for path in safe.rglob("*.jp2")}
    manifest = Xml.parse(safe / "manifest.safe").getroot()
    assert {item.attrib["checksumName"] for item in manifest.iter("checksum")} == {checksum}


@pytest.mark.parametrize("baseline", ["02.14", "05.11"])
def test_the_manifest_tells_the_truth(tmp_path, baseline):
    safe = make_product(tmp_path, **OPTIONS, baseline=baseline)
    streams = list(Xml.parse(safe / "manifest.safe").getroot().iter("byteStream"))
    files = {path for path in safe.rglob("*") if path.is_file() and path.name != "manifest.safe"}
    assert {safe / stream.find("fileLocation").attrib["href"] for stream in streams} == files
    for stream in streams:
        content = (safe / stream.find("fileLocation").attrib["href"]).read_bytes()
        assert int(stream.attrib["size"]) == len(content)
        sum_ = (
            hashlib.md5(content).hexdigest() if baseline == "02.14" else hashlib.sha3_256(content).hexdigest().upper()
        )
        assert stream.findtext("checksum") == sum_


@pytest.mark.parametrize(("baseline", "offset"), [("02.14", 0), ("05.11", -1000)])
def test_digital_numbers_turn_back_into_reflectance(tmp_path, baseline, offset):
    safe = make_product(tmp_path, **OPTIONS, baseline=baseline)
    tile = identify("T20KNB", "2025-10-03", baseline, 4).tile
    stored = np.stack([read(safe, band, 20)[0] for band in ("B04", "B12")]).astype(float)
    truth = np.zeros_like(stored)
    for place, to, part in iter_blocks(*corner(tile), 48):
        planes, _ = observe(View(4, tile.epsg, "2025-10-03", 0.0), place.top, place.left)
        truth[:, *to] = planes[[BANDS.index("B04"), BANDS.index("B12")]][:, *part]
    measured = stored > 0
    np.testing.assert_allclose(((stored + offset) / 10_000)[measured], truth[measured], atol=0.5001e-4)


def test_geometry_is_the_tiles_own(product):
    for resolution, edge in ((20, 48), (60, 16)):
        pixels, profile = read(product, "B8A", resolution)
        assert pixels.shape == (edge, edge)
        assert pixels.dtype == np.uint16
        assert profile["crs"].to_epsg() == 32720
        assert profile["transform"][:6] == (resolution, 0, 499980, 0, -resolution, 7700020)
    root = Xml.parse(next(product.glob("GRANULE/*/MTD_TL.xml"))).getroot()
    assert root.findtext(".//HORIZONTAL_CS_CODE") == "EPSG:32720"
    sizes = {item.attrib["resolution"]: item.findtext("NROWS") for item in root.iter("Size")}
    assert sizes == {"10": "96", "20": "48", "60": "16"}
    corners = {(item.findtext("ULX"), item.findtext("ULY")) for item in root.iter("Geoposition")}
    assert corners == {("499980", "7700020")}


def test_60_m_is_the_mean_of_20_m(product):
    fine, coarse = read(product, "B11", 20)[0].astype(float), read(product, "B11", 60)[0].astype(float)
    whole = coarse > 0
    assert np.abs(fine.reshape(16, 3, 16, 3).mean((1, 3)) - coarse)[whole].max() <= 1


def test_neighbouring_tiles_agree_on_the_ground_they_share():
    # T20KNB's last 163 rows at 60 m lie in T20KNA: its row 1667 is T20KNA's first
    northern, southern = (identify(tile, "2025-10-03", "05.11", 3).tile for tile in ("T20KNB", "T20KNA"))
    shift = corner(southern)[0] - corner(northern)[0]
    assert shift == 3 * 1667
    assert corner(southern)[1] == corner(northern)[1]
    view = View(3, 32720, "2025-10-03", 0.1)
    whole, part = np.zeros((12, 60, 60)), np.zeros((12, 30, 30))
    top, left = corner(northern)[0] + shift, corner(northern)[1]
    for place, to, cut in iter_blocks(top, left, 60):
        whole[:, *to] = observe(view, place.top, place.left)[0][:, *cut]
    for place, to, cut in iter_blocks(corner(southern)[0] + 15, left + 12, 30):
        part[:, *to] = observe(view, place.top, place.left)[0][:, *cut]
    assert np.array_equal(whole[:, 15:45, 12:42], part)


def test_a_larger_product_holds_the_smaller_one(product, tmp_path):
    small, _ = read(product, "B05", 20)
    large, _ = read(make_product(tmp_path, **{**OPTIONS, "size_60m_px": 24}), "B05", 20)
    both = (small > 0) & (large[:48, :48] > 0)
    assert both.any()
    assert np.array_equal(small[both], large[:48, :48][both])


def test_beyond_the_swath_nothing_was_measured(tmp_path):
    for seed in range(20):
        safe = make_product(tmp_path, **{**OPTIONS, "seed": seed})
        classes, pixels = read(safe, "SCL", 60)[0], read(safe, "B02", 60)[0]
        assert np.array_equal(classes == 0, pixels == 0)
        fine, measured = read(safe, "SCL", 20)[0], read(safe, "B02", 20)[0]
        assert np.array_equal(fine == 0, measured == 0)
        if (classes == 0).any():
            assert (classes == 0).mean() < 0.3
            return
    pytest.fail("no product of twenty ends at the swath's edge")


def test_nothing_is_left_beside_the_product(product):
    assert [path.name for path in product.parent.iterdir()] == [product.name]


@pytest.mark.parametrize("date", ["2025-02-30", "2025-13-01"])
def test_a_date_that_does_not_exist(tmp_path, date):
    with pytest.raises(ParamsError, match=f"date '{date}' is no day"):
        make_product(tmp_path, **{**OPTIONS, "date": date})


def test_masks_have_torchbearers_form(tmp_path):
    path = make_mask(tmp_path, tile="T20KNB", seed=4, size_60m_px=48)
    assert path.name == "T20KNB.tif"
    with rasterio.open(path) as image:
        assert image.profile["dtype"] == "float32"
        assert image.profile["nodata"] == 0
        assert image.profile["compress"] == "lzw"
        assert image.crs.to_epsg() == 32720
        assert image.transform[:6] == (60, 0, 499980, 0, -60, 7700020)
        mask = image.read(1)
    assert mask.shape == (48, 48)
    assert set(np.unique(mask)) == {0, 255}


def test_a_larger_mask_holds_the_smaller_one(tmp_path):
    masks = []
    for size in (40, 90):
        with rasterio.open(make_mask(tmp_path / str(size), tile="T33TVM", seed=1, size_60m_px=size)) as image:
            masks.append(image.read(1))
    assert np.array_equal(masks[0], masks[1][:40, :40])
