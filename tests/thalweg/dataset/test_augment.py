import pytest
import torch

from thalweg.dataset import augment


def _batch(count=64):
    target = torch.arange(count * 16, dtype=torch.uint8).reshape(count, 4, 4)
    return torch.stack([target.float(), target.float() + 1], 1), target


def test_turns_are_the_eight_of_the_square():
    plane = torch.arange(4).reshape(2, 2)
    seen = {tuple(augment.turn(plane, k).flatten().tolist()) for k in range(8)}
    assert seen == {
        (0, 1, 2, 3),
        (1, 3, 0, 2),
        (3, 2, 1, 0),
        (2, 0, 3, 1),
        (1, 0, 3, 2),
        (0, 2, 1, 3),
        (2, 3, 0, 1),
        (3, 1, 2, 0),
    }


def test_d4_moves_target_and_inputs_together():
    inputs, target = _batch()
    turned, turned_target = augment.d4(inputs, target, augment.generator(1, 2, 3))
    torch.testing.assert_close(turned[:, 0], turned_target.float())
    torch.testing.assert_close(turned[:, 1], turned_target.float() + 1)
    assert not torch.equal(target, turned_target)
    assert torch.equal(target.flatten(1).sort().values, turned_target.flatten(1).sort().values)


def test_d4_keeps_channels_last():
    inputs, target = _batch()
    turned, _ = augment.d4(inputs.to(memory_format=torch.channels_last), target, augment.generator(1, 2, 3))
    assert turned.is_contiguous(memory_format=torch.channels_last)


def test_gain_leaves_nodata_and_moves_the_rest_a_little():
    inputs = torch.ones(200, 3, 2, 2)
    inputs[:, :, 0, 0] = 0
    moved = augment.gain(inputs, 0.05, augment.generator(1, 0, 0))
    assert (moved[:, :, 0, 0] == 0).all()
    shift = moved[:, :, 1, 1] - 1
    assert abs(shift.mean()) < 0.01
    assert 0.06 < shift.std() < 0.08  # gain and offset of 0.05 each: 0.0707
    assert torch.equal(moved[:, :, 0, 1], moved[:, :, 1, 1])  # one draw per channel and chip


LIGHT = augment.Radiometry(torch.tensor([-2.0, -1.0]), torch.tensor([True, True]))
ALL = {"d4": 1.0, "rotate": 20.0, "resized_crop": 0.6, "jitter": 0.2, "gain": 0.05, "noise": 0.02, "band_dropout": 0.2,
       "cutmix": 0.5, "mixup": 0.4}  # fmt: skip


def test_same_step_same_draws():
    inputs, target = _batch()
    runs = [augment.augment(inputs, target, ALL, LIGHT, augment.generator(3, 1, step)) for step in (5, 5, 6)]
    assert torch.equal(runs[0].inputs, runs[1].inputs)
    assert runs[0].share == runs[1].share
    assert not torch.equal(runs[0].inputs, runs[2].inputs)


def test_nothing_named_nothing_done():
    inputs, target = _batch()
    same = augment.augment(inputs, target, {}, LIGHT, augment.generator(1, 1, 1))
    assert torch.equal(inputs, same.inputs)
    assert torch.equal(target, same.target)
    assert (same.other, same.share) == (None, 1.0)


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_name_changes_something_and_keeps_shapes(name):
    inputs, target = _batch()
    inputs = inputs + 1
    got = augment.augment(inputs, target, {name: ALL[name]}, LIGHT, augment.generator(2, 0, 0))
    assert got.inputs.shape == inputs.shape
    assert got.target.dtype == target.dtype
    assert not torch.equal(got.inputs, inputs)
    assert torch.isfinite(got.inputs).all()


def test_turned_ground_from_outside_is_nodata_and_unlabelled():
    inputs, target = torch.ones(32, 1, 33, 33), torch.full((32, 33, 33), 3, dtype=torch.uint8)
    moved, labels = augment.warp(inputs, target, 45.0, 1.0, augment.generator(1, 0, 0))
    assert set(labels.unique().tolist()) == {3, 255}
    torch.testing.assert_close(moved[moved != 0], torch.ones_like(moved[moved != 0]))
    assert ((moved[:, 0] == 0) == (labels == 255)).float().mean() > 0.98  # borders differ by the kernel
    assert (labels[:, 16, 16] == 3).all()


def test_a_turn_moves_values_and_labels_to_the_same_place():
    plane = torch.zeros(16, 41, 41)
    plane[:, 8:14, 24:33] = 1
    moved, labels = augment.warp(plane[:, None] + 1, plane.to(torch.uint8), 30.0, 0.7, augment.generator(4, 0, 0))
    inside = labels == 1
    assert inside.any()
    assert (moved[:, 0][inside] > 1.4).float().mean() > 0.97
    assert (moved[:, 0][labels == 0] < 1.6).float().mean() > 0.99


def test_a_crop_zooms_by_the_root_of_its_area():
    ramp = torch.arange(101.0).expand(64, 1, 101, 101) + 1
    moved, labels = augment.warp(
        ramp, torch.zeros(64, 101, 101, dtype=torch.uint8), 0.0, 0.25, augment.generator(1, 0, 0)
    )
    slope = (moved[:, 0, 50, 80] - moved[:, 0, 50, 20]) / 60
    assert 0.49 < slope.min() < 0.62  # the edge of a quarter of the area is a half
    assert slope.max() <= 1.001
    assert (labels == 255).float().mean() < 0.03  # a crop lies within the chip


def test_brightness_scales_light_and_leaves_other_channels():
    inputs = torch.full((200, 2, 2, 2), 1.0)
    inputs[:, :, 0, 0] = 0
    only_first = augment.Radiometry(LIGHT.bias, torch.tensor([True, False]))
    moved = augment.jitter(inputs, 0.2, only_first, augment.generator(1, 0, 0))
    assert torch.equal(moved[:, 1], inputs[:, 1])
    assert (moved[:, 0, 0, 0] == 0).all()
    factor = (moved[:, 0, 1, 1] + 2) / 3  # light is 1 + 2 standard deviations above physical zero
    assert 0.8 <= factor.min() < 0.85
    assert 1.15 < factor.max() <= 1.2


def test_dropped_bands_leave_one_at_least():
    moved = augment.band_dropout(torch.ones(300, 3, 2, 2), 0.9, augment.generator(1, 0, 0))
    left = moved[:, :, 0, 0].sum(1)
    assert left.min() == 1
    assert 0.33 < left.mean() / 3 < 0.5


def test_cutmix_brings_labels_with_pixels():
    inputs, target = _batch(16)
    mixed, labels = augment.cutmix(inputs, target, 1.0, augment.generator(1, 0, 0))
    torch.testing.assert_close(mixed[:, 0], labels.float())
    assert not torch.equal(labels, target)
    same, _ = augment.cutmix(inputs, target, 0.0, augment.generator(1, 0, 0))
    assert torch.equal(same, inputs)


def test_mixup_states_both_targets_and_their_shares():
    inputs, target = _batch(16)
    mixed = augment.mixup(inputs, target, 0.4, augment.generator(1, 0, 0))
    assert 0 < mixed.share < 1
    torch.testing.assert_close(mixed.inputs[:, 0], mixed.share * target + (1 - mixed.share) * mixed.other)
