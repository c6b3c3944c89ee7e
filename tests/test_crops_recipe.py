"""recipes/crops.yaml: the shipped encoders and rules by hand, every line of docs/crops.md, and the chain into a model."""

import itertools
import re
import shlex
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from dvc.utils.hydra import apply_overrides, get_hydra_sweeps
from product_builder import index, valid_params
from series_builder import make_patch

from thalweg import models
from thalweg.backbones.series import dates_of, measured
from thalweg.classes import IGNORE
from thalweg.dataset.chips import ChipReader
from thalweg.grid import Window
from thalweg.manifest.card import Normalisation
from thalweg.manifest.chips import read_stats
from thalweg.manifest.scene import read_scenes
from thalweg.params.grids import GridParams
from thalweg.params.recipe import Recipe
from thalweg.preprocess import build_scenes
from thalweg.preprocess.masks.encoder import plain, read_encoder
from thalweg.recipes import build_members
from thalweg.sample.crops.kinds import CROPS
from thalweg.split.build import build_split
from thalweg.split.patches import Patch
from thalweg.split.rules import apply_rules, read_rules

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes/crops.yaml"
LABELS, RULES = ROOT / "masks/crops/labels", ROOT / "masks/crops/split"
CODES = {"wheat": 110, "maize": 120, "sorghum": 140, "barley": 150, "rye": 160, "oats": 170, "grapes": 330,
         "rapeseed": 435, "sunflower": 438, "potatoes": 510, "peas": 770}  # fmt: skip
GRASS = (910, 911, 912)


# --- files that are shipped


def encoded(name):
    """Class name → codes."""
    encoder = read_encoder(LABELS / f"{name}.yaml")
    return {plain(each): {code for code, place in encoder.ids.items() if place == number}
            for number, each in enumerate(encoder.names)}  # fmt: skip


def test_the_label_encoders_are_those_of_the_thesis():
    eleven = {name: {code} for name, code in CODES.items()}
    assert encoded("crops") == {"background": {0}, **eleven}
    assert encoded("without_wheat") == {"background": {0}, **{n: c for n, c in eleven.items() if n != "wheat"}}
    assert list(encoded("eight")) == ["background", "maize", "sorghum", "barley", "rye", "oats", "grapes", "rapeseed",
                                      "peas"]  # fmt: skip
    assert encoded("grassland") == {"background": {0}, **eleven, "grassland": {*GRASS}}
    non_crops = {0, 970, 971, 972, 973, 974, 975, 976}
    assert encoded("presence") == {"unknown": {192, 977}, "crops": {*CODES.values(), *GRASS}, "non_crops": non_crops}
    assert encoded("interest") == {"unknown": {192, 977}, **eleven, "other_crops": {*GRASS}, "non_crops": non_crops}


def test_the_crop_world_grows_what_the_encoders_name():
    assert {crop.name: crop.code for crop in CROPS if crop.name in CODES} == CODES
    assert {crop.code for crop in CROPS} - {*CODES.values()} == {192, 910, 970}


def dealt(name, heights=None):
    """Part → names, of 16 patches of each of five tile-years."""
    among = [Patch(f"{year}_{tile}_patch_{x:02}_{y:02}", year, tile, x, y)
             for (year, tile), x, y in itertools.product(
                 [(2019, "31TCJ"), (2019, "31TCL"), (2019, "31TDG"), (2020, "31TDG"), (2020, "31TCF")],
                 (0, 9, 10, 29), (0, 1, 2, 3))]  # fmt: skip
    columns = {patch.name: float(heights(patch)) for patch in among} if heights else {}
    found = apply_rules(read_rules(RULES / f"{name}.yaml"), among, lambda _: columns, 0)
    return {part: {each for each, at in found.items() if at == part} for part in {*found.values()}}


def test_the_split_rules_by_hand():
    assert {part: len(names) for part, names in dealt("naive").items()} == {"train": 64, "val": 8, "test": 8}
    temporal = dealt("temporal")
    assert {name[:4] for name in temporal["train"]} == {"2019"}
    assert {part: len(names) for part, names in temporal.items()} == {"train": 48, "val": 16, "test": 16}
    two = dealt("two_tiles")
    assert {name[:10] for names in two.values() for name in names} == {"2019_31TCJ", "2019_31TCL"}
    assert sum(len(names) for names in two.values()) == 32
    tile = dealt("tile")
    assert tile["val"] | tile["test"] == {
        f"{year}_31TDG_patch_{x:02}_{y:02}" for year in (2019, 2020) for x in (0, 9, 10, 29) for y in range(4)}  # fmt: skip
    assert {name[-5:-3] for name in tile["val"]} == {"00", "09"}
    high = dealt("stratified", lambda patch: 1000 if patch.patch_x == 29 else 100 + patch.patch_y)
    assert {part: sum("_29_" in name for name in names) for part, names in high.items()} == {
        "train": 16, "val": 2, "test": 2}  # fmt: skip


def variants():
    """Name → overrides, of every `dvc exp run` of docs/crops.md."""
    text = (ROOT / "docs/crops.md").read_text("utf-8").replace("\\\n", " ")
    lines = [line.removesuffix("$@").strip() for line in text.splitlines() if line.startswith("dvc exp run")]
    found = {}
    for line in lines:
        words = shlex.split(line, comments=True)
        found[words[words.index("-n") + 1]] = [
            word for flag, word in itertools.pairwise(words) if flag in ("-S", "--set-param")
        ]
    return found


WANTED = {"naive", "stratified", "temporal", "two-tile", "coco", "eight", "in-season-37", "in-season-36", "in-season-26",
          "presence", "interest", "grassland", "sen4agrinet-unet", "sen4agrinet-convstar"}  # fmt: skip
ACTIVE = {"blocks-of-2", "blocks-of-8"}
"""Of recipes/active.yaml."""


def test_every_experiment_of_the_thesis_has_a_line():
    assert set(variants()) >= WANTED | ACTIVE


@pytest.mark.parametrize("name", sorted(variants()))
def test_a_line_of_the_documentation_is_a_sound_recipe(name, tmp_path):
    overrides = variants()[name]
    assert overrides
    path = tmp_path / "params.yaml"
    shutil.copyfile(RECIPE if name not in ACTIVE else RECIPE.with_stem("active"), path)
    plain_overrides = [each for each in overrides if not re.search(r"=[^\[{]*,", each)]
    swept = [each for each in overrides if each not in plain_overrides]
    first = [re.sub(r"=(range\((\d+).*\)|([^,]*),.*)", lambda m: f"={m[2] or m[3]}", each) for each in swept]
    apply_overrides(path, [*plain_overrides, *first])
    recipe = build_members(path)
    assert (ROOT / recipe.masks.input / recipe.masks.encoder).is_file()
    encoder = read_encoder(ROOT / recipe.masks.input / recipe.masks.encoder)
    assert tuple(plain(each) for each in encoder.names)[1:] == recipe.classes.names
    if recipe.split.official.rules is not None:
        assert read_rules(RULES / recipe.split.official.rules)
    for member in recipe.models.values():
        steps = member.options.get("steps", recipe.grids[member.grid].series.bins)
        assert steps == recipe.grids[member.grid].series.bins


def sweeps():
    """Recipe → overrides, of every `dvc exp run --queue` that docs/sweeps.md makes of a W&B sweep."""
    text = (ROOT / "docs/sweeps.md").read_text("utf-8").partition("## From sweeps")[2].partition("\n## ")[0]
    found, recipe = [], None
    for line in text.splitlines():
        if said := re.search(r"on recipes/(\w+)\.yaml", line):
            recipe = said[1]
        elif line.startswith("dvc exp run --queue "):
            words = shlex.split(line)
            found.append((recipe, [word for flag, word in itertools.pairwise(words) if flag == "-S"]))
    return found


def test_sweeps_of_wandb_are_lines_that_dvc_expands_to_sound_recipes(tmp_path):
    expanded = []
    for number, (recipe, overrides) in enumerate(sweeps()):
        each = get_hydra_sweeps({"params.yaml": overrides})
        expanded.append((recipe, len(each)))
        for chosen in (each[0], each[-1]):
            path = tmp_path / f"{number}.yaml"
            shutil.copyfile(RECIPE.with_stem(recipe), path)
            apply_overrides(path, chosen["params.yaml"])
            Recipe(path)
    assert expanded == [("crops", 6), ("active", 6), ("active", 8), ("active", 6)]


# --- the whole chain

BANDS = ("B02", "B03", "B04", "B08", "B11")
MONTHS = (4, 5, 6, 7, 8, 9)


def planted(patch, band, month):
    """Another digital number for every patch, band and month."""
    return 1000 * (BANDS.index(band) + 1) + 10 * month + patch


def dates(year, without=()):
    """On the edges of months: first and last moments, and both; every band its own days."""
    firsts = [f"{year}-{month:02}-01" for month in range(1, 13) if month not in without]
    ends = [str(np.datetime64(f"{year}-{month:02}") + 1) for month in range(1, 13)]
    lasts = [str(np.datetime64(end, "s") - 1) for month, end in enumerate(ends, 1) if month not in without]
    return {"B02": firsts, "B03": lasts, "B04": sorted([*firsts, *lasts]), "B08": firsts[::-1], "B11": lasts}


@pytest.mark.filterwarnings("ignore::thalweg.errors.DegradedDataWarning")
def test_what_was_planted_in_a_band_and_month_arrives_there_in_the_model(tmp_path):
    """From NetCDF through composites, packs, split and chips to (B, T, C) of a model's input, by calendar months.

    The seed mixed bands and months on this way. One patch lacks August, so that it is 0 and known to be missing.
    """
    recipe = Recipe(RECIPE)
    labels = np.repeat(np.array([[*CODES.values(), 910]], np.int16), 3, axis=1).repeat(36, axis=0)
    given = {"2019_31TCJ_patch_00_00": (), "2019_31TCJ_patch_02_00": (8,), "2020_31TDG_patch_00_00": (),
             "2020_31TDG_patch_02_00": ()}  # fmt: skip
    for number, (name, without) in enumerate(given.items()):

        def plane(band, time, shape, number=number):
            return np.full(shape, planted(number, band, int(str(time)[5:7])))

        path = make_patch(tmp_path / f"raw/{name}.nc", dates(int(name[:4]), without), plane, labels)
        with h5py.File(path, "a") as file:  # apart on the ground
            where = file["labels/labels"].attrs["transform"]
            file["labels/labels"].attrs["transform"] = where + np.array([0, 0, 20_000 * number, 0, 0, 0])
    paths = sorted((tmp_path / "raw").glob("*.nc"))
    index(tmp_path / "raw", *paths, form="netcdf", bands={name: name for name in (*BANDS, "labels")})
    series = recipe.grids["s2_10m"].series.model_copy(update={"max_gap": 0})
    grid = GridParams(products="*", resolution_m=10, bands=BANDS, resampling="bilinear", channels=(), further=(),
                      dtype="int16", valid=valid_params(), series=series, pack=3)  # fmt: skip
    build_scenes(tmp_path / "raw", LABELS, "g", grid, recipe.masks, recipe.classes, tmp_path / "scenes/g",
                 tmp_path / "store")  # fmt: skip
    split = recipe.split.model_copy(update={"chip_px": {"g": 18}, "input": str(RULES)})
    build_split(tmp_path / "scenes", ("g",), split, recipe.classes, tmp_path / "split")

    scenes = read_scenes(tmp_path / "scenes/g")
    stats = read_stats(tmp_path / "split", "g")
    some = scenes[next(iter(given))].record
    channels = len(some.channels)
    network = models.Network(torch.nn.Identity(), some.channels, Normalisation(mean=(0.0,) * channels,
                                                                              std=(0.2,) * channels))  # fmt: skip
    assert stats.channels[:6] == ("t00/B02", "t00/B03", "t00/B04", "t00/B08", "t00/B11", "t01/B02")
    reader = ChipReader(tmp_path / "scenes/g", tmp_path / "split", "g")
    for patch, (name, without) in enumerate(given.items()):
        pixels = torch.from_numpy(reader.pixels(name, Window(4, 9, 18, 18)).copy())[None]
        tensor = dates_of(network(pixels), 6)  # (1, T, C, H, W), in fifths of reflectance
        there = measured(tensor)[0, :, 0].all(dim=(1, 2)).tolist()
        assert there == [month not in without for month in MONTHS]
        for step, month in enumerate(MONTHS):
            for place, band in enumerate(BANDS):
                number = 0 if month in without else planted(patch, band, month)
                values = tensor[0, step, place]
                assert values.min() == values.max() == pytest.approx(number * 5e-4, abs=1e-5), (name, month, band)
        mask = scenes[name].mask
        assert mask is not None
        assert mask[::35, ::3].tolist() == [[*range(11), IGNORE]] * 2
        assert recipe.classes.names == tuple(CODES)
