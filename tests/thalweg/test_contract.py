"""The input contract: what differs in kind is an error that names both sides, what is shifted has a stability index."""

import json
import math

import numpy as np
import pytest
from map_builder import make_member
from scene_builder import make_scene

from thalweg import contract
from thalweg.distribution import Distribution
from thalweg.errors import CardError, ContractError, SceneError
from thalweg.manifest.card import SCHEMA, ModelCard, read_card
from thalweg.manifest.ensembles import SHIFTED
from thalweg.manifest.scene import NODATA, Scene

BANDS = ("B04", "B8A")
TENTHS = tuple(k / 10 for k in range(1, 10))


@pytest.fixture
def card(tmp_path) -> ModelCard:
    """Of a member that was trained on B04 and B8A at 20 to 60 m."""
    make_member(tmp_path / "models" / "one", make_scene(tmp_path / "trained" / "g60", "t", channels=BANDS))
    return read_card(tmp_path / "models" / "one")


def scene(root, channel=None, image=None, valid=None, pixel=60.0, channels=BANDS, **record) -> Scene:
    """A scene that fits, with changes to its first channel or its record."""
    made = make_scene(root / "scenes" / "g60", "s", channels=channels, image=image, valid=valid, pixel=pixel)
    if channel:
        first = made.record.channels[0].model_copy(update=channel)
        record["channels"] = (first, *made.record.channels[1:])
    made.record = made.record.model_copy(update=record)
    return made


def test_a_series_begins_on_the_day_that_the_model_knows(tmp_path, card):
    """t00 is April to a model that learnt so; another year of the same months is no fault, nor is what nobody knows."""
    spring = {"start": "04-01", "frequency": "1MS", "bins": 6}
    known = card.model_copy(update={"preparation": {"series": spring}})
    contract.check(known, scene(tmp_path / "a", preparation={"series": spring | {"start": "2021-04-01"}}))
    contract.check(known, scene(tmp_path / "b", preparation={}))
    contract.check(card, scene(tmp_path / "c", preparation={"series": spring}))
    for number, change in enumerate(({"start": "03-01"}, {"frequency": "MS"}, {"frequency": "QS"})):
        other = scene(tmp_path / str(number), preparation={"series": spring | change})
        with pytest.raises(
            ContractError, match=r"steps of 1MS from 04-01 on, but scene .* has steps of .* on; give the"
        ):
            contract.check(known, other)


def test_a_scene_that_fits_passes_whatever_its_grid_is_called(tmp_path, card):
    contract.check(card, scene(tmp_path, grid="another", baseline="02.14", offsets_applied={}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"channels": ("B8A", "B04")}, r"trained on channels B04, B8A, but scene .*/s has channels B8A, B04; make scenes"),
        ({"channels": ("B04",)}, r"trained on channels B04, B8A, but scene .*/s has channels B04; make scenes"),
        ({"channel": {"unit": "dB"}}, r"B04 with unit reflectance, but scene .* has B04 with unit dB; bring the scene"),
        ({"channel": {"scale": 0.001}}, r"B04 with scale 0.0001, but scene .* has B04 with scale 0.001"),
        ({"channel": {"offset": -0.1}}, r"B04 with offset 0.0, but scene .* has B04 with offset -0.1"),
        ({"channel": {"wavelength_nm": 560.0}}, r"B04 at 664.6 nm, but scene .* has B04 at 560 nm; name the band"),
        ({"pixel": 10.0}, r"ground pixels of 20 to 60 m, but scene .* has pixels of 10 m; set the grid's resolution_m"),
        ({"offsets_applied": {"B04": -1000.0}}, r"offsets applied, but scene .* has B8A of baseline 05.11 without; run"),
        ({"image": np.ones((64, 64, 2), np.int32)}, r"pixels of int16 or float32, but scene .* has int32; run `dvc repro"),
    ],
)  # fmt: skip
def test_what_differs_in_kind_names_both_sides_and_the_remedy(tmp_path, card, changes, said):
    valid = np.ones((64, 64), np.uint8)
    with pytest.raises(ContractError, match=f"member 'one' was .*{said}"):
        contract.check(card, scene(tmp_path, valid=valid, **changes))


def test_offsets_of_a_series_of_several_baselines(tmp_path, card):
    """Its record has them per band and day."""
    dates = {f"{band} 2025-10-{day}": -1000.0 for band in BANDS for day in ("03", "18")}
    contract.check(card, scene(tmp_path / "a", baseline="02.14, 05.11", offsets_applied=dates))
    with pytest.raises(ContractError, match=r"has B8A of baseline 02\.14, 05\.11 without"):
        lacking = {key: offset for key, offset in dates.items() if key.startswith("B04")}
        contract.check(card, scene(tmp_path / "b", baseline="02.14, 05.11", offsets_applied=lacking))


def test_time_steps(tmp_path, card):
    steps = [f"t{step:02d}/{band}" for step in range(2) for band in BANDS]
    with pytest.raises(
        ContractError, match=r"trained on one date, but scene .* has 2 time steps; set the grid's series"
    ):
        contract.check(card, scene(tmp_path, channels=tuple(steps)))
    series = card.model_copy(update={"channels": make_scene(tmp_path / "b" / "g", "s", channels=tuple(steps)).record.channels,
                                     "normalisation": card.normalisation.model_copy(update={"mean": (0.1,) * 4, "std": (0.1,) * 4})})  # fmt: skip
    with pytest.raises(
        ContractError, match=r"trained on 2 time steps, but scene .* has one date; set .*series.bins to 2"
    ):
        contract.check(series, make_scene(tmp_path / "c" / "g", "s", channels=BANDS))
    contract.check(series, make_scene(tmp_path / "d" / "g", "s", channels=tuple(steps)))


def test_two_satellites_and_a_picture_without_a_place_pass(tmp_path, card):
    contract.check(card, scene(tmp_path / "near", channel={"wavelength_nm": 664.9}))
    contract.check(card, scene(tmp_path / "picture", pixel=1.0, georeferenced=False))
    contract.check(card, scene(tmp_path / "unknown", channel={"wavelength_nm": None}))


def test_a_card_that_is_broken_in_itself(tmp_path, card):
    short = card.model_copy(update={"normalisation": card.normalisation.model_copy(update={"mean": (0.1,)})})
    with pytest.raises(
        ContractError, match=r"trained on 1 means and 2 standard deviations for 2 channels, .* card is broken"
    ):
        contract.check(short, scene(tmp_path))


def test_stability_by_hand():
    assert contract.stability((0.5, 0.5), (0.25, 0.75)) == pytest.approx(0.25 * math.log(2) + 0.25 * math.log(1.5))
    assert contract.stability([0.1] * 10, [0.1] * 10) == 0
    assert contract.stability((0.0, 1.0), (0.0, 1.0)) == 0
    assert contract.stability((0.5, 0.5), (0.0, 1.0)) == pytest.approx(0.4999 * math.log(5000) + 0.5 * math.log(2))


def known(card: ModelCard, image: np.ndarray) -> ModelCard:
    """The card of a member whose training pixels were an image's."""
    found = [Distribution(channel, image.dtype) for channel in card.channels]
    for number, distribution in enumerate(found):
        distribution.add(image[..., number])
    deciles = tuple(distribution.quantiles(TENTHS) for distribution in found)
    shares = tuple(distribution.shares(edges) for distribution, edges in zip(found, deciles, strict=True))
    return card.model_copy(update={"deciles": deciles, "shares": shares})


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_shift_of_the_same_of_other_and_of_shifted_pixels(tmp_path, card, dtype):
    def drawn(seed: int) -> np.ndarray:
        image = np.random.default_rng(seed).normal(1500, 300, (64, 64, 2)).astype(dtype)
        image[:, :20, 0] = 0  # a third of the pixels have one value
        return image

    trained = known(card, drawn(0))
    assert contract.shift(trained, scene(tmp_path / "same", image=drawn(0))) == {"B04": 0.0, "B8A": 0.0}
    other = contract.shift(trained, scene(tmp_path / "other", image=drawn(1)))
    assert max(other.values()) < 0.02
    moved = drawn(2) + np.array([0, 300], dtype)
    shifted = contract.shift(trained, scene(tmp_path / "moved", image=moved))
    assert shifted["B04"] < 0.02 < SHIFTED < shifted["B8A"]


def test_shift_sees_valid_pixels_only_and_none_of_a_card_that_does_not_know(tmp_path, card):
    image = np.random.default_rng(0).normal(1500, 300, (64, 64, 2)).astype(np.int16)
    valid = np.zeros((64, 64), np.uint8)
    valid[32:] = 1
    half = image.copy()
    half[:32] = 9000
    trained = known(card, image)
    assert max(contract.shift(trained, scene(tmp_path / "half", image=half, valid=valid)).values()) < 0.02
    assert contract.shift(trained, scene(tmp_path / "none", image=half, valid=np.zeros((64, 64), np.uint8))) == {}
    assert contract.shift(card, scene(tmp_path / "unknown", image=image)) == {}
    half[..., 1] = NODATA
    assert contract.shift(trained, scene(tmp_path / "nodata", image=half, valid=valid))["B8A"] > 6


def test_a_large_scene_is_sampled(tmp_path, card, monkeypatch):
    monkeypatch.setattr(contract, "_SAMPLE_PX", 400)
    image = np.random.default_rng(0).normal(1500, 300, (64, 64, 2)).astype(np.int16)
    image[1::4] = image[2::4] = image[3::4] = 30000  # between the lattice's rows
    assert contract.shift(known(card, image[::4, ::4]), scene(tmp_path, image=image)) == {"B04": 0.0, "B8A": 0.0}


def test_a_card_of_an_older_thalweg_is_read_and_of_a_newer_refused(tmp_path, card):
    path = tmp_path / "models" / "one" / "card.json"
    data = json.loads(path.read_text())
    assert data["schema_version"] == SCHEMA == 3
    old = {
        key: value
        for key, value in data.items()
        if key not in ("pixel_m_range", "deciles", "shares", "calibration", "preparation")
    }
    path.write_text(json.dumps(old | {"schema_version": 1}))
    upgraded = read_card(path.parent)
    assert upgraded == card.model_copy(update={"pixel_m_range": (60.0, 60.0), "deciles": (), "shares": ()})
    for broken in ("{", "[1]", '{"schema_version": "1"}', '{"schema_version": 0}'):
        path.write_text(broken)
        with pytest.raises(
            SceneError, match=r"card\.json (is no JSON|does not fit its schema) .*; train the member with"
        ):
            read_card(path.parent)
    path.write_text(json.dumps(data | {"schema_version": SCHEMA + 1}))
    with pytest.raises(CardError, match=r"card.json has schema 4, this Thalweg reads up to 3; update Thalweg"):
        read_card(path.parent)
