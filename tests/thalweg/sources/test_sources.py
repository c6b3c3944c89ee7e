"""What all sources share: loading by file name, links, and the description of files."""

import errno
import hashlib
import os
from types import SimpleNamespace

import pytest

from thalweg import sources
from thalweg.errors import ParamsError, ProductError
from thalweg.params import Section
from thalweg.params.fetch import Fetch

OPTIONS = Fetch(
    source="sample", input="src/thalweg/sample", masks="masks/none.yaml", elevation=None,
    options={"seed": 0, "size_60m_px": 16, "cloud_cover": 0.0,
             "products": [{"tile": "T20KNA", "date": "2025-10-03", "baseline": "05.11"}]},
)  # fmt: skip


@pytest.mark.parametrize("name", ["archive", "copernicus", "dem", "local", "sample", "stac"])
def test_each_file_is_a_source(name):
    assert callable(sources.load(name).deliver)
    assert issubclass(sources.load(name).Options, Section)


def test_an_unknown_source_names_those_there_are():
    with pytest.raises(ParamsError, match=r"fetch\.source is 'copernicos', but .* has .*local, .*sample"):
        sources.load("copernicos")


def test_a_source_that_delivers_nothing(tmp_path, monkeypatch):
    real = sources.load("sample").Options
    monkeypatch.setattr(sources, "load", lambda _name: SimpleNamespace(Options=real, deliver=lambda *_given: []))
    with pytest.raises(ProductError, match="source 'sample' delivered no product from src/thalweg/sample"):
        sources.fetch_products(OPTIONS, tmp_path / "raw", tmp_path / "store")


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "from/deep").mkdir(parents=True)
    (tmp_path / "from/a.txt").write_text("a")
    (tmp_path / "from/deep/b.txt").write_text("bb")
    return tmp_path / "from"


def test_a_tree_is_linked(tree, tmp_path):
    sources.link_tree(tree, tmp_path / "to/here")
    assert (tmp_path / "to/here/deep/b.txt").samefile(tree / "deep/b.txt")
    sources.link_tree(tree / "a.txt", tmp_path / "to/a.txt")
    assert (tmp_path / "to/a.txt").samefile(tree / "a.txt")


def test_a_tree_on_another_device_is_copied(tree, tmp_path, monkeypatch):
    def refuse(*_given):
        raise OSError(errno.EXDEV, "cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    sources.link_tree(tree, tmp_path / "to")
    assert (tmp_path / "to/deep/b.txt").read_text() == "bb"
    assert not (tmp_path / "to/deep/b.txt").samefile(tree / "deep/b.txt")


def test_other_faults_of_linking_are_not_hidden(tree, tmp_path, monkeypatch):
    def refuse(*_given):
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(OSError, match="no space left"):
        sources.link_tree(tree, tmp_path / "to")


def test_files_are_described_with_size_and_sum(tree):
    first, second = sources.describe_files(tree, tree.parent)
    assert (first.path, first.size) == ("from/a.txt", 1)
    assert (second.path, second.size) == ("from/deep/b.txt", 2)
    assert second.sha256 == hashlib.sha256(b"bb").hexdigest()
    assert sources.describe_files(tree / "a.txt", tree) == (first.model_copy(update={"path": "a.txt"}),)
