"""Label encoders of the crop system in all the forms that it ships, described in our own words."""

import numpy as np
import pytest
from mask_builder import draw, rules, write_raster

from thalweg.errors import MaskError, ParamsError
from thalweg.params.classes import Classes
from thalweg.preprocess.masks.encoder import plain, read_encoder

CROPS = {"wheat": 110, "maize": 120, "sorghum": 140, "barley": 150, "rye": 160, "oats": 170, "grapes": 330,
         "rapeseed": 435, "sunflower": 438, "potatoes": 510, "peas": 770}  # fmt: skip
OTHERS = [910, 911, 912]
NO_CROPS = [0, *range(970, 977)]
UNKNOWN = [192, 977]
FORMS = {
    "all": [("Background", 0), *CROPS.items()],
    "without wheat": [("Background", 0), *((name, code) for name, code in CROPS.items() if name != "wheat")],
    "eight": [("Background", 0), *((n, c) for n, c in CROPS.items() if n not in ("wheat", "sunflower", "potatoes"))],
    "with grassland": [("Background", 0), *CROPS.items(), ("Grassland", OTHERS)],
    "presence": [("Unknown", UNKNOWN), ("Crops", [*CROPS.values(), *OTHERS]), ("Non-crops", NO_CROPS)],
    "interest": [("Unknown", UNKNOWN), *CROPS.items(), ("Other crops", OTHERS), ("Non-crops", NO_CROPS)],
}


def write(path, entries) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"  - name: {name}\n    id: {code}" for name, code in entries]
    path.write_text("labels:\n" + "\n".join(lines) + "\n")


def legend(names) -> Classes:
    return Classes.model_validate({"legend": tuple({"name": name, "color": "#000000"} for name in names)})


def crops(**changes):
    return rules(values={}, encoder="labels.yaml", **changes)


@pytest.mark.parametrize("form", FORMS)
def test_each_form_gives_each_code_the_class_in_whose_place_it_is_listed(form, tmp_path):
    entries = FORMS[form]
    write(tmp_path / "labels.yaml", entries)
    place = {code: number for number, (_, codes) in enumerate(entries)
             for code in (codes if isinstance(codes, list) else [codes])}  # fmt: skip
    assert read_encoder(tmp_path / "labels.yaml").ids == place
    codes = np.resize([*CROPS.values(), *OTHERS, *NO_CROPS, *UNKNOWN, 998, 0], (16, 16)).astype(np.int16)
    write_raster(tmp_path / "m.tif", codes)
    classes = legend([plain(name) for name, _ in entries])
    for zero, first in (("background", 0), ("unlabelled", 255)):
        labels, _, _ = draw(tmp_path, crops(zero=zero), classes=classes)
        wanted = np.array([place.get(code, 0) or first for code in codes.ravel().tolist()])
        assert (labels.ravel() == wanted).all()


def test_a_class_may_be_made_of_what_nobody_declared():
    """Code 0 listed elsewhere than first is a class of its own."""
    assert dict(FORMS["presence"])["Non-crops"][0] == 0
    assert FORMS["presence"][2][0] == "Non-crops"


def test_codes_by_name(tmp_path):
    write(tmp_path / "e.yaml", FORMS["presence"])
    classes = read_encoder(tmp_path / "e.yaml").classes
    assert (classes[110], classes[0], classes[977]) == ("Crops", "Non-crops", "Unknown")


def test_of_a_code_that_is_listed_twice_the_last_counts_and_it_is_said(tmp_path):
    write(tmp_path / "labels.yaml", [("none", 0), ("cereals", [110, 120]), ("maize", [120, 120])])
    write_raster(tmp_path / "m.tif", np.full((16, 16), 120, np.uint8))
    labels, _, warnings = draw(tmp_path, crops(), classes=legend(["none", "cereals", "maize"]))
    assert (labels == 2).all()
    assert warnings == ("labels.yaml lists the code 120 under 'cereals' and 'maize'; the last counts",)


def test_the_legend_names_the_same_classes(tmp_path):
    write(tmp_path / "labels.yaml", FORMS["presence"])
    write_raster(tmp_path / "m.tif", np.zeros((16, 16), np.uint8))
    with pytest.raises(
        ParamsError,
        match=r"has the classes Unknown, Crops, Non-crops, but classes\.legend .* has unknown, non_crops, crops;",
    ):
        draw(tmp_path, crops(), classes=legend(["unknown", "non_crops", "crops"]))


@pytest.mark.parametrize(("text", "message"), [
    ("rules: []\n", "has no list 'labels'"),
    ("- 1\n", "has no list 'labels'"),
    ("labels: []\n", "has no list 'labels'"),
    ("labels: [\n", "is no YAML"),
    ("labels:\n  - {name: wheat, id: '110'}\n", r"labels\[0\] is .*'110'.*, but a class has a name, and as id a whole"),
    ("labels:\n  - {name: wheat, id: [1, true]}\n", r"labels\[0\] is"),
    ("labels:\n  - {id: 110}\n", r"labels\[0\] is"),
    ("labels:\n  - {name: wheat}\n", r"labels\[0\] is"),
])  # fmt: skip
def test_what_is_no_encoder(text, message, tmp_path):
    (tmp_path / "e.yaml").write_text(text)
    with pytest.raises(MaskError, match=message):
        read_encoder(tmp_path / "e.yaml")


def test_an_encoder_that_is_not_there(tmp_path):
    with pytest.raises(MaskError, match=r"e\.yaml is missing; put the label encoder there or correct masks\.encoder"):
        read_encoder(tmp_path / "e.yaml")


def test_its_content_is_part_of_what_decides_a_scene(tmp_path):
    from mask_builder import GRID

    from thalweg.preprocess.masks import find_masks, mask_identity

    write_raster(tmp_path / "m.tif", np.zeros((16, 16), np.uint8))
    keys = set()
    for code in (110, 120):
        write(tmp_path / "labels.yaml", [("none", 0), ("crop", code)])
        keys.add(repr(mask_identity(find_masks(crops(), legend(["none", "crop"]), tmp_path, {"s": GRID})["s"])))
    assert len(keys) == 2


def test_a_legend_may_leave_out_the_first_class_where_that_is_unlabelled(tmp_path):
    """A class that nothing can be labelled as would be predicted all the same, as in the seed."""
    write(tmp_path / "labels.yaml", [("Background", 0), ("Wheat", 110), ("Peas", [770, 771])])
    write_raster(tmp_path / "m.tif", np.resize([0, 110, 770, 771, 998], (16, 16)).astype(np.int16))
    labels, _, _ = draw(tmp_path, crops(zero="unlabelled"), classes=legend(["wheat", "peas"]))
    assert (labels.ravel() == np.resize([255, 0, 1, 1, 255], 256)).all()
    with pytest.raises(ParamsError, match=r"has the classes Background, Wheat, Peas, but .* has wheat, peas; name the"):
        draw(tmp_path, crops(zero="background"), classes=legend(["wheat", "peas"]))
