"""Names, ids and keys of products."""

import datetime

import pytest
from catalogue_builder import product_name

from thalweg.copernicus.keys import parse_name, parse_wish
from thalweg.errors import ParamsError


def test_a_name_taken_apart():
    name = parse_name("S2A_MSIL2A_20230625T234621_N0509_R073_T01WCP_20230626T022157.SAFE")
    assert name == ("S2A", "L2A", datetime.datetime(2023, 6, 25, 23, 46, 21, tzinfo=datetime.UTC), "05.09", 73, "T01WCP",
                    "20230626T022157")  # fmt: skip
    assert name.baseline_number == 509
    assert name.acquisition == parse_name("S2A_MSIL2A_20230625T234621_N0510_R073_T01WCP_20250101T000000").acquisition


def test_three_ways_to_name_a_product():
    assert parse_wish("T20KNA_20251003T174955") == ("key", "T20KNA_20251003T174955")
    assert parse_wish("C9C0A608-1ed5-41ee-98bb-2346ff1502d2") == ("id", "c9c0a608-1ed5-41ee-98bb-2346ff1502d2")
    assert parse_wish(f"{product_name()}.SAFE") == ("name", product_name())


@pytest.mark.parametrize("text", ["", "T20KNA", "S1A_IW_GRDH.SAFE", "../x", "' or 1 eq 1"])
def test_what_is_none_of_them(text):
    with pytest.raises(ParamsError, match=r"is neither a product's id .*nor its name .*nor a key"):
        parse_wish(text)
