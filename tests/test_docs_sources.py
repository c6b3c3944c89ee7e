"""The examples of docs/sources.md are what the sources read."""

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from thalweg import params, sources
from thalweg.manifest.listing import FileList

PAGE = Path(__file__).parents[1] / "docs/sources.md"
EXAMPLES = re.findall(r"```yaml\n# fetch\.(options|input) of (\w+)[^\n]*\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.mark.parametrize(("kind", "source", "text"), EXAMPLES, ids=[f"{source}-{kind}" for kind, source, _ in EXAMPLES])
def test_each_example_is_read(kind, source, text):
    model = sources.load(source).Options if kind == "options" else FileList
    params.parse(model, YAML(typ="safe").load(text), f"fetch.{kind}", PAGE)


def test_every_source_is_on_the_page():
    names = {path.stem for path in Path(sources.__file__).parent.glob("*.py")} - {"__init__"}
    assert {name for name in names if f"| `{name}` |" in PAGE.read_text()} == names
