"""The ground does not depend on the window, and a date changes season and sky only."""

import numpy as np

from thalweg.sample import ground
from thalweg.sample.channels import courses
from thalweg.sample.ground import Place
from thalweg.sample.landscape import BLOCK, View, greenness, iter_blocks, observe
from thalweg.sample.noise import key_of
from thalweg.sample.sky import sky
from thalweg.sample.spectra import BANDS

TOP, LEFT = 120_000, 24_999


def test_blocks_cover_a_window_once():
    seen = np.zeros((500, 500), int)
    for place, to, part in iter_blocks(TOP + 7, LEFT + 3, 500):
        assert place.top % BLOCK == place.left % BLOCK == 0
        seen[to] += np.ones((BLOCK, BLOCK), int)[part]
    assert (seen == 1).all()


def test_channels_do_not_depend_on_the_window():
    key = key_of(3, "courses")
    wide = courses(key, LEFT, TOP, 200, 300)
    part = courses(key, LEFT + 40, TOP + 30, 100, 120)
    depth_wide, depth_part = wide.half_width_m - wide.distance_m, part.half_width_m - part.distance_m
    np.testing.assert_allclose(depth_wide[30:130, 40:160], depth_part, atol=1e-6)


def test_channels_cover_a_tenth_to_a_fifth_of_the_ground():
    place = Place(32720, TOP, LEFT, 1500, 1500)
    share = ground.in_channel(3, place).mean()
    assert 0.10 < share < 0.20


def test_widths_are_those_of_large_and_small_courses():
    found = courses(key_of(3, "courses"), LEFT, TOP, 600, 600)
    widths = 2 * found.half_width_m[found.distance_m <= found.half_width_m]
    assert 80 < widths.min() < 240
    assert 300 < widths.max() < 750


def test_two_dates_show_the_same_ground_in_another_season():
    dry, wet = View(3, 32720, "2025-10-03", 0.0), View(3, 32720, "2026-02-10", 0.0)
    first, _ = observe(dry, TOP, LEFT)
    second, _ = observe(wet, TOP, LEFT)
    index = [(planes[BANDS.index("B8A")] - planes[BANDS.index("B04")])
             / (planes[BANDS.index("B8A")] + planes[BANDS.index("B04")]) for planes in (first, second)]  # fmt: skip
    assert index[1].mean() > index[0].mean() + 0.05
    assert np.corrcoef(first[BANDS.index("B11")].ravel(), second[BANDS.index("B11")].ravel())[0, 1] > 0.6


def test_seasons_are_turned_round_north_of_the_equator():
    assert greenness(View(0, 32720, "2025-02-14", 0)) > 0.99
    assert greenness(View(0, 32620, "2025-02-14", 0)) < 0.01


def test_cloud_cover_is_met_over_a_wide_region():
    axis = np.arange(300) * 700.0
    above = sky(5, 32720, "2025-10-03", 0.3, axis[None, :], axis[:, None])
    assert 0.2 < (above.cloud > 0.25).mean() < 0.4
    clear = sky(5, 32720, "2025-10-03", 0.0, axis[None, :], axis[:, None])
    assert clear.cloud.max() == clear.shadow.max() == 0


def test_clouds_are_white_and_shadows_dark_and_classed_so():
    planes, classes = observe(View(3, 32720, "2025-10-03", 0.4), TOP, LEFT)
    blue = planes[BANDS.index("B02")]
    assert {3, 9} < set(np.unique(classes))
    assert blue[classes == 9].mean() > 0.3
    assert blue[classes == 3].mean() < 0.6 * blue[np.isin(classes, (4, 5))].mean()
