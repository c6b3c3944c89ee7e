"""Classification as a task: what nobody labelled moves nothing, and a batch of it has no loss."""

import numpy as np
import pytest
import torch
from torch import nn

from thalweg.errors import FeatureError
from thalweg.features import wrapped
from thalweg.manifest.card import Normalisation
from thalweg.manifest.scene import Channel
from thalweg.probe.task import ClassificationTask, finetune, predict

GREY = (Channel(name="grey", wavelength_nm=None, scale=1.0, offset=0.0, unit="1"),)


class Blur(nn.Module):
    def __init__(self, factor=1.0):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        self.factor = factor

    def forward(self, inputs):
        return [self.factor * torch.relu(self.layer(inputs))]


def encoder(factor=1.0):
    return wrapped("blur", Blur(factor), GREY, Normalisation(mean=(0.0,), std=(1.0,)), lambda _: encoder())


def read(numbers):
    """Odd ones are bright on the left, even ones on the right; every third one is not labelled."""
    inputs = torch.full((len(numbers), 1, 8, 8), 0.1)
    for place, number in enumerate(numbers):
        inputs[place, 0, :, :: 1 if number % 2 else 2] += 1 + number % 5 / 10
    return inputs, torch.tensor([255 if number % 3 == 0 else number % 2 for number in numbers], dtype=torch.uint8)


def test_the_loss_is_the_mean_over_labelled_chips():
    task = ClassificationTask(Blur(), 4, 2, 1e-3, 1)
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [9.0, -9.0]])
    expected = (np.log(1 + np.exp(-2)) + np.log(1 + np.exp(1))) / 2  # −ln softmax of 0 in the first two
    assert task.loss(logits, torch.tensor([0, 0, 255], dtype=torch.uint8)).item() == pytest.approx(expected, rel=1e-6)
    nothing = torch.full((3,), 255, dtype=torch.uint8)
    logits.requires_grad_()
    task.loss(logits, nothing).backward()
    assert task.loss(logits, nothing).item() == 0
    assert not logits.grad.any()


def test_fine_tuning_learns_and_leaves_the_encoder_as_it_was():
    before = encoder()
    weights = before.network.architecture.layer.weight.clone()
    task = finetune(before, 2, read, range(64), epochs=30, seed=0)
    asked = [number for number in range(100, 140) if number % 3]
    assert (predict(task, lambda numbers: read(numbers)[0], asked) == np.array(asked) % 2).mean() > 0.95
    assert torch.equal(weights, before.network.architecture.layer.weight)
    assert not torch.equal(weights, task.encoder.layer.weight)


def test_the_same_seed_gives_the_same_weights():
    one, two = (finetune(encoder(), 2, read, range(40), epochs=2, seed=5) for _ in range(2))
    assert torch.equal(one.head.weight, two.head.weight)


def test_a_loss_that_is_not_finite_says_so():
    with pytest.raises(FeatureError, match=r"the loss is nan while fine-tuning; the rate 0.001 is too high for it"):
        finetune(encoder(float("nan")), 2, read, range(8), epochs=1, seed=0)
