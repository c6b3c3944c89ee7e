"""Source `archive`: lists of files, parts, unpacking, and what damaged or wrong ones say."""

import hashlib
import io
import json
import shutil
import tarfile
import zipfile

import numpy as np
import pytest
from product_builder import make_raster

from thalweg.errors import ArchiveError, DamagedError, DiskSpaceError, NotFoundError, ParamsError, ProductError
from thalweg.sources import archive


def tiff(folder, value: int) -> bytes:
    return make_raster(folder / "pixels.tif", np.full((1, 2, 2), value, np.uint16)).read_bytes()


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return buffer.getvalue()


def tarred(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as packed:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def part(files, path: str, content: bytes, algorithm: str = "sha256") -> dict:
    files.content[path] = content
    return {"url": files.url + path, "size": len(content),
            "checksum": f"{algorithm}:{hashlib.new(algorithm.replace('-', '_'), content).hexdigest()}"}  # fmt: skip


def entry(name: str, pack: str, *parts: dict, into: str = ".") -> dict:
    return {"name": name, "pack": pack, "into": into, "parts": list(parts)}


def write_list(tmp_path, *archives: dict):
    path = tmp_path / "set.files.yaml"
    path.write_text(json.dumps({"source": "https://example.org", "licence": "CC0", "archives": list(archives)}))
    return path


def options(pattern: str = "**/*.tif", masks: tuple[str, ...] = ()) -> archive.Options:
    layout = {"form": "raster", "pattern": pattern, "bands": {"B02": 1}, "scale": 1.0, "offset": 0.0, "nodata": None,
              "date": None, "more": None}  # fmt: skip
    return archive.Options.model_validate_json(json.dumps({"products": [layout], "masks": masks}))


def deliver(tmp_path, path, run: str = "raw", **said):
    return archive.deliver(options(**said), path, tmp_path / run, tmp_path / "store")


def test_a_zip_a_tar_and_a_file_become_one_data_set(tmp_path, served):
    path = write_list(
        tmp_path,
        entry(
            "a.zip", "zip", part(served, "/a.zip", zipped({"a.tif": tiff(tmp_path, 1), "m/a.tif": tiff(tmp_path, 255)}))
        ),
        entry("b.tar.xz", "tar", part(served, "/b", tarred({"b.tif": tiff(tmp_path, 2)}), "md5"), into="deep/er"),
        entry("c.tif", "none", part(served, "/c.tif", tiff(tmp_path, 3), "sha3-256")),
    )
    products = deliver(tmp_path, path, pattern="[!m]*", masks=("m/*.tif",))
    assert [product.name for product in products] == ["a", "c"]
    assert (tmp_path / "raw/masks/m/a.tif").read_bytes() == tiff(tmp_path, 255)
    assert [product.name for product in deliver(tmp_path, path, "two", pattern="deep/er/*.tif")] == ["b"]
    assert sorted(served.asked) == ["/a.zip", "/b", "/c.tif"]  # nothing moved twice
    assert not any(file.is_file() for file in (tmp_path / "store/parts").iterdir())  # nor is anything kept twice
    assert not list(tmp_path.glob(".*.view"))


def test_parts_are_joined(tmp_path, served):
    whole = zipped({"a.tif": tiff(tmp_path, 1), "b.tif": tiff(tmp_path, 2)})
    cut = len(whole) // 3
    pieces = [whole[:cut], whole[cut : 2 * cut], whole[2 * cut :]]
    parts = [part(served, f"/x.00{number}", piece) for number, piece in enumerate(pieces)]
    assert len(deliver(tmp_path, write_list(tmp_path, entry("x.zip", "zip", *parts)))) == 2


def test_copies_on_this_machine_serve_as_well(tmp_path, served):
    copy = tmp_path / "it is here.tif"
    copy.write_bytes(tiff(tmp_path, 1))
    said = part(served, "/a.tif", copy.read_bytes()) | {"url": copy.as_uri()}
    (product,) = deliver(tmp_path, write_list(tmp_path, entry("a.tif", "none", said)))
    assert product.name == "a"
    assert not served.asked
    copy.write_bytes(tiff(tmp_path, 9))
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(DamagedError, match=r"here\.tif has another sha256 than the promised .*; correct the list"):
        deliver(tmp_path, tmp_path / "set.files.yaml", "again")
    copy.unlink()
    with pytest.raises(NotFoundError, match=r"here\.tif is not there; correct the address in the list"):
        deliver(tmp_path, tmp_path / "set.files.yaml", "again")


def test_what_is_not_as_the_list_says_does_not_count(tmp_path, served):
    said = part(served, "/a.tif", tiff(tmp_path, 1))
    served.content["/a.tif"] = tiff(tmp_path, 2)
    with pytest.raises(DamagedError, match="promised"):
        deliver(tmp_path, write_list(tmp_path, entry("a.tif", "none", said)))
    served.content["/a.tif"] = tiff(tmp_path, 1)
    assert deliver(tmp_path, tmp_path / "set.files.yaml", "again")


def test_t39_a_hostile_zip_leaves_nothing_behind(tmp_path, served):
    said = part(served, "/x.zip", zipped({"good.tif": b"g", "../../evil.tif": b"e"}))
    with pytest.raises(ArchiveError, match=r"its member '\.\./\.\./evil\.tif' leaves the folder"):
        deliver(tmp_path, write_list(tmp_path, entry("x.zip", "zip", said)))
    assert not list(tmp_path.rglob("evil.tif"))
    assert not list(tmp_path.rglob("good.tif"))


def test_two_archives_with_one_file(tmp_path, served):
    path = write_list(
        tmp_path,
        entry("x.zip", "zip", part(served, "/x.zip", zipped({"a.tif": b"1"}))),
        entry("y.zip", "zip", part(served, "/y.zip", zipped({"a.tif": b"2"}))),
    )
    with pytest.raises(
        ProductError, match=r"two archives of the list hold a\.tif; the second is y\.zip; give it its own"
    ):
        deliver(tmp_path, path)


def test_a_full_disk_is_told_before_the_first_byte(tmp_path, served, monkeypatch):
    from thalweg.http import disk

    monkeypatch.setattr(disk, "free_bytes", lambda _folder: 1000)
    said = part(served, "/a.tif", tiff(tmp_path, 1))
    with pytest.raises(DiskSpaceError, match="free"):
        deliver(tmp_path, write_list(tmp_path, entry("a.tif", "none", said)))
    assert not served.asked


@pytest.mark.parametrize(("change", "said"), [
    ({"name": "../a"}, r"'set\.files\.archives\.0\.name' is '\.\./a'"),
    ({"into": "a/../../b"}, r"'into' climbs out of the data set"),
    ({"into": "/etc"}, r"archives\.0\.into"),
    ({"pack": "rar"}, r"archives\.0\.pack"),
    ({"parts": []}, r"archives\.0\.parts"),
    ({"extra": 1}, r"unknown key 'set\.files\.archives\.0\.extra'"),
])  # fmt: skip
def test_lists_are_strict(tmp_path, served, change, said):
    good = entry("a.tif", "none", part(served, "/a.tif", b"x"))
    with pytest.raises(ParamsError, match=said):
        deliver(tmp_path, write_list(tmp_path, good | change))


@pytest.mark.parametrize(("part_change", "said"), [
    ({"checksum": "crc32:00"}, "checksum"), ({"url": "ftp://x/y"}, "url"), ({"size": -1}, "size"),
])  # fmt: skip
def test_parts_are_strict(tmp_path, served, part_change, said):
    bad = entry("a.tif", "none", part(served, "/a.tif", b"x") | part_change)
    with pytest.raises(ParamsError, match=rf"archives\.0\.parts\.0\.{said}"):
        deliver(tmp_path, write_list(tmp_path, bad))


def test_a_list_that_is_missing_or_no_yaml(tmp_path):
    with pytest.raises(ParamsError, match=r"set\.files\.yaml is missing; correct 'fetch' in params\.yaml, or write"):
        deliver(tmp_path, tmp_path / "set.files.yaml")
    (tmp_path / "set.files.yaml").write_text("a: [")
    with pytest.raises(ParamsError, match=r"set\.files\.yaml is not valid YAML"):
        deliver(tmp_path, tmp_path / "set.files.yaml")


def test_mask_patterns_stay_in_the_data_set_and_find_something(tmp_path, served):
    path = write_list(tmp_path, entry("a.tif", "none", part(served, "/a.tif", tiff(tmp_path, 1))))
    with pytest.raises(ParamsError, match=r"fetch\.options\.masks: the pattern '\.\./\*' leaves the data set"):
        deliver(tmp_path, path, masks=("../*",))
    with pytest.raises(ProductError, match=r"fetch\.options\.masks: 'm/\*' finds no file in the data set"):
        deliver(tmp_path, path, masks=("m/*",))
