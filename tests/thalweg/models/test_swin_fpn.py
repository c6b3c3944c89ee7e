import pytest
import torch
from architecture_builder import OPTIONS

from thalweg import models


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    return models.build("swin_fpn", 3, 2, OPTIONS["swin_fpn"])


def test_every_level_of_the_pyramid_receives_gradient(network):
    """The seed's head read the coarsest level alone, so that finer ones, and the last stage, never learned."""
    network.train().zero_grad(set_to_none=True)
    network(torch.randn(2, 3, 64, 64)).square().mean().backward()
    for level in range(4):
        assert network.levels[level][0].weight.grad.abs().sum() > 0
        assert network.pyramid.inner_blocks[level][0].weight.grad.abs().sum() > 0
    for stage in range(8):  # patches, blocks and merging of every stage, the last blocks too
        grads = [weight.grad for weight in network.trunk.features[stage].parameters()]
        assert all(grad is not None for grad in grads), stage
        assert sum(grad.abs().sum() for grad in grads) > 0, stage


def test_every_level_changes_the_logits(network):
    network.eval()
    inputs = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        plain = network(inputs)
        for level in range(4):
            hook = network.levels[level].register_forward_hook(lambda module, given, out: torch.zeros_like(out))
            assert not torch.allclose(network(inputs), plain), level
            hook.remove()
