"""Mask catalogues: the Chaco's six masks, and verification of every one."""

import hashlib

import pytest
from replay import ROOT

from thalweg.errors import DamagedError, NotFoundError, ParamsError
from thalweg.manifest.listing import MaskCatalogue, read_list
from thalweg.mask_catalogue import fetch_masks

CHACO = ROOT / "masks/chaco.yaml"
REAL = ROOT.parent / "shared/data/chaco_masks"
CATALOGUES = sorted(path for path in (ROOT / "masks").glob("*.yaml") if path.stem != "first")  # which names no masks


def catalogue(tmp_path, url: str, content: bytes, name: str = "T20KNA.tif"):
    path = tmp_path / "masks.yaml"
    path.write_text(
        f"source: test\nlicence: MIT\nclasses: {{'0': background}}\nmasks:\n- name: {name}\n  url: {url}\n"
        f"  sha256: {hashlib.sha256(content).hexdigest()}\n  size: {len(content)}\n"
        "  grid: {crs: 'EPSG:32720', pixel_m: 60, left_top: [0, 0], shape_yx: [2, 2]}\n  note: ''\n"
    )
    return path


def fetch(tmp_path, path, run: str = "raw"):
    return fetch_masks(path, tmp_path / run, tmp_path / "store")


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.stem)
def test_every_catalogue_of_the_project_is_sound(path):
    read_list(MaskCatalogue, path)


def test_the_chaco_has_six_masks_at_one_commit():
    masks = read_list(MaskCatalogue, CHACO).masks
    assert [mask.name for mask in masks] == [
        f"T{tile}.tif" for tile in ("20KNA", "20KNB", "20KPC", "20KQV", "20KRA", "21KXP")
    ]
    assert {mask.url.rpartition("/")[0] for mask in masks} == {
        "https://raw.githubusercontent.com/giodueck/torchbearer/e8689f10889a64ed6055335e2907bac3406c80a1/masks"
    }


@pytest.mark.skipif(not REAL.is_dir(), reason=f"{REAL} is not here: the real masks")
def test_the_chaco_catalogue_says_what_the_files_are():
    from thalweg import raster

    for mask in read_list(MaskCatalogue, CHACO).masks:
        path, grid = REAL / mask.name, raster.read_grid(REAL / mask.name)
        assert (mask.size, mask.sha256) == (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        assert (mask.grid.shape_yx, mask.grid.pixel_m) == (grid.shape_yx, grid.transform.a)
        assert mask.grid.left_top == (grid.transform.c, grid.transform.f)
        assert mask.grid.crs == f"EPSG:{grid.crs.to_epsg()}"


@pytest.mark.skipif(not REAL.is_dir(), reason=f"{REAL} is not here: the real masks")
def test_the_chaco_masks_are_fetched_and_verified(tmp_path, served):
    text = CHACO.read_text()
    for path in REAL.glob("*.tif"):
        served.content[f"/{path.name}"] = path.read_bytes()
    local = tmp_path / "chaco.yaml"
    head = "https://raw.githubusercontent.com/giodueck/torchbearer/e8689f10889a64ed6055335e2907bac3406c80a1/masks"
    local.write_text(text.replace(head, served.url))
    for run in ("raw", "again"):
        assert len(fetch(tmp_path, local, run)) == 6
    assert len(served.asked) == 6
    assert (tmp_path / "raw/masks/T20KNA.tif").samefile(tmp_path / "again/masks/T20KNA.tif")


def test_the_empty_catalogue_fetches_nothing(tmp_path):
    assert fetch(tmp_path, ROOT / "masks/none.yaml") == []


def test_a_mask_that_was_changed_does_not_count(tmp_path, served):
    path = catalogue(tmp_path, f"{served.url}/m.tif", b"II mask")
    served.content["/m.tif"] = b"II evil"
    with pytest.raises(DamagedError, match=r"m\.tif .*sha256"):
        fetch(tmp_path, path)
    assert not (tmp_path / "raw/masks/T20KNA.tif").exists()
    served.content["/m.tif"] = b"II mask"
    assert fetch(tmp_path, path, "again")


def test_a_mask_changed_in_the_store_is_fetched_again(tmp_path, served):
    path = catalogue(tmp_path, f"{served.url}/m.tif", b"II mask")
    served.content["/m.tif"] = b"II mask"
    (link,) = fetch(tmp_path, path)
    link.write_bytes(b"II sloppy hand")
    (again,) = fetch(tmp_path, path, "again")
    assert again.read_bytes() == b"II mask"
    assert len(served.asked) == 2


def test_a_mask_that_is_gone(tmp_path, served):
    with pytest.raises(NotFoundError, match=r"m\.tif"):
        fetch(tmp_path, catalogue(tmp_path, f"{served.url}/m.tif", b"x"))


@pytest.mark.parametrize("name", ["../evil.tif", "a/b.tif", ".hidden", ""])
def test_names_cannot_lead_elsewhere(tmp_path, name):
    path = catalogue(tmp_path, "https://example.org/m.tif", b"x", repr(name))
    with pytest.raises(ParamsError, match=r"masks\.yaml: 'masks\.masks\.0\.name' is"):
        fetch(tmp_path, path)


def test_a_name_twice(tmp_path):
    path = catalogue(tmp_path, "https://example.org/m.tif", b"x")
    text = path.read_text()
    path.write_text(text + text.partition("masks:\n")[2])
    with pytest.raises(ParamsError, match="two masks have one name"):
        fetch(tmp_path, path)
