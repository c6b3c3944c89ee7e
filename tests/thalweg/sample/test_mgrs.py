"""Tile arithmetic against corners read from real products and masks."""

import pytest

from thalweg.errors import ParamsError
from thalweg.sample.mgrs import locate

REAL = {
    # name: (EPSG, ULX, ULY); the T20K… and T21K… from the Chaco masks, the others from MTD_TL.xml
    "T20KNA": (32720, 499980, 7600000),
    "T20KNB": (32720, 499980, 7700020),
    "T20KPC": (32720, 600000, 7800040),
    "T20KQV": (32720, 699960, 7500040),
    "T20KRA": (32720, 799980, 7600000),
    "T21KXP": (32721, 600000, 7400020),
    "T33TVM": (32633, 399960, 5200020),
    "T33TWL": (32633, 499980, 5100000),
    "T33TWM": (32633, 499980, 5200020),
    "T33SVB": (32633, 399960, 4200000),
    "T46RER": (32646, 499980, 3100020),
    "T07HFE": (32707, 600000, 6500020),
    "T01KAB": (32701, 99960, 8200000),
    "T33XWJ": (32633, 499980, 8900040),
    "T22HBD": (32722, 199980, 5900020),
}


@pytest.mark.parametrize("name", REAL)
def test_corner_of_a_real_tile(name):
    tile = locate(name)
    assert (tile.epsg, tile.ulx, tile.uly) == REAL[name]


@pytest.mark.parametrize("name", ["T20ANA", "T20KNI", "T61KNA", "T00KNA", "20KNA", "T20INA"])
def test_a_name_that_is_no_square(name):
    with pytest.raises(ParamsError, match=f"tile '{name}' is no MGRS square such as T20KNA"):
        locate(name)


def test_a_column_of_another_zone_is_told():
    with pytest.raises(ParamsError, match="zone 20 has the columns JKLMNPQR"):
        locate("T20KAA")
