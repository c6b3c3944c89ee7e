"""Crops by their size on the ground, pairs that share it, light as air changes it, and nodata that stays nodata."""

import csv

import numpy as np
import pytest
import split_builder
import torch
from encoder_builder import ALTER, CROPS, make_dates
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod
from scene_builder import make_scene

from thalweg.dataset.augment import Radiometry
from thalweg.errors import TrainingError
from thalweg.grid import Window
from thalweg.manifest.chips import PARTS
from thalweg.manifest.scene import Scene
from thalweg.params import NOTHING
from thalweg.params.encoders import Alter, Crops
from thalweg.pretrain.ground import Seen, lattice
from thalweg.pretrain.pairs import PairChips, PairSampler, Sites
from thalweg.pretrain.views import Light, crop_places, haze, look, relit

PX = 64
HALF_M = torch.ones(1)


def crops(**changes) -> Crops:
    return Crops(**(CROPS | changes))


def places(count: int, chosen: Crops, pixel_m: float, seed: int, edges=None) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return crop_places(count, edges or chosen.wide_m, PX, torch.full((count,), pixel_m), chosen, True, random)


@settings(max_examples=30, deadline=None)
@given(pixel_m=st.floats(30, 80), seed=st.integers(0, 999), least=st.floats(0.5, 1.0), more=st.floats(0, 1))
def test_views_are_as_large_on_the_ground_as_asked_and_any_two_share_some(pixel_m, seed, least, more):
    chosen = crops(wide_m=(least * 1920, (least + more * (1 - least)) * 1920))
    made = places(16, chosen, pixel_m, seed)
    corners = torch.tensor([[x, y, 1.0] for x in (-1, 1) for y in (-1, 1)])
    at_m = torch.einsum("bij,kj->bki", made, corners) * PX * pixel_m / 2  # metres from the chip's middle
    low, high = at_m.amin(1), at_m.amax(1)
    edges = high - low
    assert torch.allclose(edges[:, 0], edges[:, 1], rtol=1e-4)  # squares
    assert float(edges.min()) >= chosen.wide_m[0] - 0.1
    assert float(edges.max()) <= chosen.wide_m[1] + 0.1
    assert float(at_m.abs().max()) <= chosen.chip_m / 2 + 0.1
    shared = torch.minimum(high[:, None], high[None]) - torch.maximum(low[:, None], low[None])
    assert float(shared.min()) >= -0.1  # in both directions, for every pair


def test_small_pixels_and_large_give_the_same_metres():
    one, two = places(8, crops(), 30.0, 5), places(8, crops(), 60.0, 5)
    assert torch.allclose(
        one[:, :, :2] * 30, two[:, :, :2] * 60, atol=1e-4
    )  # the same draw, half the share of the raster


def test_a_crop_reads_the_ground_that_its_place_names():
    ramp = torch.arange(1, 9.0).expand(1, 1, 8, 8)  # value = column + 1
    left = torch.tensor([[[0.5, 0.0, -0.5], [0.0, 0.5, 0.0]]])  # columns 0…3, rows 2…5
    view = look(ramp, torch.ones_like(ramp, dtype=torch.bool), left, 4, HALF_M)
    assert view.inputs[0, 0].tolist() == [[1.0, 2.0, 3.0, 4.0]] * 4
    turned = torch.tensor([[[0.0, 0.5, 0.0], [0.5, 0.0, 0.0]]])
    assert look(ramp, ramp > 0, turned, 4, HALF_M).inputs[0, 0].T.tolist() == [[3.0, 4.0, 5.0, 6.0]] * 4


def test_nodata_does_not_bleed_and_stays_0_under_all_light():
    inputs = torch.full((1, 2, 8, 8), 2.0)
    measured = torch.ones(1, 2, 8, 8, dtype=torch.bool)
    measured[..., 3:], inputs[..., 3:] = False, 0.0
    shifted = torch.tensor([[[0.9, 0.0, 0.03], [0.0, 0.9, 0.0]]])
    view = look(inputs, measured, shifted, 8, HALF_M)
    assert set(view.inputs.flatten().tolist()) == {0.0, 2.0}  # no mixture of 2 and nothing
    assert torch.equal(view.valid[0, 0] > 0, view.measured[0].any(0))
    light = _light(2)
    for seed in range(20):
        lit = relit(view, Alter(**(ALTER | {"haze": 0.3, "noise": 0.5, "gain": 0.5, "jitter": 0.5})), light,
                    torch.Generator().manual_seed(seed))  # fmt: skip
        assert not lit.inputs[~view.measured].any()
        assert torch.equal(lit.valid, view.valid)
        assert not lit.inputs[~lit.measured].any()
    still = relit(view, Alter(d4=0, jitter=0, gain=0, haze=0, noise=0, band_dropout=0), light, torch.Generator())
    assert torch.equal(still.inputs, view.inputs)


def test_haze_is_bluer_than_red_brighter_never_darker_and_of_reflectance_alone():
    inputs = torch.ones(200, 3, 2, 2)
    light = Light(Radiometry(torch.zeros(3), torch.tensor([True, True, False])), torch.tensor([0.1, 0.1, 0.1]),
                  torch.tensor([490.0, 980.0, float("nan")]))  # fmt: skip
    added = haze(inputs, 0.05, light, torch.Generator().manual_seed(1)) - 1
    blue, infrared, index = added[:, :, 0, 0].T
    assert not index.any()
    assert 0 <= float(blue.min()) < 0.01 / 0.1
    assert 0.045 / 0.1 < float(blue.max()) <= 0.05 / 0.1 + 1e-6  # reflectance 0.05 in deviations of 0.1
    ratio = (infrared / blue)[blue > 0.05]  # twice the wavelength: 2^−4 … 2^−0.5
    assert {round(float(value), 2) for value in ratio} == {0.06, 0.25, 0.5, 0.62, 0.71}


def _light(channels: int) -> Light:
    return Light(Radiometry(torch.full((channels,), -1.0), torch.ones(channels, dtype=torch.bool)),
                 torch.full((channels,), 0.1), torch.full((channels,), 500.0))  # fmt: skip


@pytest.fixture(scope="module")
def dated(tmp_path_factory):
    return make_dates(tmp_path_factory.mktemp("dates"))


def _seen(at, parts=("train",)) -> Seen:
    return Seen(at.scenes, at.split, "s2_60m", parts)


def test_positives_of_two_dates_share_their_ground(dated):
    seen = _seen(dated)
    sites = Sites(seen.reader.scenes, NOTHING)
    pairs = list(PairSampler(lattice(seen, 32, 0.3), 64, 32, sites, 3, dates=True))
    assert {pair.first.scene for pair in pairs} == {"spring", "autumn"}
    for pair in pairs:
        assert pair.second.scene != pair.first.scene
        assert pair.second.window == pair.first.window
    chips = PairChips(seen, sites)
    for pair in pairs[:8]:
        first, second, place_m, paired, *_ = chips[pair]
        there = (first[..., 0] != -32768) & (second[..., 0] != -32768)
        assert there.any()
        assert set(np.abs(second[there].astype(int) - first[there]).ravel()) == {200}  # the light alone differs
        assert paired
        assert np.linalg.norm(place_m) == pytest.approx(6_371_000, rel=3e-3)  # on the ground
    same = list(PairSampler(lattice(seen, 32, 0.3), 64, 32, sites, 3, dates=False))
    assert all(pair.first == pair.second for pair in same)
    assert [pair.first for pair in same] == [pair.first for pair in pairs]


@pytest.mark.parametrize(("crs", "pixel"), [("EPSG:32720", 60.0), ("EPSG:32720", 40.0), ("EPSG:32721", 60.0)])
def test_a_window_on_another_lattice_has_the_same_middle(tmp_path, crs, pixel):
    """Another offset, another pixel size, another UTM zone: nearer than a pixel's diagonal on the ellipsoid."""
    from pyproj import Transformer

    x, y = Transformer.from_crs(32720, crs, always_xy=True).transform(600_000.0, 7_000_000.0)
    here = make_scene(tmp_path / "s2_60m", "here", shape=(96, 96))
    there = make_scene(
        tmp_path / "s2_60m", "there", crs=crs, pixel=pixel, origin=(x - 17 * pixel, y + 9 * pixel), shape=(160, 160),
        sensing_time="2025-06-05T14:17:09Z")  # fmt: skip
    sites = Sites({"here": here, "there": there}, NOTHING)
    assert sites.others == {"here": ["there"], "there": ["here"]}
    for row, col in ((0, 0), (40, 13), (64, 64)):
        window = Window(row, col, 32, 32)
        found = sites.window(window, "here", "there")
        middles = [
            scene.grid.lonlat(np.array(at.row + 16.0), np.array(at.col + 16.0))
            for scene, at in ((here, window), (there, found))
        ]
        *_, apart_m = Geod(ellps="WGS84").inv(*middles[0], *middles[1])
        assert apart_m <= 0.71 * pixel
    assert sites.window(Window(-200, 0, 32, 32), "here", "there") is None


def test_one_day_is_no_two_dates(tmp_path):
    """Tiles that overlap show the same ground on one day: no other date; of unknown days nobody can say so."""
    days = {"a": "2025-06-05T14:17:09Z", "b": "2025-06-05T14:17:29Z", "c": "2025-10-03T14:17:09Z", "d": None}
    scenes = {name: make_scene(tmp_path / "g", name, sensing_time=day) for name, day in days.items()}
    assert Sites(scenes, NOTHING).others == {"a": ["c", "d"], "b": ["c", "d"], "c": ["a", "b", "d"],
                                             "d": ["a", "b", "c"]}  # fmt: skip


def test_a_scene_over_the_antimeridian_does_not_lie_round_the_earth(tmp_path):
    over = make_scene(tmp_path / "g", "over", crs="EPSG:32601", origin=(346_000.0, 7_000_000.0))
    later = make_scene(tmp_path / "g", "later", crs="EPSG:32601", origin=(346_600.0, 7_000_000.0), sensing_time=None)
    far = make_scene(tmp_path / "g", "far", crs="EPSG:32633", origin=(500_000.0, 7_000_000.0), sensing_time=None)
    lon, _ = over.grid.lonlat(np.array([0, 0]), np.array([0, 64]))
    assert lon[0] > 179 > -179 > lon[1]
    found = Sites({"over": over, "later": later, "far": far}, NOTHING)
    assert found.others == {"over": ["later"], "later": ["over"], "far": []}


def test_a_place_is_where_it_lies_or_its_site(tmp_path):
    here = make_scene(tmp_path / "g", "here")
    other = make_scene(tmp_path / "g", "other", crs="EPSG:32721", origin=(5_000.0, 7_000_000.0))
    bare = []
    for name in ("p", "q", "r"):
        made = make_scene(tmp_path / "g", name)
        made.__dict__["record"] = made.record.model_copy(update={"georeferenced": False})
        bare.append(made)
    listed = tmp_path / "sites.csv"
    _write(listed, [("site", "scene"), ("x", "p"), ("x", "q"), ("y", "r")])
    sites = Sites({scene.name: scene for scene in (here, other, *bare)}, str(listed))
    window = Window(0, 0, 32, 32)

    def apart(one, two) -> float:
        return float(np.linalg.norm(sites.place_m(*one) - sites.place_m(*two)))

    assert apart(("here", window), ("here", Window(0, 10, 32, 32))) == pytest.approx(600, rel=2e-3)
    assert apart(("p", window), ("q", Window(9, 9, 32, 32))) == 0  # any window shows the site
    assert apart(("p", window), ("r", window)) > 1e8
    assert apart(("p", window), ("here", window)) > 1e8
    assert 1e3 < apart(("here", window), ("other", window)) < 1e5


def test_without_another_date_nothing_is_drawn_where_only_dates_count(tmp_path):
    for name, row, day in (("a", 0, "2025-06-05"), ("b", 0, "2025-10-03"), ("alone", 200, "2025-06-05")):
        make_scene(tmp_path / "s2_60m", name, origin=(600_000.0, 7_000_000.0 - 60 * row), sensing_time=day)
    split = tmp_path / "split"
    from member_builder import write_split

    write_split(split, [Scene(tmp_path / "s2_60m" / name) for name in ("a", "b", "alone")])
    seen = Seen(tmp_path / "s2_60m", split, "s2_60m", ("train",))
    sites = Sites(seen.reader.scenes, NOTHING)
    drawn = {
        only: {pair.first.scene for pair in PairSampler(lattice(seen, 16, 0.3), 32, 16, sites, 3, True, only)}
        for only in (False, True)
    }
    assert drawn == {False: {"a", "b", "alone"}, True: {"a", "b"}}


def test_a_list_of_sites_says_what_belongs_together(tmp_path):
    far = [
        make_scene(tmp_path / "g", name, origin=(600_000.0, 7_000_000.0 + 90_000 * k)) for k, name in enumerate("abc")
    ]
    scenes = {scene.name: scene for scene in far}
    assert Sites(scenes, NOTHING).others == {"a": [], "b": [], "c": []}
    listed = tmp_path / "sites.csv"
    _write(listed, [("site", "scene"), ("airport_0", "a"), ("airport_0", "c")])
    sites = Sites(scenes, str(listed))
    assert sites.others == {"a": ["c"], "b": [], "c": ["a"]}
    assert sites.numbers == {"a": 0, "c": 0, "b": 1}
    for rows, said in (
        ([("site", "scene"), ("x", "zebra")], r"names 1 scene\(s\) that are not there, such as zebra"),
        ([("place", "scene"), ("x", "a")], "should be a CSV with the columns site and scene"),
        ([("site", "scene"), ("x",)], "should be a CSV with the columns site and scene"),
        ([("site", "scene"), ("x", "a"), ("y", "a")], "names scene a more than once; a scene shows one site"),
    ):
        _write(listed, rows)
        with pytest.raises(TrainingError, match=said):
            Sites(scenes, str(listed))
    with pytest.raises(TrainingError, match=r"none\.csv is missing, which 'sites' names"):
        Sites(scenes, str(tmp_path / "none.csv"))


def _write(path, rows) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def test_only_training_ground_is_seen(dated):
    seen, whole = _seen(dated), Window(0, 0, 48, 96)
    shown = seen.allowed("spring", whole)
    assert shown[:, :48].all()
    assert not shown[:, 48:].any()
    assert (seen.pixels("spring", Window(0, 32, 48, 48))[:, 16:] == -32768).all()


def test_unlabelled_ground_is_seen_but_never_that_of_val_and_test(tmp_path):
    """A scene without masks, half of it over one with, half beside it: checked pixel by pixel against that one's parts."""
    shape = (60, 60)
    for name, col, mask in (("drawn", 0, "blobs"), ("bare", 30, None)):
        make_scene(tmp_path / "g60", name, origin=(600_000.0 + 60 * col, 7_000_000.0), shape=shape, mask=mask, seed=col)
    split = split_builder.run(tmp_path, split_builder.params())
    train, more = (Seen(tmp_path / "g60", split, "g60", parts) for parts in (("train",), ("train", "unlabelled")))
    whole = Window(0, 0, *shape)
    parts = np.asarray(train.reader.parts("drawn"))
    assert (train.allowed("drawn", whole) == (parts == PARTS["train"])).all()
    shown, under = more.allowed("bare", whole), parts[:, 30:]
    held = np.isin(under, [PARTS["val"], PARTS["test"]])
    assert held.any()
    assert not shown[:, :30][held].any()
    assert shown[:, 45:].mean() > 0.5  # far from what was drawn, nobody holds it out
    assert not train.allowed("bare", whole)[:, 45:].any()
    assert (more.pixels("bare", whole)[~shown] == -32768).all()


def test_chips_that_show_too_little_are_not_drawn(dated):
    seen = _seen(dated)
    assert set(lattice(seen, 32, 0.3)["col"]) == {0, 32}  # the second has 16 of 32 columns
    assert set(lattice(seen, 32, 0.6)["col"]) == {0}
    with pytest.raises(TrainingError, match=r"no window of 32 px shows 1 of ground that may be seen"):
        lattice(_only_half(seen), 32, 1.0)


def _only_half(seen: Seen) -> Seen:
    seen.reader.scenes = dict(seen.reader.scenes)
    for scene in seen.reader.scenes.values():
        scene.__dict__["valid"] = np.asarray(scene.valid) * (np.arange(96) % 2).astype(np.uint8)
    return seen
