"""Products, the remote and maps in a store that speaks S3: a real server on the loopback, and what can go wrong."""

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.shutil
import s3_server
from image_builder import World, call
from shapely import box

from thalweg import bucket
from thalweg.errors import (
    CredentialsError,
    DamagedError,
    ImageError,
    NotFoundError,
    SettingsError,
    UnreachableError,
    ViewError,
)
from thalweg.explorer.find import find_sources
from thalweg.grid import Window
from thalweg.mapfiles import read_scaled
from thalweg.predict.near import Part, bring_images

pytest.importorskip("s3fs", reason="the extra 's3' is not installed")
pytest.importorskip("dvc_s3", reason="the extra 's3' is not installed")
pytest.importorskip("moto", reason="moto is not installed")

SIZES = {"products/one.tif": 3, "products/two.tif": 5, "products/deep/three.txt": 7}


@pytest.fixture(scope="module")
def address():
    with s3_server.serving() as here:
        yield here


@pytest.fixture
def lab(address, tmp_path, monkeypatch):
    """A bucket of its own, named by the environment alone."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    (tmp_path / "aws").mkdir()
    for name, value in s3_server.environment(address, str(tmp_path / "aws")).items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_S3_ENDPOINT", "AWS_HTTPS", "AWS_VIRTUAL_HOSTING"):
        monkeypatch.setenv(name, "")  # what `tell_gdal` sets is taken back
    name = f"lab-{uuid.uuid4().hex}"
    s3_server.make_bucket(name)
    return f"s3://{name}"


@pytest.fixture
def filled(lab, tmp_path):
    for name, size in SIZES.items():
        (tmp_path / "here" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "here" / name).write_bytes(b"x" * size)
    bucket.put(tmp_path / "here", lab, "one.tif")
    return lab


def test_objects_folders_and_patterns_are_found_by_either_name(filled):
    vsi = filled.replace("s3://", "/vsis3/")
    assert (
        bucket.find(f"{filled}/products/one.tif")
        == bucket.find(f"{vsi}/products/one.tif")
        == [f"{filled}/products/one.tif"]
    )
    assert bucket.find(f"{filled}/products/*.tif") == [f"{filled}/products/one.tif", f"{filled}/products/two.tif"]
    assert bucket.find(f"{filled}/products/") == [f"{filled}/products"]
    assert bucket.find(f"{filled}/other") == bucket.find(f"{filled}/other/*.tif") == []


def test_what_was_brought_is_not_moved_again_and_what_was_replaced_is_another(filled, tmp_path, monkeypatch):
    one = bucket.fetch(f"{filled}/products/one.tif", tmp_path / "got")
    folder = bucket.fetch(f"{filled}/products", tmp_path / "got")
    assert (one.name, one.read_bytes()) == ("one.tif", b"xxx")
    assert {
        path.relative_to(folder.parent).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()
    } == SIZES
    moved = []
    monkeypatch.setattr(bucket._store(), "get_file", lambda *_: moved.append(_))
    assert bucket.fetch(f"{filled}/products/one.tif", tmp_path / "got") == one
    assert not moved
    monkeypatch.undo()


def test_an_object_of_the_same_size_that_was_replaced_is_another(filled, tmp_path):
    before = bucket.fetch(f"{filled}/products/one.tif", tmp_path / "got")
    (tmp_path / "here/products/one.tif").write_bytes(b"yyy")
    bucket.put(tmp_path / "here", filled, "one.tif")
    after = bucket.fetch(f"{filled}/products/one.tif", tmp_path / "got")
    assert (before.read_bytes(), after.read_bytes()) == (b"xxx", b"yyy")


def test_less_than_was_said_is_no_file(filled, tmp_path, monkeypatch):
    monkeypatch.setattr(bucket._store(), "get_file", lambda _key, place: Path(place).write_bytes(b"x"))
    with pytest.raises(DamagedError, match=r"s3://\S+/one.tif should have 3 bytes, but 1 arrived; try again"):
        bucket.fetch(f"{filled}/products/one.tif", tmp_path / "got")
    assert not list((tmp_path / "got").rglob("one.tif"))


def test_the_last_file_comes_last(lab, tmp_path, monkeypatch):
    for name in ("z.tif", "a.tif", "map.json"):
        (tmp_path / "m").mkdir(exist_ok=True)
        (tmp_path / "m" / name).touch()
    order = []
    monkeypatch.setattr(bucket._store(), "put_file", lambda _path, key: order.append(key.rpartition("/")[2]))
    bucket.put(tmp_path / "m", f"{lab}/m", "map.json")
    assert order == ["a.tif", "z.tif", "map.json"]


def test_faults_of_a_store_say_what_to_do_and_no_secret(lab, monkeypatch):
    said = []

    def fails(error, match, name=f"{lab}/x.tif"):
        with pytest.raises(error, match=match) as fault:
            bucket.find(name)
        said.append(str(fault.value))

    fails(
        NotFoundError,
        r"s3://nobody-s/x.tif: there is no such bucket or object \(.*\); check the name",
        "s3://nobody-s/x.tif",
    )
    fails(NotFoundError, r"s3://nobody-s/\*.tif: there is no such bucket", "s3://nobody-s/*.tif")
    with s3_server.serving(INITIAL_NO_AUTH_ACTION_COUNT="0") as strict:
        monkeypatch.setenv("AWS_ENDPOINT_URL", strict)
        fails(
            CredentialsError,
            r"the store does not take these keys for it \(.*\); check AWS_ACCESS_KEY_ID or AWS_PROFILE, and what they may do",
        )
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    fails(UnreachableError, r"the store does not answer \(.*127.0.0.1:9.*\); check AWS_ENDPOINT_URL")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://river:s3cr3t@127.0.0.1:9")
    fails(UnreachableError, r"the store does not answer \(.*\); check AWS_ENDPOINT_URL")
    told = bucket._bare(ConnectionError('no connection to "http://river:s3cr3t@127.0.0.1:9/lab", "http://a:1"'))
    assert told == 'no connection to "http://127.0.0.1:9/lab", "http://a:1"'
    monkeypatch.setenv("AWS_ENDPOINT_URL", "river:s3cr3t@nowhere")
    fails(SettingsError, r"^the store's address is no address; correct AWS_ENDPOINT_URL, .* to one such as https://")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    fails(CredentialsError, r"there are no keys for S3 \(.*\); set AWS_ACCESS_KEY_ID .*or AWS_NO_SIGN_REQUEST=YES")
    bucket._opened.cache_clear()
    monkeypatch.setitem(sys.modules, "s3fs", None)
    fails(SettingsError, r"needs s3fs, which is not installed; `pip install thalweg\[s3\]`")
    assert not [each for each in said if s3_server.SECRET in each or "s3cr3t" in each]


def test_keys_and_address_come_from_a_profile_too(address, lab, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)
    (tmp_path / "aws/config").write_text(f"[profile river]\nendpoint_url = {address}\n")
    (tmp_path / "aws/credentials").write_text(
        f"[river]\naws_access_key_id = {s3_server.KEY}\naws_secret_access_key = {s3_server.SECRET}\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "river")
    assert bucket.find(lab) == [lab]
    bucket.tell_gdal()
    assert os.environ["AWS_S3_ENDPOINT"] == address.removeprefix("http://")
    assert (os.environ["AWS_HTTPS"], os.environ["AWS_VIRTUAL_HOSTING"]) == ("NO", "FALSE")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


def layers(folder) -> dict[str, bytes]:
    return {name: (folder / f"{name}.tif").read_bytes() for name in ("classes", "probs", "uncertainty")}


def test_a_product_in_a_bucket_gives_the_map_of_the_product_here_and_the_map_lies_there_whole(
    world, lab, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    bucket.put(world.safe, f"{lab}/{world.safe.name}", "")
    call("predict", world.model, world.safe, "--out", "here", "--device", "cpu")
    said = call("predict", world.model, f"{lab}/*.SAFE", "--out", f"{lab}/maps/there", "--device", "cpu")
    assert f"put it into {lab}/maps/there" in said
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("aws", "here")] == []
    there = bucket.fetch(f"{lab}/maps/there", tmp_path / "got")
    assert layers(there) == layers(tmp_path / "here")
    item = json.loads((there / "one.json").read_text())
    assert item["assets"]["weights/one"]["href"] == "./weights/one.safetensors"
    assert (there / "weights/one.safetensors").read_bytes() == (world.model / "weights.safetensors").read_bytes()
    for path in there.rglob("*"):
        assert path.is_dir() or s3_server.SECRET.encode() not in path.read_bytes(), path
        assert path.is_dir() or s3_server.KEY.encode() not in path.read_bytes(), path
    with pytest.raises(ImageError, match=r"s3://\S+/maps/there is there already; remove it, or give another --out"):
        call("predict", world.model, world.safe, "--out", f"{lab}/maps/there")
    with pytest.raises(ImageError, match=r"s3://\S+/none.tif is not there, or finds nothing"):
        call("predict", world.model, f"{lab}/none.tif", "--out", tmp_path / "other")


def test_scores_of_a_scene_in_a_bucket_are_those_of_the_scene_here(world, lab, tmp_path):
    image = tmp_path / "image.tif"
    with rasterio.open(world.scene.folder / "image.tif") as scene:
        profile = scene.profile | {"count": 1, "dtype": "uint8", "nodata": 255}
    with rasterio.open(tmp_path / "mask.tif", "w", **profile) as mask:
        mask.write(np.indices(mask.shape).sum(0)[None].astype("uint8") // 8 % 2)
    image.write_bytes((world.scene.folder / "image.tif").read_bytes())
    bucket.put(world.scene.folder, f"{lab}/scenes/x", "")
    scores = [
        call("evaluate", world.model, name, "--masks", tmp_path / "mask.tif")
        for name in (f"{lab}/scenes/x/image.tif", image)
    ]
    assert scores[0] == scores[1]


@pytest.fixture
def mosaic(lab, tmp_path):
    """A COG of 2048 × 2048 pixels in the bucket, of noise, so that what moves can be counted; and itself."""
    random = np.random.default_rng(3)
    profile = {"driver": "GTiff", "height": 2048, "width": 2048, "count": 2, "dtype": "int16", "nodata": -1,
               "crs": "EPSG:32720", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 7_500_000)}  # fmt: skip
    path = tmp_path / "cog" / "mosaic.tif"
    path.parent.mkdir()
    plain = tmp_path / "plain.tif"
    with rasterio.open(plain, "w", **profile) as dataset:
        dataset.write(random.integers(0, 10_000, (2, 2048, 2048)).astype("int16"))
        dataset.descriptions, dataset.scales, dataset.offsets = ("B02", "B03"), (1e-4, 2e-4), (0.0, -0.1)
        dataset.units = ("1", "m")
    rasterio.shutil.copy(plain, path, driver="COG", blocksize=256)
    bucket.put(path.parent, lab, "")
    return f"{lab}/mosaic.tif", path


def _area(path: Path, *bounds: float) -> Path:
    geopandas.GeoDataFrame(geometry=[box(*bounds)], crs="EPSG:32720").to_file(path, driver="GeoJSON")
    return path


def test_of_a_raster_under_an_area_only_its_blocks_move_and_their_pixels_are_the_same(
    mosaic, address, tmp_path, monkeypatch
):
    """Rows 600…650 and columns 520…560, and 16 around them: rows 512…1024 and columns 0…1024, since 504 < 512."""
    url, path = mosaic
    aoi = _area(tmp_path / "aoi.geojson", 505_200, 7_493_500, 505_600, 7_494_000)
    with s3_server.counting(address) as (through, sizes):
        monkeypatch.setenv("AWS_ENDPOINT_URL", through)
        [brought] = bring_images([url], tmp_path / "near", Part(aoi, 16))
        moved = sum(sizes)
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    with rasterio.open(path) as whole, rasterio.open(brought) as part:
        window = rasterio.windows.Window(0, 512, 1024, 512)
        np.testing.assert_array_equal(part.read(), whole.read(window=window))
        assert part.transform == rasterio.Affine(10, 0, 500_000, 0, -10, 7_494_880)
        assert (part.descriptions, part.scales, part.offsets, part.units) == (
            whole.descriptions,
            whole.scales,
            whole.offsets,
            whole.units,
        )
        assert (part.nodata, part.dtypes, part.crs) == (whole.nodata, whole.dtypes, whole.crs)
    assert brought.stat().st_size / 2 < moved < path.stat().st_size / 4
    assert bring_images([url], tmp_path / "near", Part(aoi, 16)) == [brought]
    [other] = bring_images([url], tmp_path / "other", Part(aoi, 16))
    assert other.stat().st_mtime == brought.stat().st_mtime == bucket.modified(url), "shares of a map must agree on it"
    assert [path.name for path in brought.parent.iterdir()] == ["mosaic.tif"]


def test_an_area_that_touches_no_raster_is_named(mosaic, tmp_path):
    aoi = _area(tmp_path / "far.geojson", 600_000, 7_493_500, 600_100, 7_494_000)
    with pytest.raises(ImageError, match=r"far.geojson, the area of interest, touches none of the images; give"):
        bring_images([mosaic[0]], tmp_path / "near", Part(aoi, 16))


def test_a_map_in_a_bucket_is_looked_at_where_it_is(world, lab, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call("predict", world.model, world.safe, "--out", "here", "--device", "cpu")
    bucket.put(tmp_path / "here", f"{lab}/here", "one.json")
    [(name, there)], [(_, here)] = (
        find_sources(place, tmp_path, ()).items() for place in (bucket.to_vsi(f"{lab}/here"), Path("here"))
    )
    assert name == "here"
    window = Window(0, 0, 8, 8)
    for kind in ("probs", "uncertainty"):
        one, other = (read_scaled(getattr(each.shown.files, kind), window, (1,)) for each in (there, here))
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ViewError, match=r"s3://\S+/none holds no classes.tif; name the folder of a map in a bucket"):
        find_sources(bucket.to_vsi(f"{lab}/none"), tmp_path, ())


def test_a_remote_keeps_outs_and_products_and_nothing_tells_its_keys(address, lab, tmp_path):
    """docs/storage.md's own commands: a push, a clone that pulls, and products tracked where they lie."""
    home = tmp_path / "lab"
    home.mkdir()
    env = os.environ | {"DVC_NO_ANALYTICS": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b",
                        "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}  # fmt: skip
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"

    def run(*words: str, at: Path = home) -> str:
        done = subprocess.run(words, cwd=at, env=env, text=True, capture_output=True, check=False)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/scene.tif").write_bytes(b"pixels")
    bucket.put(tmp_path / "raw", f"{lab}/delivered", "")
    run("git", "init", "-q")
    run("dvc", "init", "-q")
    run("dvc", "remote", "add", "--default", "store", f"{lab}/dvc")
    run("dvc", "remote", "modify", "store", "endpointurl", address)
    (home / "maps").mkdir()
    (home / "maps/classes.tif").write_bytes(b"map")
    run("dvc", "add", "-q", "maps")
    run("dvc", "import-url", "-q", f"{lab}/delivered/scene.tif", "scene.tif")
    run("git", "add", "-A")
    run("git", "commit", "-qm", "x")
    run("dvc", "push", "-q")
    run("git", "clone", "-q", str(home), str(tmp_path / "clone"))
    run("dvc", "pull", "-q", at=tmp_path / "clone")
    assert (tmp_path / "clone/maps/classes.tif").read_bytes() == b"map"
    assert (tmp_path / "clone/scene.tif").read_bytes() == b"pixels"
    assert "up to date" in run("dvc", "status")
    (tmp_path / "raw/scene.tif").write_bytes(b"redelivered")
    bucket.put(tmp_path / "raw", f"{lab}/delivered", "")
    run("dvc", "update", "-q", "scene.tif.dvc")
    assert (home / "scene.tif").read_bytes() == b"redelivered"
    for path in home.rglob("*"):
        assert not path.is_file() or s3_server.SECRET.encode() not in path.read_bytes(), path
