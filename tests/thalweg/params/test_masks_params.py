"""Section `masks`: what contradicts itself is refused with one sentence."""

import json

import pytest
from product_builder import mask_params, valid_params

from thalweg.params.classes import Classes
from thalweg.params.masks import Vector


@pytest.mark.parametrize(("changes", "message"), [
    ({"values": {"0": "channel"}}, r"what 0 means is said by masks\.zero"),
    ({"values": {"1": "channel", "1.0": "background"}}, r"1, 1\.0 are one number; keep one"),
    ({"values": {"#f00": "channel"}}, r"'#f00' is no colour; write six hexadecimal digits"),
    ({"values": {"#FF0000": "channel", "#ff0000": "channel"}}, "are one colour; keep one of them"),
    ({"zero": "positive_unlabelled"}, "prior must say what share of unmarked ground is positive"),
    ({"prior": 0.1}, "prior is for masks whose zero is positive_unlabelled, but zero is background; set prior to null"),
    ({"zero": "positive_unlabelled", "prior": 1.0}, "less than 1"),
    ({"encoder": "labels.yaml"}, r"encoder says what values mean, so masks\.values must be empty"),
    ({"encoder": "/etc/labels.yaml", "values": {}}, r"is no file below masks\.input, which DVC tracks"),
    ({"encoder": "../labels.yaml", "values": {}}, r"is no file below masks\.input"),
    ({"encoder": ".", "values": {}}, r"is no file below masks\.input"),
    ({"threshold": float("nan"), "values": {"1": "channel"}}, "finite number"),
    ({"threshold": 0.5}, 'masks.values must say what "1" means, and nothing else'),
    ({"threshold": 0.5, "values": {}}, 'masks.values must say what "1" means, and nothing else'),
])  # fmt: skip
def test_what_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        mask_params(**changes)


@pytest.mark.parametrize("changes", [
    {"zero": "positive_unlabelled", "prior": 0.05},
    {"encoder": "labels.yaml", "values": {}},
    {"threshold": 0.5, "values": {"1": "channel"}},
    {"values": {"#ff0000": "channel", "255": "channel", "-1": "unlabelled", "road": "channel"}},
])  # fmt: skip
def test_what_is_not(changes):
    mask_params(**changes)


@pytest.mark.parametrize("buffer_m", [float("inf"), float("nan"), -1.0])
def test_a_buffer_is_a_number_of_metres(buffer_m):
    with pytest.raises(ValueError, match=r"buffer_m\n"):
        Vector(layer=None, attribute=None, buffer_m=buffer_m, all_touched=False)
    with pytest.raises(ValueError, match=r"cloud_buffer_m\n"):
        valid_params(cloud_buffer_m=buffer_m)


def test_no_cloud_has_a_probability_from_nothing_on():
    """All pixels of all scenes would be clouds; null takes the rule away."""
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        valid_params(cloud_probability=0)


@pytest.mark.parametrize("name", ["unlabelled", "error"])
def test_words_of_masks_are_no_class_names(name):
    with pytest.raises(
        ValueError, match=f"'{name}' is a word of masks.other and masks.values; name the class otherwise"
    ):
        Classes.model_validate_json(
            json.dumps({"legend": [{"name": each, "color": "#000000"} for each in ("background", name)]})
        )
