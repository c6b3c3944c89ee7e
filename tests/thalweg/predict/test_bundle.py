"""One zip predicts elsewhere, has the same bytes each time, and is trusted only as far as it is whole."""

import json
import shutil
import zipfile

import numpy as np
import pytest
import rasterio
from image_builder import World, call

from thalweg.bundle import INDEX, open_bundle
from thalweg.errors import ArchiveError, CardError
from thalweg.predict.source import open_source


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def bundle(world):
    """A bundle of its model."""
    path = world.root / "one.zip"
    said = call("bundle", world.model, "--out", path)
    assert "model one); elsewhere: `thalweg predict" in said
    return path


def rewritten(bundle, target, changes: dict[str, bytes | None]):
    """A copy with files changed, added or (None) taken away."""
    with zipfile.ZipFile(bundle) as archive, zipfile.ZipFile(target, "w") as made:
        files = {name: archive.read(name) for name in archive.namelist()} | changes
        for name, content in files.items():
            if content is not None:
                made.writestr(name, content)
    return target


def test_a_bundle_predicts_in_an_empty_folder(world, bundle, tmp_path, monkeypatch):
    home = tmp_path / "elsewhere"
    home.mkdir()
    shutil.copy(bundle, home / "moved.zip")
    monkeypatch.chdir(home)
    call("predict", "moved.zip", world.scene.folder, "--out", "map")
    call("predict", world.model, world.scene.folder, "--out", "own")
    with rasterio.open("map/probs.tif") as one, rasterio.open("own/probs.tif") as two:
        np.testing.assert_array_equal(one.read(), two.read())
    assert {path.name for path in home.iterdir()} == {"moved.zip", "map", "own"}


def test_the_same_model_is_the_same_zip_with_weights_once(world, bundle, tmp_path):
    call("bundle", world.model, "--out", tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == bundle.read_bytes()
    with zipfile.ZipFile(bundle) as archive:
        names = archive.namelist()
        assert names == ["README.txt", INDEX, "classes.csv", "models/one/card.json", "models/one/weights.safetensors"]
        assert archive.read("classes.csv").decode().splitlines() == [
            "value,name,color", "0,background,#e6e0d4", "1,channel,#1f6fb4"]  # fmt: skip
        readme = archive.read("README.txt").decode()
        assert "thalweg predict one.zip IMAGE --out map" in readme
        assert "It reads: B02, B03, B04, B8A" in readme
        everything = b"".join(archive.read(name) for name in names)
    assert str(world.root).encode() not in everything
    weights = (world.model / "weights.safetensors").stat().st_size
    assert bundle.stat().st_size < weights + 10_000


def test_an_ensemble_brings_its_models(world, tmp_path):
    import hashlib

    shutil.copytree(world.model, tmp_path / "models" / "one")
    sha = hashlib.sha256((world.model / "card.json").read_bytes()).hexdigest()
    home = tmp_path / "ensembles" / "main"
    home.mkdir(parents=True)
    (home / "card.json").write_text(json.dumps({"members": {"one": {"card_sha256": sha}}}))
    call("bundle", home, "--out", tmp_path / "main.zip")
    source = open_source(tmp_path / "main.zip", tmp_path / "scratch")
    assert (source.name, list(source.members), source.ensemble is None) == ("main", ["one"], False)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"../evil.txt": b"x"}, "leaves the folder it is unpacked into"),
        ({"/evil.txt": b"x"}, "leaves the folder it is unpacked into"),
        ({"extra.txt": b"x"}, "holds the foreign file extra.txt"),
        ({"classes.csv": None}, "lacks classes.csv"),
        ({"classes.csv": b"value"}, "classes.csv is not what bundle.json states"),
        ({INDEX: None}, "has no bundle.json, so it is no bundle"),
        ({INDEX: b'{"schema_version": 2, "name": "a", "kind": "model", "files": {}}'}, "has schema 2, this Thalweg reads up to 1"),
    ],
)  # fmt: skip
def test_a_bundle_that_was_touched_is_refused(bundle, tmp_path, changes, said):
    touched = rewritten(bundle, tmp_path / "touched.zip", changes)
    with pytest.raises(ArchiveError, match=said):
        open_bundle(touched, tmp_path / "scratch")
    assert not (tmp_path / "evil.txt").exists()


def test_a_card_with_a_path_of_this_machine_is_not_handed_on(world, tmp_path):
    model = tmp_path / "one"
    shutil.copytree(world.model, model)
    data = json.loads((model / "card.json").read_text())
    (model / "card.json").write_text(json.dumps(data | {"options": {"num_filters": 8, "weights": "/home/me/w.pt"}}))
    with pytest.raises(CardError, match=r"names a path of this machine, /home/me/w.pt, at options.weights"):
        call("bundle", model, "--out", tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()


def test_what_cannot_be_bundled_is_one_sentence(world, bundle, tmp_path):
    with pytest.raises(ArchiveError, match="is there already; remove it"):
        call("bundle", world.model, "--out", bundle)
    with pytest.raises(ArchiveError, match="is no folder; give models/<member>"):
        call("bundle", bundle)
    shutil.copytree(world.model, tmp_path / "one")
    (tmp_path / "one" / "weights.safetensors").unlink()
    with pytest.raises(CardError, match=r"weights.safetensors is missing; train the member"):
        call("bundle", tmp_path / "one", "--out", tmp_path / "x.zip")
