"""Split rules of the crop system: their semantics, the forms of all shipped files, and what is refused."""

import itertools
import textwrap

import numpy as np
import pytest

from thalweg.errors import SplitError
from thalweg.split.patches import Patch
from thalweg.split.rules import apply_rules, read_rules, stem_of

CATALONIA = ("31TBF", "31TCF", "31TCG", "31TDF", "31TDG")
FRANCE = ("31TCJ", "31TCL", "31TDK", "31TDM", "31UCP", "31UDR")
YEARS = [(2019, tile) for tile in (*CATALONIA, *FRANCE)] + [(2020, tile) for tile in CATALONIA]


def patches(years=YEARS, edge: int = 4) -> list[Patch]:
    """Every (year, tile) with `edge`² patches spread over 0…29."""
    places = [30 // edge * number for number in range(edge)]
    return [
        Patch(f"{year}_{tile}_patch_{x:02}_{y:02}", year, tile, x, y)
        for (year, tile), x, y in itertools.product(years, places, places)
    ]


def targets(tmp_path, text: str, among: list[Patch], column=None, seed: int = 0) -> dict[str, str]:
    path = tmp_path / "rules.yaml"
    path.write_text(textwrap.dedent(text))
    return apply_rules(read_rules(path), among, column or (lambda name: {}), seed)


def heights(among: list[Patch]) -> dict[str, float]:
    """Some elevation that differs from patch to patch."""
    return {patch.name: 40.0 * patch.patch_x + 3 * patch.patch_y + patch.year % 7 for patch in among}


def counts(found: dict[str, str]) -> dict[str, int]:
    return {target: list(found.values()).count(target) for target in sorted(set(found.values()))}


# the shipped files, written from their description


def test_naive_is_80_10_10_at_random(tmp_path):
    among = patches()
    rules = """
        rules:
          - target: [{target: train, split: 0.8}, {target: val, split: 0.1}, {target: test, split: 0.1}]
    """
    found = targets(tmp_path, rules, among)
    assert len(among) == 256
    assert counts(found) == {"train": 205, "val": 25, "test": 26}  # cut at 204.8 and 230.4
    assert found == targets(tmp_path, rules, among[::-1])
    assert found != targets(tmp_path, rules, among, seed=1)


@pytest.mark.parametrize(
    "columns",
    ["[{column: elevation_mean, bins: 6}]", "[{column: elevation_mean, bins: 10}, {column: elevation_std, bins: 5}]"],
    ids=["naive_strat", "naive_strat2"],
)
def test_stratified_rules_give_every_part_its_share_of_every_bin(tmp_path, columns):
    among = patches(edge=10)
    rules = f"""
        rules:
          - target: [{{target: train, split: 0.8}}, {{target: val, split: 0.1}}, {{target: test, split: 0.1}}]
            stratify_on: {columns}
    """
    found = targets(tmp_path, rules, among, lambda name: heights(among))
    assert counts(found) == {"test": 160, "train": 1280, "val": 160}
    values = np.array([heights(among)[patch.name] for patch in among])
    bins = np.minimum(((values - values.min()) / np.ptp(values) * 6).astype(int), 5)
    for number in range(6):
        inside = [found[patch.name] for patch, place in zip(among, bins, strict=True) if place == number]
        for part, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
            assert inside.count(part) / len(inside) == pytest.approx(share, abs=0.06)


def test_temporal1_takes_years_tiles_and_halves_with_guards(tmp_path):
    among = patches(edge=5)  # patch_x 0 6 12 18 24
    found = targets(
        tmp_path,
        """
        rules:
          - year: 2019
            rules:
              - {tile: 31UDR, patch_x: {max: 14}, target: val}
              - {tile: 31UDR, patch_x: {min: 15}, target: test}
              - {tile: 31UDR, assert_none: true}
              - target: train
          - year: 2020
            rules:
              - {tile: [31TBF, 31TCF], target: val}
              - {tile: {in: [31TCG]}, patch_x: {min: 0, max: 14}, target: val}
              - {tile: {in: [31TCG]}, patch_x: {min: 15, max: 29}, target: test}
              - {tile: [31TDF, 31TDG], target: test}
              - assert_none: true
          - assert_none: true
        """,
        among,
    )
    assert counts(found) == {"train": 10 * 25, "val": 15 + 50 + 15, "test": 10 + 10 + 50}
    assert found["2019_31UDR_patch_12_00"] == "val"
    assert found["2020_31TCG_patch_18_24"] == "test"


def test_temporal2_trains_on_a_year_and_halves_the_other(tmp_path):
    among = patches(edge=5)
    found = targets(
        tmp_path,
        """
        rules:
          - {year: 2019, target: train}
          - year: 2020
            target: [{target: val, split: 0.5}, {target: test, split: 0.5}]
        """,
        among,
    )
    assert {name[:4] for name, part in found.items() if part == "train"} == {"2019"}
    assert counts(found) == {"train": 11 * 25, "val": 62, "test": 63}


def test_rep1_2tiles_leaves_out_all_other_tiles(tmp_path):
    among = patches(edge=10)
    found = targets(
        tmp_path,
        """
        rules:
          - year: 2019
            tile: [31TCJ, 31TCL]
            target: [{target: train, split: 0.8}, {target: val, split: 0.1}, {target: test, split: 0.1}]
        """,
        among,
    )
    assert {name[5:10] for name in found} == {"31TCJ", "31TCL"}
    assert counts(found) == {"train": 160, "val": 20, "test": 20}


def test_tiny_drops_what_its_shares_leave_over(tmp_path):
    among = patches([(2019, "31TCJ")], edge=30)
    rules = """
        rules:
          - tile: 31TCJ
            target: [{target: train, split: 0.05}, {target: val, split: 0.01}, {target: test, split: 0.01}]
    """
    assert counts(targets(tmp_path, rules, among)) == {"train": 45, "val": 9, "test": 9}


def test_tiny_strat_gives_each_part_every_height(tmp_path):
    among = patches([(2019, "31TCJ")], edge=10)
    rules = """
        rules:
          - tile: 31TCJ
            target: [{target: train, split: 0.6}, {target: val, split: 0.2}, {target: test, split: 0.2}]
            stratify_on: [{column: elevation_mean, bins: 6}]
    """
    found = targets(tmp_path, rules, among, lambda name: heights(among))
    assert counts(found) == {"train": 60, "val": 20, "test": 20}
    for part in ("train", "val", "test"):
        mean = np.mean([heights(among)[name] for name, target in found.items() if target == part])
        assert mean == pytest.approx(np.mean(list(heights(among).values())), rel=0.08)


# semantics


def test_the_first_rule_that_fits_decides(tmp_path):
    found = targets(tmp_path, "rules: [{patch_x: 0, target: val}, {target: train}]", patches([(2019, "31TCJ")]))
    assert counts(found) == {"train": 12, "val": 4}


def test_a_nested_list_that_fits_nothing_ends_the_search(tmp_path):
    found = targets(
        tmp_path,
        "rules: [{tile: 31TCJ, rules: [{patch_x: 0, target: val}]}, {target: train}]",
        patches([(2019, "31TCJ"), (2019, "31TCL")], edge=3),
    )
    assert counts(found) == {"train": 9, "val": 3}
    assert not [name for name in found if "31TCJ_patch_10" in name]


def test_shares_that_are_not_given_share_the_remainder(tmp_path):
    found = targets(
        tmp_path,
        "rules: [{target: [{target: train, split: 0.6}, {target: val}, {target: test}]}]",
        patches([(2019, "31TCJ")], edge=10),
    )
    assert counts(found) == {"train": 60, "val": 20, "test": 20}


@pytest.mark.parametrize(
    "path", ["2019/31TCJ/2019_31TCJ_patch_00_00.nc", "2019_31TCJ_patch_00_00", "{in: [a/2019_31TCJ_patch_00_00.nc]}"]
)
def test_a_path_given_as_text_fits_where_the_seed_never_did(tmp_path, path):
    found = targets(tmp_path, f"rules: [{{path: {path}, target: test}}]", patches([(2019, "31TCJ")]))
    assert found == {"2019_31TCJ_patch_00_00": "test"}


def test_bins_that_hold_one_patch_are_merged_so_that_no_part_is_lost(tmp_path):
    among = patches([(2019, "31TCJ")], edge=5)
    odd = {patch.name: (9000.0 if index == 0 else float(index % 2)) for index, patch in enumerate(among)}
    rules = """
        rules:
          - target: [{target: train, split: 0.6}, {target: test, split: 0.4}]
            stratify_on: [{column: elevation_mean, bins: 50}]
    """
    assert counts(targets(tmp_path, rules, among, lambda name: odd)) == {"train": 15, "test": 10}


@pytest.mark.parametrize(
    ("path", "stem"),
    [
        ("netcdf/2019_31TCG_patch_13_11.nc", "2019_31TCG_patch_13_11"),
        ("2019/31TCG/2019_31TCG_patch_13_11.nc.npz", "2019_31TCG_patch_13_11"),
        ("M-33-20-D-c-4-2_0\n", "M-33-20-D-c-4-2_0"),
        ("a.b_1", "a.b_1"),
    ],
)
def test_names_lose_folders_and_endings(path, stem):
    assert stem_of(path) == stem


# what is refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules: [{yaer: 2019, target: train}]", r"'rules.0.yaer' Extra inputs are not permitted"),
        ("rules: [{year: {mim: 2019}, target: train}]", r"'rules.0.year.Bounds.mim' Extra inputs are not permitted"),
        ("rules: [{year: 2019}]", "has the outcomes none; give one of target, rules, assert_none"),
        ("rules: [{target: a, assert_none: true}]", "has the outcomes target, assert_none"),
        ("rules: [{target: [{target: a, split: 0.8}, {target: b, split: 0.3}]}]", "sum to more than 1"),
        (
            "rules: [{target: [{target: a, split: 0.8}, {target: b}], stratify_on: [{column: year}]}]",
            "has stratify_on, which needs a list of targets with a 'split' each",
        ),
        ("rules: [{target: a}]\nname: x", "'name' Extra inputs are not permitted"),
        ("rules: [", "is not valid YAML"),
    ],
)
def test_faults_in_a_rules_file_are_named(tmp_path, text, message):
    with pytest.raises(SplitError, match=message):
        targets(tmp_path, text, patches())


def test_a_guard_that_is_reached_says_by_whom(tmp_path):
    with pytest.raises(
        SplitError, match=r"16 scene\(s\), such as 2019_31TCJ_.*, reach rule 0.1 of .*asserts that none"
    ):
        targets(
            tmp_path, "rules: [{rules: [{year: 2018, target: a}, {assert_none: true}]}]", patches([(2019, "31TCJ")])
        )


def test_a_filter_that_a_name_does_not_answer(tmp_path):
    with pytest.raises(SplitError, match="ask for the patch_x of orthophoto, whose name does not say it"):
        targets(tmp_path, "rules: [{patch_x: 3, target: train}]", [Patch("orthophoto", 2019, None, None, None)])


def test_a_rules_file_that_is_missing(tmp_path):
    with pytest.raises(SplitError, match=r"none.yaml is missing; correct split.official.rules"):
        read_rules(tmp_path / "none.yaml")


def test_a_bound_of_another_kind_than_what_it_bounds(tmp_path):
    with pytest.raises(
        SplitError, match=r"bound the year by '2019', but that of 2019_31TBF_patch_00_00 is 2019; write"
    ):
        targets(tmp_path, 'rules: [{year: {min: "2019"}, target: train}]', patches())
    with pytest.raises(SplitError, match=r"bound the tile by 31, but that of .* is '31TBF'"):
        targets(tmp_path, "rules: [{tile: {max: 31}, target: train}]", patches())


def test_rules_in_another_encoding(tmp_path):
    (tmp_path / "r.yaml").write_bytes('rules: [{path: "é", target: train}]'.encode("latin-1"))
    with pytest.raises(SplitError, match=r"r\.yaml is no UTF-8 text \(.* at byte 16\); save it as UTF-8"):
        read_rules(tmp_path / "r.yaml")
