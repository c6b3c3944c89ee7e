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
    moved = augment.gain(inputs, augment.generator(1, 0, 0))
    assert (moved[:, :, 0, 0] == 0).all()
    shift = moved[:, :, 1, 1] - 1
    assert abs(shift.mean()) < 0.01
    assert 0.06 < shift.std() < 0.08  # gain and offset of 0.05 each: 0.0707
    assert torch.equal(moved[:, :, 0, 1], moved[:, :, 1, 1])  # one draw per channel and chip


def test_same_step_same_draws():
    inputs, target = _batch()
    runs = [augment.augment(inputs, target, ("d4", "gain"), augment.generator(3, 1, step)) for step in (5, 5, 6)]
    assert torch.equal(runs[0][0], runs[1][0])
    assert not torch.equal(runs[0][0], runs[2][0])


def test_nothing_named_nothing_done():
    inputs, target = _batch()
    same, same_target = augment.augment(inputs, target, (), augment.generator(1, 1, 1))
    assert torch.equal(inputs, same)
    assert torch.equal(target, same_target)
