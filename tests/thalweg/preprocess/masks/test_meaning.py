"""Values, colours and attributes to class ids; the three absences stay apart."""

import numpy as np
import pytest
from mask_builder import CLASSES, rules

from thalweg.errors import MaskError, ParamsError
from thalweg.params.masks import Masks
from thalweg.preprocess.masks import meaning as room


def ids(values: np.ndarray, masks: Masks, where: str = "m.tif", **options) -> list:
    """Class ids of some values."""
    meaning, strange = room.read_meaning(masks, CLASSES, None), room.Strange()
    found = room.class_ids(values, meaning, strange, **options)
    strange.check(where, meaning)
    return found.tolist()


def test_three_absences_stay_apart():
    values = np.array([[0, 255, np.nan]], np.float32)
    assert ids(values, rules()) == [[0, 1, 255]]
    assert ids(values, rules(zero="unlabelled")) == [[255, 1, 255]]
    assert ids(values, rules(zero="positive_unlabelled", prior=0.1)) == [[0, 1, 255]]


def test_many_codes_may_mean_one_class_or_nothing():
    values = {"2": "damage", "3": "water", "4": "damage", "7": "unlabelled", "-1": "background"}
    wanted = [[1, 2, 1, 255, 0, 0]]
    for dtype in (np.int8, np.int16, np.float64):
        assert ids(np.array([[2, 3, 4, 7, -1, 0]], dtype), rules(values=values)) == wanted
    assert ids(np.array([[2, 3, 4, 7]], np.uint8), rules(values=values)) == [wanted[0][:4]]


@pytest.mark.parametrize(("other", "wanted"), [("unlabelled", 255), ("background", 0), ("water", 2)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_what_is_not_listed_follows_other(other, wanted, dtype):
    assert ids(np.array([9, 0, 255], dtype), rules(other=other)) == [wanted, 0, 1]


def test_a_threshold_splits_shares_and_nan_stays_unlabelled():
    """From 0.5 on is 1: the threshold itself belongs to what it is a threshold of."""
    masks = rules(threshold=0.5, values={"1": "damage"})
    below = np.nextafter(np.float32(0.5), np.float32(0))
    values = np.array([0, below, 0.5, 0.51, 1, np.nan, np.inf, -np.inf], np.float32)
    assert ids(values, masks) == [0, 0, 1, 1, 1, 255, 1, 0]
    assert ids(np.array([49, 50, 51], np.uint8), rules(threshold=50, values={"1": "water"}, zero="unlabelled")) == [
        255,
        2,
        2,
    ]


def test_a_value_that_no_class_has_names_file_value_and_remedy():
    with pytest.raises(
        MaskError, match=r"T1\.tif holds the value 3 in 2 pixels, .*known are 0, 255; add '3' to masks\.values"
    ):
        ids(np.array([[0, 3, 3, 255]], np.uint8), rules(), "T1.tif")


def test_of_many_strange_values_the_commonest_is_named_and_all_are_counted():
    values = np.array([0, 3, 4, 4, 5], np.uint8)
    with pytest.raises(MaskError, match=r"the value 4 in 2 pixels \(and 2 other values in 2\), which no class has"):
        ids(values, rules())
    with pytest.raises(MaskError, match=r"the value .* in 1 pixels \(and 999\+ other values in 4998\)"):
        ids(np.linspace(0.1, 0.9, 4999), rules())


def test_a_class_that_is_not_in_the_legend():
    with pytest.raises(ParamsError, match=r"gives '255' the class 'dammage', but there are background, damage, water"):
        ids(np.zeros((2, 2)), rules(values={"255": "dammage"}))
    with pytest.raises(ParamsError, match=r"masks\.other gives what is not listed the class 'rest', but there are"):
        ids(np.zeros((2, 2)), rules(other="rest"))


@pytest.mark.parametrize(("value", "dtype"), [(0.3, np.float32), (16_777_217, np.uint32)])
def test_the_remedy_for_a_strange_value_helps(value, dtype):
    codes = np.full((2, 2), value, dtype)
    said = repr(float(codes[0, 0])).removesuffix(".0")
    with pytest.raises(MaskError, match=rf"add '{said}' to masks\.values"):
        ids(codes, rules())
    assert ids(codes, rules(values={said: "damage"})) == [[1, 1], [1, 1]]


COLORS = {"#FF0000": "damage", "#0000ff": "water", "#ff00ff": "damage", "#ffffff": "unlabelled"}


def of_colors(pixels: list, masks: Masks) -> list:
    """Class ids of a row of colours."""
    meaning, strange = room.read_meaning(masks, CLASSES, None), room.Strange()
    found = room.ids_of_colors(np.array(pixels, np.uint8).T, meaning, strange)
    strange.check("m.png", meaning)
    return found.tolist()


def test_colours_are_classes_and_black_is_a_colour_like_others():
    row = [(255, 0, 0), (0, 0, 255), (255, 0, 255), (255, 255, 255)]
    assert of_colors(row, rules(values=COLORS)) == [1, 2, 1, 255]
    assert of_colors([*row, (0, 0, 0)], rules(values=COLORS, other="background")) == [1, 2, 1, 255, 0]
    with pytest.raises(
        MaskError, match=r"the value #000000 in 1 pixels, which no class has; known are 0, #ff0000, #0000ff"
    ):
        of_colors([*row, (0, 0, 0)], rules(values=COLORS))


def test_noise_of_a_jpg_is_counted():
    with pytest.raises(MaskError, match=r"the value #fe0000 in 2 pixels \(and 1 other values in 1\).* add '#fe0000'"):
        of_colors([(254, 0, 0), (255, 0, 0), (254, 0, 0), (254, 1, 0)], rules(values=COLORS))


def test_a_code_of_a_colour_table_is_its_number_or_else_its_colour():
    palette = {0: 0x0000FF, 1: 0xFF0000, 2: 0x0000FF, 3: 0x123456}
    values = np.array([0, 1, 2], np.uint8)
    assert ids(values, rules(values=COLORS), palette=palette) == [2, 1, 2]
    assert ids(values, rules(values=COLORS | {"2": "damage"}), palette=palette) == [2, 1, 1]
    assert ids(values, rules(values={"1": "water", "2": "damage"}), palette=palette) == [0, 2, 1]  # no colour listed
    with pytest.raises(MaskError, match="the value 3 in 1 pixels"):
        ids(np.array([3], np.uint8), rules(values=COLORS), palette=palette)


@pytest.mark.parametrize(("value", "wanted"), [
    ("building", 1), ("2", 2), (2, 2), (2.0, 2), ("02", 2), (np.int64(2), 2), (0, 0), ("0", 0), (True, 1), ("road", None),
    (None, None), (float("nan"), None), (3, None),
])  # fmt: skip
def test_attributes_are_matched_however_a_file_stores_them(value, wanted):
    masks = rules(values={"building": "damage", "2": "water", "true": "damage"})
    assert room.read_meaning(masks, CLASSES, None).of_feature(value) == wanted
    if wanted is None:
        assert room.read_meaning(masks.model_copy(update={"other": "water"}), CLASSES, None).of_feature(value) == 2


@pytest.mark.parametrize(("nodata", "wanted"), [(None, [2, 0, 1]), (0, [2, 0, 1]), (9, [255, 0, 1]), (255, [2, 0, 1])])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_what_a_file_tags_as_nodata_is_unlabelled_unless_it_is_zero_or_listed(nodata, wanted, dtype):
    assert ids(np.array([9, 0, 255], dtype), rules(other="water"), nodata=nodata) == wanted


@pytest.mark.parametrize(
    ("nodata", "wanted"), [(None, [1, 0, 0, 1]), (0, [1, 0, 0, 1]), (255, [1, 0, 0, 255]), (-9999, [1, 0, 255, 1])]
)
def test_nodata_is_no_share_below_or_above_the_threshold(nodata, wanted):
    masks = rules(threshold=50, values={"1": "damage"})
    assert ids(np.array([70, 0, -9999, 255], np.float32), masks, nodata=nodata) == wanted


def test_codes_of_many_digits_are_told_apart():
    """Floats of eight bytes do not know 2^53 + 1."""
    masks = rules(values={str(2**53): "damage", str(2**53 + 1): "water"})
    assert ids(np.array([2**53, 2**53 + 1, 0], np.int64), masks) == [1, 2, 0]
    assert room.read_meaning(masks, CLASSES, None).of_feature(2**53 + 1) == 2


@pytest.mark.parametrize("value", ["25_5", "2_55.0", "nan", "infinity"])
def test_a_text_that_python_alone_takes_for_a_number_is_none(value):
    assert room.read_meaning(rules(other="water"), CLASSES, None).of_feature(value) == 2
