"""The reference is what the models say, whole, and `thalweg explain` finds any of it."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from thalweg import cli
from thalweg.errors import ParamsError
from thalweg.reference import files, keys, pages

ROOT = Path(__file__).parents[3]
KEYS = {key.path: key for _, each in keys.sections().values() for key in each}
NAMED = {section.partition(".")[0] for section in KEYS if ".<name>." in section}


def _paths(value: object, path: tuple[str, ...]) -> list[tuple[str, ...]]:
    if not isinstance(value, dict):
        return [path]
    return [path, *(each for key, inner in value.items() for each in _paths(inner, (*path, str(key))))]


@pytest.mark.parametrize("recipe", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_key_of_every_recipe_is_explained(recipe):
    data = YAML(typ="safe").load(recipe.read_text("utf-8"))
    free = (
        "fetch.options",
        "masks.values",
        "options",
        "loss",
        "augment",
        "scores",
        "chip_px",
        "lists",
        "keep",
        "weights",
    )
    for section, value in data.items():
        items = value.values() if section in NAMED else [value]
        prefix = (section, "<name>") if section in NAMED else (section,)
        for item in items:
            for path in _paths(item, prefix):
                text = ".".join(path)
                if text in (section, f"{section}.<name>") or any(
                    f".{word}." in f".{text}." and not text.endswith(word) for word in free
                ):
                    continue
                assert text in KEYS, text


def test_ranges_and_units_are_read_off_the_model():
    assert KEYS["models.<name>.lr"].values == "number > 0, or `auto`"
    assert KEYS["split.buffer_m"][1:3] == ("m", "number ≥ 0")
    assert KEYS["models.<name>.chip_px"][1:3] == ("pixels", "whole number ≥ 8")
    assert KEYS["ensembles.<name>.outputs.lines.class"].meaning == "The class."
    assert KEYS["ensembles.<name>.outputs.polygons.min_area_m2"].unit == "m²"
    assert KEYS["split.leak"].values == "`fail` · `report`"
    assert KEYS["split.chip_px"].values == "mapping of names to whole number > 0"
    assert KEYS["grids.<name>.valid.scl"].values == "list of whole number ≥ 0, ≤ 255"
    assert KEYS["fetch.elevation.tiles"].values == "list of text (at least 1)"


def test_meanings_are_the_texts_below_the_fields():
    assert KEYS["split.buffer_m"].meaning == "Least ground distance between pixels of two parts, metres."
    assert "B08 or B8A" in KEYS["grids.<name>.series.composite"].meaning


@pytest.mark.parametrize(("asked", "first"), [
    ("models.unet.lr", "models.<name>.lr"), ("models.lr", "models.<name>.lr"), ("split", "split.input"),
    ("ensembles.main.tta.views", "ensembles.<name>.tta.views"), ("split.rules", "split.rules[]"), ("models.unet", "models.<name>.model"),
])  # fmt: skip
def test_keys_are_found_with_and_without_names(asked, first):
    found = [key.path for key in keys.find(asked, ("unet", "main"))]
    assert found[0] == first or found[0] == first.removesuffix("[]")


def test_what_is_not_there_is_told_with_what_is_like_it():
    with pytest.raises(ParamsError, match=r"there is no key 'models.learning_rate' .* yardsticks.<name>.learning_rate"):
        keys.find("models.learning_rate")
    with pytest.raises(ParamsError, match=r"the sections are fetch, classes, "):
        keys.find("nothing")


def test_explain_says_what_stands_there_now(monkeypatch):
    monkeypatch.chdir(ROOT)
    told = CliRunner().invoke(cli.app, ["explain", "split.fractions"]).output.splitlines()
    assert told[0].startswith("split.fractions: mapping; now {'train': ")
    assert "now" not in told[1], "what lies below is told without"


@pytest.mark.parametrize("room", files.ROOMS)
def test_every_file_of_a_room_says_what_it_is(room):
    found = list(files.iter_named(room))
    names = {path.stem for path in (ROOT / "src/thalweg" / room).glob("*.py")} - {"__init__"}
    assert {each.name for each in found} == names
    assert all(each.about for each in found)


def test_options_are_those_that_params_give():
    tversky = next(each for each in files.iter_named("losses") if each.name == "tversky")
    assert tversky.options == {"alpha": "Weight of false alarms", "beta": "Weight of misses; above α for rare classes"}
    unet = next(each for each in files.iter_named("models") if each.name == "unet")
    assert list(unet.options) == ["widths", "dropout", "upsample"]


def test_pages_hold_all_of_it():
    page = pages.params_page()
    assert all(f"`{path}`" in page for path in KEYS)
    assert all(f"### {each.name}" in page for each in files.iter_named("sources"))
    names = pages.names_page()
    assert all(
        f"| `{each.name}` |" in names for room in ("models", "losses", "reducers") for each in files.iter_named(room)
    )
