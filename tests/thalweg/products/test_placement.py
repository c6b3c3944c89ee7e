"""Pictures without georeference: places far from each other, true metres, and nothing moves when one is added."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from thalweg.errors import ProductError
from thalweg.manifest.products import Product
from thalweg.products import placement
from thalweg.products.placement import PLACES, lay, position, settle

names = st.lists(st.text("abcdef_0123456789", min_size=1, max_size=12), unique=True, max_size=30)


def picture(name: str, pixel_m: float | None = 0.25) -> Product:
    return Product(name=name, form="raster", path=f"{name}.jpg", files=(), bands={"red": 1}, scale=1 / 255, offset=0.0,
                   nodata=None, date=None, pixel_m=pixel_m)  # fmt: skip


def places(products) -> dict[str, int]:
    return {product.name: product.place for product in products}


@given(names, st.randoms())
def test_every_picture_has_a_place_of_its_own_whatever_the_order(chosen, random):
    settled = places(settle(tuple(picture(name) for name in chosen)))
    shuffled = random.sample(chosen, len(chosen))
    assert len(set(settled.values())) == len(chosen)
    assert all(0 <= place < PLACES for place in settled.values())
    assert places(settle(tuple(picture(name) for name in shuffled))) == settled


def test_only_pictures_are_settled():
    before = picture("georeferenced", None)
    assert settle((before,)) == (before,)


def test_namesakes_take_the_next_free_place(monkeypatch):
    monkeypatch.setattr(placement, "PLACES", 5)
    settled = places(settle(tuple(picture(name) for name in "abcde")))
    assert sorted(settled.values()) == [0, 1, 2, 3, 4]
    with pytest.raises(ProductError, match="6 pictures without georeference are more than the 5 places"):
        settle(tuple(picture(name) for name in "abcdef"))


def test_any_two_places_are_far_apart():
    lat, lon = np.radians([position(place) for place in range(PLACES)]).T
    points = 6_356_752 * np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], -1)
    nearest_m, _ = cKDTree(points).query(points, 2)  # on a sphere inside the ellipsoid, so never too far
    assert nearest_m[:, 1].min() > 27_000
    assert np.degrees(np.abs(lat).max()) < 60
    assert np.degrees(np.abs(lon).max()) < 179


@settings(max_examples=30)
@given(st.integers(0, PLACES - 1), st.sampled_from([0.05, 0.25, 3.0]))
def test_pixels_have_their_size_on_the_ground(place, pixel_m):
    grid = lay(picture("a", pixel_m).model_copy(update={"place": place}), (512, 300))
    assert grid.pixel_m_yx == pytest.approx((pixel_m, pixel_m), rel=1e-5)
    lat, lon = position(place)
    middle_lon, middle_lat = grid.lonlat(np.array(256.0), np.array(150.0))
    assert (float(middle_lat), float(middle_lon)) == pytest.approx((lat, lon), abs=1e-8)


def test_the_crs_says_what_it_is():
    grid = lay(picture('N-33-60-D-c-4-2_"7"'), (4, 4))
    assert grid.crs.name == "not georeferenced: N-33-60-D-c-4-2_'7'"
    assert grid.crs.is_projected
    assert grid.bounds == (-0.5, -0.5, 0.5, 0.5)


def test_without_a_settled_place_the_name_alone_gives_one():
    assert lay(picture("a"), (4, 4)) == lay(settle((picture("a"),))[0], (4, 4))
    assert lay(picture("a"), (4, 4)) != lay(picture("b"), (4, 4))


def test_a_picture_that_is_too_large_for_its_place():
    with pytest.raises(ProductError, match=r"a has 20000 × 4 pixels of 1 m, more than the 15 km that a picture"):
        lay(picture("a", 1.0), (20_000, 4))
