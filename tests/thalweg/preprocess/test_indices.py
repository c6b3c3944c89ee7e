"""Extra channels: formulas worked out by hand, and what a wrong name says."""

import numpy as np
import pytest

from thalweg import indices
from thalweg.errors import ParamsError
from thalweg.indices import awesome

REFLECTANCE = {
    "B02": np.array([0.10, 0.0, -0.02], np.float32),
    "B03": np.array([0.20, 0.0, 0.01], np.float32),
    "B04": np.array([0.30, 0.0, 0.02], np.float32),
    "B08": np.array([0.50, 0.0, 0.06], np.float32),
    "B11": np.array([0.25, 0.0, 0.06], np.float32),
    "B12": np.array([0.10, 0.0, 0.02], np.float32),
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ndvi", [0.25, 0, 0.5]),
        ("ndmi", [1 / 3, 0, 0]),
        ("nbr", [2 / 3, 0, 0.5]),
        ("ndwi", [-3 / 7, 0, -5 / 7]),
        ("nd(B02,B04)", [-0.5, 0, -1]),  # below zero counts as zero
        ("nd( B08 , B04 )", [0.25, 0, 0.5]),
        ("sqrt(B02)", [0.316228, 0, 0]),
        ("log(B02)", [-2.302585, -6.907755, -6.907755]),
        ("diff(B02,B04)", [-0.2, 0, -0.04]),
        ("whiteness", [1.0, 0, 2.0]),  # mean 0.2: (0.1 + 0 + 0.1) / 0.2; mean 0.01: (0.01 + 0 + 0.01) / 0.01
        ("hot", [-0.13, -0.08, -0.11]),
    ],
)
def test_formulas_agree_with_hand_calculation(name, expected):
    formula = indices.parse(name)
    np.testing.assert_allclose(indices.compute(formula, REFLECTANCE), expected, atol=1e-5)


def test_formula_range_fits_int16():
    for name, extreme in (("whiteness", 4.0), ("log(B02)", -6.91), ("nd(B02,B03)", -1.0), ("diff(B02,B03)", 2.0)):
        assert abs(extreme / indices.parse(name).scale) < 32767


def test_unknown_formula_names_what_there_is():
    with pytest.raises(
        ParamsError, match=r"'ndx' has no formula; known are ndvi, .*nd\(…\).*, and the \d+ indices of the catalogue"
    ):
        indices.parse("ndx")


def test_wrong_number_of_bands():
    with pytest.raises(ParamsError, match="names 1 bands, but nd takes 2"):
        indices.parse("nd(B08)")


def test_formula_needs_its_bands_in_the_grid():
    with pytest.raises(ParamsError, match=r"'ndvi' reads B08, but the grid's bands are B04, B8A; add B08"):
        indices.parse_all(("ndvi",), ("B04", "B8A"))


# The catalogue ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("NDVI", [0.25, 0, 0.5]),
        ("MNDWI", [-1 / 9, 0, -5 / 7]),  # (G − S1) / (G + S1)
        ("EVI", [2.5 * 0.2 / (0.5 + 6 * 0.3 - 7.5 * 0.1 + 1), 0, 2.5 * 0.04 / (0.06 + 6 * 0.02 + 1)]),
        ("SAVI", [(1 + 1.0) * 0.2 / (0.8 + 1.0), 0, 2 * 0.04 / 1.08]),  # the catalogue's L is 1
        ("BI", [(0.55 - 0.6) / (0.55 + 0.6), 0, (0.08 - 0.06) / (0.08 + 0.06)]),  # ((S1 + R) − (N + B)) / sum
        ("NBR", [2 / 3, 0, 0.5]),
        ("NDRE", None),
    ],
)
def test_indices_of_the_catalogue_by_hand(name, expected):
    if expected is None:
        with pytest.raises(ParamsError, match="'NDRE' has no formula"):
            indices.parse(name)
        return
    np.testing.assert_allclose(indices.compute(indices.parse(name), REFLECTANCE), expected, atol=1e-6)


def test_every_index_of_the_catalogue_gives_numbers():
    everything = {band: np.array([0.0, 0.1, 0.4, -0.1, 1.2], np.float32) for band in awesome.BANDS.values()}
    names = awesome.names()
    assert len(names) > 200
    for name in names:
        formula = indices.parse(name)
        values = indices.compute(formula, everything)
        assert values.dtype == np.float32
        assert np.isfinite(values).all(), name
        assert set(formula.bands) <= set(everything)


def test_spelling_of_the_catalogue_is_hinted_at():
    with pytest.raises(ParamsError, match=r"'evi' has no formula; .*, e\.g\. EVI"):
        indices.parse("evi")


def test_an_index_of_thermal_bands():
    with pytest.raises(ParamsError, match="'NDVIT' of the catalogue needs 'T', which is neither a Sentinel-2 band"):
        indices.parse("NDVIT")


def test_an_index_needs_b08_and_not_b8a():
    with pytest.raises(ParamsError, match=r"'NDVI' reads B08, but the grid's bands are B04, B8A"):
        indices.parse_all(("NDVI",), ("B04", "B8A"))


def test_nothing_but_arithmetic_is_evaluated():
    index = awesome.Index("X", "__import__('os').getcwd()", {"N": "B08"}, {})
    with pytest.raises(ParamsError, match="which is no arithmetic on bands"):
        index.compute(REFLECTANCE["B08"])
