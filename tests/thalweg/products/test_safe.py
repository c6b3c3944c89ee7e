"""SAFE products: offsets by XML, consistency, damage; on the embedded sample and, where it lies here, on real data."""

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from product_builder import BANDS_60M, build, copy_safe, grid_params, index, make_safe
from pyproj import CRS

from thalweg import raster
from thalweg.errors import DegradedDataWarning, ProductError, RasterError
from thalweg.products import Wanted
from thalweg.products.safe import open_safe
from thalweg.products.safe_xml import parse_manifest, parse_product

DATA = Path(__file__).parents[4] / "shared/data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here")


@pytest.fixture(scope="module")
def new(tmp_path_factory):
    """A product of baseline 05.11."""
    return make_safe(tmp_path_factory.mktemp("new"))


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """The same ground and date at baseline 02.14."""
    return make_safe(tmp_path_factory.mktemp("old"), "02.14")


def place(folder: Path, safe: Path) -> Path:
    """A private copy of a product in `folder/raw`, with its index."""
    copy = copy_safe(safe, folder / "raw")
    index(folder / "raw", copy)
    return copy


def edit(path: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, path.read_text())
    assert count
    path.write_text(text)


def jp2(safe: Path, band: str, metres: int = 60) -> Path:
    return next(safe.rglob(f"*_{band}_{metres}m.jp2"))


def write_jp2(path: Path, change) -> None:
    """Rewrites a JP2 losslessly with changed digital numbers."""
    import rasterio

    with rasterio.open(path) as dataset:
        numbers, profile = dataset.read(1), dataset.profile
    with rasterio.open(path, "w", **{**profile, "QUALITY": "100", "REVERSIBLE": "YES", "YCBCR420": "NO"}) as dataset:
        dataset.write(change(numbers), 1)


def forget_manifest(safe: Path) -> None:
    (safe / "manifest.safe").unlink()


def test_offset_of_the_xml_is_applied_to_every_pixel(tmp_path, new):
    safe = place(tmp_path, new)
    (scene,) = build(tmp_path, grid_params(bands=BANDS_60M)).values()
    assert scene.record.baseline == "05.11"
    assert set(scene.record.offsets_applied.values()) == {-1000.0}
    for number, band in enumerate(BANDS_60M):
        digital = raster.read_band(jp2(safe, band)).astype(int)
        assert (scene.image[:, :, number] == np.where(digital == 0, -32768, digital - 1000)).all(), band


def test_no_offset_before_baseline_04_00(tmp_path, old):
    safe = place(tmp_path, old)
    (scene,) = build(tmp_path, grid_params(bands=("B02",))).values()
    assert scene.record.offsets_applied == {"B02": 0.0}
    assert (
        scene.image[:, :, 0] == np.where((digital := raster.read_band(jp2(safe, "B02"))) == 0, -32768, digital)
    ).all()


def test_offsets_may_differ_between_bands(tmp_path, new):
    safe = place(tmp_path, new)
    edit(safe / "MTD_MSIL2A.xml", r'(<BOA_ADD_OFFSET band_id="3">)-1000', r"\g<1>-700")
    (scene,) = build(tmp_path, grid_params(bands=("B03", "B04"))).values()
    assert scene.record.offsets_applied == {"B03": -1000.0, "B04": -700.0}
    digital = raster.read_band(jp2(safe, "B04")).astype(int)
    assert (scene.image[:, :, 1] == np.where(digital == 0, -32768, digital - 700)).all()


def test_a_band_without_offset_in_a_list_of_offsets(tmp_path, new):
    safe = place(tmp_path, new)
    edit(safe / "MTD_MSIL2A.xml", r'<BOA_ADD_OFFSET band_id="3">-1000</BOA_ADD_OFFSET>', "")
    with pytest.raises(ProductError, match="lists radiometric offsets, but none for B04"):
        build(tmp_path)


def test_same_surface_at_both_baselines_agrees_to_rounding(tmp_path, new, old):
    raw = tmp_path / "raw"
    index(raw, copy_safe(new, raw), copy_safe(old, raw))
    one, other = build(tmp_path).values()
    both = (one.image != -32768) & (other.image != -32768)
    assert both.mean() > 0.9
    assert np.abs(one.image.astype(int) - other.image)[both].max() <= 1


def test_nodata_saturation_and_low_numbers(tmp_path, new):
    safe = place(tmp_path, new)
    forget_manifest(safe)

    def change(numbers):
        numbers[0, :5] = [0, 1, 999, 1000, 65535]
        return numbers

    write_jp2(jp2(safe, "B02"), change)
    index(tmp_path / "raw", safe)
    (scene,) = build(tmp_path, grid_params(bands=("B02", "B03"))).values()
    assert scene.image[0, :5, 0].tolist() == [-32768, -999, -1, 0, 32767]
    assert scene.valid[0, :5].tolist() == [0, 1, 1, 1, 0]
    assert scene.record.clipped == {"B02": 1, "B03": 0}
    assert scene.image[0, 0, 1] != -32768  # the other band did measure there


def test_scl_decides_validity_and_is_never_shifted(tmp_path, new):
    safe = place(tmp_path, new)
    forget_manifest(safe)
    codes = np.tile(np.arange(12, dtype=np.uint8), (32, 3))[:, :32]
    write_jp2(jp2(safe, "SCL"), lambda _: codes)
    index(tmp_path / "raw", safe)
    (scene,) = build(tmp_path, grid_params(scl=(0, 1, 3, 8, 9, 10))).values()
    (plain,) = build(tmp_path, grid_params(), out="plain").values()
    assert (scene.valid == (plain.valid & ~np.isin(codes, [0, 1, 3, 8, 9, 10]))).all()


def test_zip_gives_the_same_scene_as_the_folder(tmp_path, new):
    place(tmp_path / "folder", new)
    packed = tmp_path / "zip/raw" / f"{new.stem}.zip"
    packed.parent.mkdir(parents=True)
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(new.rglob("*")):
            archive.write(path, f"{new.name}/{path.relative_to(new)}")
    index(packed.parent, packed)
    grid = grid_params(scl=(3, 8, 9))
    (one,), (other,) = build(tmp_path / "folder", grid).values(), build(tmp_path / "zip", grid).values()
    assert (one.image == other.image).all()
    assert (one.valid == other.valid).all()


def test_missing_band_lists_what_is_there(tmp_path, old):
    place(tmp_path, old)
    with pytest.raises(ProductError, match=r"has no band B10, at no resolution; it has B01, B02, .*B12; deliver"):
        build(tmp_path, grid_params(bands=("B10",)))


def test_missing_scl_says_how_to_do_without(tmp_path, new):
    safe = place(tmp_path, new)
    for path in safe.rglob("*_SCL_*.jp2"):
        path.unlink()
    with pytest.raises(ProductError, match=r"has no SCL image; deliver it, or.* set the grid's valid.scl to \[\]"):
        build(tmp_path, grid_params(scl=(3,)))


def test_safe_needs_a_resolution(tmp_path, new):
    place(tmp_path, new)
    with pytest.raises(ProductError, match=r"needs resolution_m \(10, 20 or 60\)"):
        build(tmp_path, grid_params(resolution_m=None))


def test_truncated_jp2_is_caught_by_the_manifest(tmp_path, new):
    path = jp2(place(tmp_path, new), "B03")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ProductError, match=r"B03_60m\.jp2 has \d+ bytes, manifest\.safe says \d+; it is truncated"):
        build(tmp_path)
    assert not list((tmp_path / "store").glob("[!.]*"))


def test_truncated_jp2_without_manifest_raises_when_decoded(tmp_path, new):
    safe = place(tmp_path, new)
    forget_manifest(safe)
    path = jp2(safe, "B03")
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(RasterError, match=r"B03_60m\.jp2 cannot be read .*deliver the file again"):
        build(tmp_path)
    assert not list((tmp_path / "store").glob("*"))  # nothing half-built either


def test_flipped_byte_is_caught_by_the_checksum(tmp_path, new, old):
    for folder, safe, algorithm in ((tmp_path / "new", new, "SHA3-256"), (tmp_path / "old", old, "MD5")):
        path = jp2(place(folder, safe), "B03")
        content = bytearray(path.read_bytes())
        content[-100] ^= 1
        path.write_bytes(content)
        with pytest.raises(ProductError, match=rf"B03_60m\.jp2 has the {algorithm} sum .* it is damaged"):
            build(folder)


def test_file_that_the_manifest_does_not_list(tmp_path, new):
    safe = place(tmp_path, new)
    edit(safe / "manifest.safe", r"_B03_60m\.jp2", "_B99_60m.jp2")
    with pytest.raises(ProductError, match=r"B03_60m\.jp2 is not listed in manifest\.safe"):
        build(tmp_path)


def test_image_that_does_not_fit_the_tile_grid(tmp_path, new):
    safe = place(tmp_path, new)
    edit(next(safe.rglob("MTD_TL.xml")), r"<ULX>\d+</ULX>", "<ULX>500040</ULX>")
    with pytest.raises(
        ProductError, match=r"the image of B02 \(32 × 32 pixels of 60 from 499980.* does not fit MTD_TL\.xml"
    ):
        build(tmp_path)


def test_not_a_whole_zip(tmp_path):
    path = tmp_path / "raw/p.zip"
    path.parent.mkdir()
    path.write_bytes(b"PK\x03\x04 cut off")
    index(tmp_path / "raw", path)
    with pytest.raises(ProductError, match=r"p\.zip is not a whole zip .*deliver it again"):
        build(tmp_path)


def test_folder_without_product_metadata(tmp_path, new):
    safe = place(tmp_path, new)
    (safe / "MTD_MSIL2A.xml").unlink()
    with pytest.raises(ProductError, match=r"has neither MTD_MSIL2A\.xml nor MTD_MSIL1C\.xml"):
        build(tmp_path)


def test_two_granules_with_images(tmp_path, new):
    safe = place(tmp_path, new)
    (granule,) = (safe / "GRANULE").iterdir()
    other = safe / "GRANULE/L2A_T20KNB" / jp2(safe, "B02").relative_to(granule)
    other.parent.mkdir(parents=True)
    other.write_bytes(jp2(safe, "B02").read_bytes())
    with pytest.raises(ProductError, match=r"holds 2 granules with images .*one tile per product"):
        build(tmp_path)


STATED = (
    b"<a><PROCESSING_BASELINE>05.11</PROCESSING_BASELINE><PRODUCT_START_TIME>t</PRODUCT_START_TIME>"
    b"<BOA_QUANTIFICATION_VALUE>10000</BOA_QUANTIFICATION_VALUE></a>"
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"<a>", r"P: its product metadata is not well-formed XML"),
        (b"<a/>", r"P: its product metadata states no PROCESSING_BASELINE"),
        (
            b"<a><TILE_ID>X_T33SVB_N05.11</TILE_ID></a>",
            r"tile-level metadata only, and baseline 05\.11 has a radiometric offset",
        ),
        (STATED, r"P: its product metadata lists no radiometric offset, which every product of baseline 05\.11 has"),
        (
            STATED.replace(b"</a>", b'<BOA_ADD_OFFSET band_id="33">-1000</BOA_ADD_OFFSET></a>'),
            r"cannot be read \('33'\)",
        ),
        (STATED.replace(b"</a>", b'<BOA_ADD_OFFSET band_id="3">x</BOA_ADD_OFFSET></a>'), r"cannot be read \(could not"),
        (
            STATED.replace(b"05.11", b"02.11").replace(b"10000", b"0"),
            r"P: .*states the quantification '0', not a number",
        ),
    ],
)
def test_metadata_that_does_not_say_the_offset(text, message):
    with pytest.raises(ProductError, match=message):
        parse_product(text, "P")


def test_radio_add_offset_of_l1c():
    text = b"""<r><PROCESSING_BASELINE>04.00</PROCESSING_BASELINE><PRODUCT_START_TIME>t</PRODUCT_START_TIME>
        <QUANTIFICATION_VALUE>10000</QUANTIFICATION_VALUE><RADIO_ADD_OFFSET band_id="8">-1000</RADIO_ADD_OFFSET></r>"""
    metadata = parse_product(text, "P")
    assert metadata.offset("B8A") == -1000
    assert metadata.quantification == 10000


# Real data -----------------------------------------------------------------------------------------------------------


@real
def test_real_offsets_by_baseline():
    paths = sorted((DATA / "s2_safe_metadata").rglob("MTD_MSIL*.xml"))
    assert len(paths) == 19
    for path in paths:
        metadata = parse_product(path.read_bytes(), path.parent.stem)
        has_offset = re.search(r"_N(04|05)\d\d_", path.parent.name) is not None
        assert metadata.quantification == 10000
        assert metadata.baseline.replace(".", "") == re.search(r"_N(\d{4})_", path.parent.name)[1]
        assert (set(metadata.offsets.values()), len(metadata.offsets)) == (
            ({-1000.0}, 13) if has_offset else (set(), 0)
        )
        assert (metadata.nodata, metadata.saturated) == (0, 65535)


@real
def test_real_manifests_state_sizes_and_sums():
    for path in sorted((DATA / "s2_safe_metadata").rglob("manifest.safe")):
        stated = parse_manifest(path.read_bytes(), path.parent.stem)
        images = {name: file for name, file in stated.items() if "/IMG_DATA/" in name}
        assert len(images) >= 14
        assert all(file.size > 0 and len(file.checksum) in (32, 64) for file in images.values())


def open_real(path: Path, resolution_m: int, bands: tuple[str, ...], labels: tuple[str, ...] = ()):
    (product,) = (index_only(path),)
    return open_safe(product, path.parent, Wanted(bands, labels, resolution_m))


def index_only(path: Path):
    from thalweg.manifest.products import Product

    return Product(
        name=path.stem, form="safe", path=path.name, files=(), bands={}, scale=1.0, offset=0.0, nodata=None, date=None
    )


@real
def test_real_l2a_of_baseline_05_11():
    safe = next((DATA / "s2_l2a_safe_T33TVM_N0511").glob("*.SAFE"))
    delivery = open_real(safe, 60, BANDS_60M, ("SCL",))
    delivery.verify()
    assert {layer.offset for layer in delivery.bands.values()} == {-1000.0}
    assert delivery.grid.shape_yx == (1830, 1830)
    assert (raster.read_band(Path(delivery.labels["SCL"].path)) == 0).mean() == pytest.approx(0.7154, abs=1e-3)
    coarse = open_real(safe, 20, ("B05", "B09"))
    assert coarse.warnings[0].endswith(
        "lacks the images at 20 m of B05 (60 m), which are taken from coarser ones; deliver the finer ones"
    )
    assert coarse.grid.shape_yx == (5490, 5490)


@real
def test_real_crop_of_baseline_02_11():
    safe = next((DATA / "s2_l2a_safe_crop_T33SVB_N0211").glob("*.SAFE"))
    delivery = open_real(safe, 20, ("B05", "B11"))
    assert (delivery.baseline, {layer.offset for layer in delivery.bands.values()}) == ("02.11", {0.0})
    assert delivery.warnings[0].endswith("baseline 02.11 has 10000 and no offset")
    with pytest.raises(ProductError, match=r"has no SCL image; .*valid.scl to \[\]"):
        open_real(safe, 20, ("B05",), ("SCL",))
    mixed = open_real(safe, 60, ("B02", "B05", "B01"))
    assert [layer.grid.shape_yx for layer in mixed.bands.values()] == [(246, 192), (123, 96), (41, 32)]
    assert mixed.grid == mixed.bands["B01"].grid


@real
@pytest.mark.parametrize("name", ["*T55JEJ*", "*T56JMM*"])
def test_real_l1c_whose_pixels_were_resampled(name):
    path = next((DATA / "s2_l1c_safe_zip").glob(name))
    with pytest.raises(
        ProductError, match=r"does not fit MTD_TL\.xml, which says 10980 × 10980 pixels of 10 .*it was resampled"
    ):
        open_real(path, 10, ("B02", "B03"))


def test_degraded_metadata_is_a_warning_in_the_scene(tmp_path, old):
    safe = place(tmp_path, old)
    tile = next(safe.rglob("MTD_TL.xml"))
    edit(tile, r"_N\d\d\.\d\d</TILE_ID>", "_N02.14</TILE_ID>")
    (safe / "MTD_MSIL2A.xml").write_bytes(tile.read_bytes())
    index(tmp_path / "raw", safe)
    with pytest.warns(DegradedDataWarning, match="states no quantification and offset"):
        (scene,) = build(tmp_path).values()
    assert len(scene.record.warnings) == 1


def test_sen2cor_run_by_users_may_have_no_offset():
    assert parse_product(STATED.replace(b"05.11", b"99.99"), "P").offset("B02") == 0


# Case T43: what preprocess must make of what fetch brings; further ones above and in preprocess/test_radiometry.py ---------


def test_t43_truncated_jp2_raises(tmp_path, new):
    """GDAL decodes it to zeros without an error, so that the manifest and a decode in one thread must tell."""
    test_truncated_jp2_is_caught_by_the_manifest(tmp_path / "manifest", new)
    test_truncated_jp2_without_manifest_raises_when_decoded(tmp_path / "decoded", new)


@pytest.mark.parametrize("offset", ["-1000", "0", "-700"])
def test_t43_offset_of_the_xml_and_its_absence(tmp_path, new, old, offset):
    safe = place(tmp_path / "new", new)
    edit(safe / "MTD_MSIL2A.xml", r'(<BOA_ADD_OFFSET band_id="2">)-1000', rf"\g<1>{offset}")
    (scene,) = build(tmp_path / "new", grid_params(bands=("B03", "B04"))).values()
    assert scene.record.offsets_applied == {"B03": float(offset), "B04": -1000.0}
    place(tmp_path / "old", old)
    (plain,) = build(tmp_path / "old", grid_params(bands=("B03", "B04"))).values()
    assert plain.record.offsets_applied == {"B03": 0.0, "B04": 0.0}


def test_t43_mixed_baselines_in_one_set_each_by_its_own_xml(tmp_path, new, old):
    raw = tmp_path / "raw"
    index(raw, copy_safe(new, raw), copy_safe(old, raw))
    scenes = build(tmp_path, grid_params(bands=("B02",))).values()
    assert sorted(scene.record.offsets_applied["B02"] for scene in scenes) == [-1000.0, 0.0]


def test_t43_special_numbers_of_one_product(tmp_path, new):
    """DN 0 stays nodata, 65535 is saturated, and 1 … 999 are measured, below zero after the offset."""
    safe = place(tmp_path, new)
    forget_manifest(safe)

    def change(numbers):
        numbers[0, :4] = [0, 1, 999, 65535]
        return numbers

    write_jp2(jp2(safe, "B02"), change)
    index(tmp_path / "raw", safe)
    (scene,) = build(tmp_path, grid_params(bands=("B02",))).values()
    assert scene.image[0, :3, 0].tolist() == [-32768, -999, -1]
    assert scene.valid[0, :4].tolist() == [0, 1, 1, 0]


def test_t43_scl_is_neither_shifted_nor_interpolated(tmp_path, new):
    safe = place(tmp_path, new)
    forget_manifest(safe)
    for path in safe.rglob("*_SCL_20m.jp2"):
        path.unlink()
    codes = (np.indices((32, 32)).sum(0) % 2 * 4 + 4).astype(np.uint8)  # 4 and 8 side by side; a mean would be 6
    write_jp2(jp2(safe, "SCL"), lambda _: codes)
    index(tmp_path / "raw", safe)
    (plain,) = build(tmp_path, grid_params(resolution_m=20), out="plain").values()
    (scene,) = build(tmp_path, grid_params(resolution_m=20, scl=(8,)), out="scl").values()
    assert (scene.valid == (plain.valid & (np.kron(codes, np.ones((3, 3), int)) != 8))).all()


def test_t43_tiles_in_two_utm_zones_each_in_its_own(tmp_path, new):
    raw = tmp_path / "raw"
    neighbour = make_safe(tmp_path / "made", tile="T21KTR")
    index(raw, copy_safe(new, raw), copy_safe(neighbour, raw))
    scenes = build(tmp_path, grid_params(bands=("B02",))).values()
    assert {CRS.from_user_input(scene.grid.crs_wkt).to_epsg() for scene in scenes} == {32720, 32721}


def test_t43_a_product_with_some_of_the_files_that_its_manifest_lists(tmp_path, new):
    safe = place(tmp_path, new)
    for path in safe.rglob("*.jp2"):
        if not path.name.endswith(("_B02_60m.jp2", "_B03_60m.jp2")):
            path.unlink()
    index(tmp_path / "raw", safe)
    (scene,) = build(tmp_path, grid_params(bands=("B02", "B03"))).values()
    assert scene.record.baseline == "05.11"


@pytest.mark.parametrize("scl", [(), (3,)])
def test_codes_are_no_band_of_a_grid(tmp_path, old, scl):
    """They would be interpolated, and scaled as reflectance."""
    place(tmp_path, old)
    with pytest.raises(ProductError, match=r"SCL holds no reflectance, so it is no band of a grid; drop it"):
        build(tmp_path, grid_params(bands=("B02", "SCL"), scl=scl))
