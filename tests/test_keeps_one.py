"""A lone member's raster becomes the map without a copy: only where its reducer would give every held value back."""

import numpy as np
import pytest

from thalweg import reducers
from thalweg.layers import Rule, combine
from thalweg.maps import PROB_NODATA


@pytest.mark.parametrize("name", [name for name in reducers.names() if reducers.keeps_one(name)])
def test_a_reducer_that_keeps_one_gives_every_held_value_back(name: str) -> None:
    values = np.arange(PROB_NODATA + 1, dtype=np.uint16).reshape(256, 256)
    nodata = values == PROB_NODATA
    held = np.stack([values, np.where(nodata, values, PROB_NODATA - 1 - values)])
    weights = [0.3] if reducers.weighing(name) else None
    found = combine(held[None], np.ones((256, 256), bool), Rule((0,), reducers.load(name, weights)))
    np.testing.assert_array_equal(found, held)


def test_reducers_that_change_a_lone_member_do_not_keep_it() -> None:
    assert [name for name in reducers.names() if reducers.keeps_one(name)] == ["mean", "weighted_mean"]
