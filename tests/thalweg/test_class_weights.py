"""Each formula by hand, the blend and the bound, and what params refuse."""

import numpy as np
import pytest
from pydantic import ValidationError

from thalweg import class_weights
from thalweg.errors import ParamsError
from thalweg.params.models import ClassWeights

PIXELS = np.array([800, 200, 0])
AMONG = np.array([1000, 400, 0])
NONE = {"beta": None, "blend": 1.0, "cap": None, "given": ()}


def weigh(formula: str, pixels=PIXELS, among=AMONG, **changes):
    settings = ClassWeights(**{"formula": formula, **NONE, **changes})
    return class_weights.weigh(settings, pixels, among, "models.unet.class_weights").tolist()


def test_inverse():
    assert weigh("inverse") == pytest.approx([0.4, 1.6, 0])  # 1 : 4, mean 1


def test_inverse_sqrt():
    assert weigh("inverse_sqrt") == pytest.approx([2 / 3, 4 / 3, 0])  # 1 : 2, mean 1


def test_balanced_is_the_crop_systems():
    assert weigh("balanced") == pytest.approx([1 / 2.4, 1 / 0.6, 0])  # 1 / (3 × 0.8), 1 / (3 × 0.2)
    assert weigh("balanced", blend=0.1) == pytest.approx([0.1 / 2.4 + 0.9, 0.1 / 0.6 + 0.9, 0.9])


def test_effective_number():
    small = np.array([2, 1, 0])
    assert weigh("effective", small, beta=0.5) == pytest.approx([0.8, 1.2, 0])  # 0.5/0.75 : 0.5/0.5 = 2 : 3, mean 1
    assert weigh("effective", beta=0.0) == pytest.approx([1, 1, 0])
    assert weigh("effective", beta=0.999999999) == pytest.approx(weigh("inverse"), rel=1e-5)


def test_median_frequency():
    assert weigh("median") == pytest.approx([0.65 / 0.8, 0.65 / 0.5, 0])  # frequencies 0.8 and 0.5, their median 0.65


def test_given_and_cap():
    assert weigh("given", given=(1.0, 7.0, 2.0), cap=5.0) == [1.0, 5.0, 2.0]
    assert weigh("inverse", cap=1.0) == pytest.approx([0.4, 1.0, 0])


def test_given_of_another_length():
    with pytest.raises(
        ParamsError, match=r"models\.unet\.class_weights\.given has 2 weights for 3 classes; give one per"
    ):
        weigh("given", given=(1.0, 2.0))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"formula": "effective"}, "give 'beta' with the formula effective"),
        ({"formula": "inverse", "beta": 0.9}, "null with any other"),
        ({"formula": "given"}, "list weights under 'given'"),
        ({"formula": "inverse", "given": (1.0,)}, r"\[\] with any other"),
        ({"formula": "given", "given": (0.0, 0.0)}, "all weights under 'given' are 0"),
    ],
)
def test_params_that_do_not_fit_each_other(changes, said):
    with pytest.raises(ValidationError, match=said):
        ClassWeights(**{**NONE, **changes})


def test_no_pixel_at_all():
    nothing = np.zeros(2)
    for formula in ("inverse", "inverse_sqrt", "balanced", "median"):
        assert weigh(formula, nothing, nothing) == [0, 0]
