"""The examples of docs/extending.md do what the page says of them."""

import re
import subprocess
import sys
import types

import pytest
import torch
from manual_commands import ROOT
from product_builder import make_safe

from thalweg import params
from thalweg.errors import ProductError

PAGE = ROOT / "docs/extending.md"
EXAMPLES = dict(re.findall(r"```python title=\"([^\"]+)\"\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL))


def _module(path: str) -> types.ModuleType:
    """The example as if it lay where its title says."""
    module = types.ModuleType(path.removeprefix("src/").removesuffix(".py").replace("/", "."))
    exec(compile(EXAMPLES[path], path, "exec"), vars(module))
    return module


def test_the_page_has_all_three():
    assert sorted(EXAMPLES) == [
        "src/thalweg/losses/poly.py",
        "src/thalweg/models/plain.py",
        "src/thalweg/sources/folders.py",
    ]


@pytest.mark.parametrize("path", EXAMPLES)
def test_examples_are_written_as_the_house_writes(path, tmp_path):
    file = tmp_path / path.rpartition("/")[2]
    file.write_text(EXAMPLES[path], "utf-8")
    command = [sys.executable, "-m", "ruff", "check", "--config", str(ROOT / "pyproject.toml"), str(file)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_the_architecture_takes_any_size():
    network = _module("src/thalweg/models/plain.py").build(channels=3, classes=2, width=4)
    assert network(torch.zeros(2, 3, 17, 33)).shape == (2, 2, 17, 33)
    with pytest.raises(ValueError, match="width should be at least 1, not 0"):
        _module("src/thalweg/models/plain.py").build(channels=3, classes=2, width=0)


def test_the_loss_is_the_papers():
    loss = _module("src/thalweg/losses/poly.py").build(class_weights=None, epsilon=2.0)
    logits = torch.log(torch.tensor([0.25, 0.75])).reshape(1, 2, 1, 1)
    # −log 0.75 + 2 × (1 − 0.75) = 0.287682 + 0.5
    assert loss(logits, torch.ones(1, 1, 1)).item() == pytest.approx(0.787682, abs=1e-5)
    logits = logits.clone().requires_grad_()
    loss(logits, torch.full((1, 1, 1), 255)).backward()
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_the_source_delivers(tmp_path):
    made = _module("src/thalweg/sources/folders.py")
    make_safe(tmp_path / "archive" / "2025")
    options = params.parse(made.Options, {"years": ["2025"]}, "fetch.options", PAGE)
    [product] = made.deliver(options, tmp_path / "archive", tmp_path / "raw", tmp_path / "store")
    assert product.form == "safe"
    assert (tmp_path / "raw" / product.path).is_dir()
    options = params.parse(made.Options, {"years": ["1999"]}, "fetch.options", PAGE)
    with pytest.raises(ProductError, match=r"1999 is no folder; correct fetch\.options\.years"):
        made.deliver(options, tmp_path / "archive", tmp_path / "raw", tmp_path / "store")
