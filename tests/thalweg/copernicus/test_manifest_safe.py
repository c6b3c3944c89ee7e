"""Which files of a product are wanted, by its own list of them."""

import pytest
from catalogue_builder import FIXTURES
from product_builder import make_safe

from thalweg.copernicus.manifest_safe import choose_files, read_files
from thalweg.errors import ProductError

real = pytest.mark.skipif(not FIXTURES.is_dir(), reason="../shared/data is not here")
ENTRY = '<d><byteStream size="{}"><fileLocation {}/><checksum checksumName="{}">{}</checksum></byteStream></d>'


@pytest.fixture(scope="module")
def manifests(tmp_path_factory):
    made = {baseline: make_safe(tmp_path_factory.mktemp("p"), baseline) for baseline in ("05.11", "02.14")}
    return {baseline: (safe / "manifest.safe").read_bytes() for baseline, safe in made.items()}


def test_wanted_files_in_order(manifests):
    stated = read_files(manifests["05.11"], "P")
    files = choose_files(stated, {"R60m": ("B02", "SCL"), "R20m": ("B05",)}, "P")
    ends = ("MTD_MSIL2A.xml", "MTD_TL.xml", "_B02_60m.jp2", "_SCL_60m.jp2", "_B05_20m.jp2")
    assert all(file.path.endswith(end) for file, end in zip(files, ends, strict=True))
    assert all(file.stated.size > 0 and len(file.stated.checksum) == 64 for file in files)


def test_t35_band_that_the_baseline_lacks(manifests):
    stated = read_files(manifests["02.14"], "P_N0214")
    with pytest.raises(
        ProductError, match=r"P_N0214 has no B01 in R20m \(only in R60m\); there it has B02, .*B01 in R20m"
    ):
        choose_files(stated, {"R20m": ("B01",)}, "P_N0214")
    with pytest.raises(ProductError, match="has no B99 in R10m; there it has nothing"):
        choose_files(stated, {"R10m": ("B99",)}, "P")


@pytest.mark.parametrize(("text", "message"), [
    ("<a", "not well-formed XML"),
    ("<a/>", "lists no file with a checksum, so nothing"),
    (ENTRY.format(5, "", "MD5", "0" * 32), "lists a file without its path"),
    (ENTRY.format(5, 'href="/etc/passwd"', "MD5", "0" * 32), "'/etc/passwd', which leads out of the product"),
    (ENTRY.format(5, 'href="./../../x"', "MD5", "0" * 32), "'../../x', which leads out of the product"),
    (ENTRY.format(5, 'href="./a"', "MD5", "0" * 31), "states size 5 and MD5 '0000.* of a, expected"),
    (ENTRY.format(5, 'href="./a"', "CRC", "0" * 32), "states size 5 and CRC"),
    ('<d><byteStream><fileLocation href="a"/><checksum checksumName="MD5">x</checksum></byteStream></d>', "states size -1"),
    (ENTRY.format("many", 'href="./a"', "MD5", "0" * 32), "a size that is no number"),
])  # fmt: skip
def test_t36_manifests_that_cannot_be_trusted(text, message):
    with pytest.raises(ProductError, match=message):
        read_files(text.encode(), "P")


def test_t36_no_metadata():
    stated = read_files(ENTRY.format(5, 'href="./a"', "MD5", "A" * 32).encode(), "P")
    assert stated["a"].checksum == "a" * 32
    with pytest.raises(ProductError, match=r"0 product metadata files and 0 MTD_TL\.xml, expected one of each"):
        choose_files(stated, {}, "P")


@real
def test_recorded_manifests():
    folder = FIXTURES / "cdsetool/download/mock/sentinel_2"
    stated = read_files((folder / "manifest.safe").read_bytes(), "real")
    files = choose_files(stated, {"L1C": ("B01", "B8A")}, "real")
    ends = ("MTD_MSIL1C.xml", "MTD_TL.xml", "_B01.jp2", "_B8A.jp2")
    assert all(file.path.endswith(end) for file, end in zip(files, ends, strict=True))
    with pytest.raises(ProductError, match=r"real2: manifest\.safe lists a file without its path"):
        read_files((folder / "broken_manifest.safe").read_bytes(), "real2")


@real
def test_real_manifests_of_all_baselines():
    paths = sorted((FIXTURES.parent / "s2_safe_metadata").rglob("manifest.safe"))
    paths = [path for path in paths if b".jp2" in path.read_bytes()]  # one was repacked by Esri as TIFF
    assert len(paths) >= 3
    for path in paths:
        stated = read_files(path.read_bytes(), path.parent.stem)
        wanted = (
            {"R60m": ("B01", "B12", "SCL"), "R10m": ("B02",)} if "MSIL2A" in path.parent.name else {"L1C": ("B10",)}
        )
        assert len(choose_files(stated, wanted, path.parent.stem)) == 2 + sum(len(names) for names in wanted.values())
