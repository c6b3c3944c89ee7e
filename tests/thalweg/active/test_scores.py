"""Scores against values worked out by hand: two classes, chips of 1 × 2 pixels."""

import math

import numpy as np
import pytest
import torch

from thalweg.active import scores
from thalweg.classes import IGNORE
from thalweg.errors import ParamsError

# class-1 probabilities of two pixels: 3/4 and 1/2; odds 3:1 and 1:1
LOGITS = torch.tensor([[[0.0, 0.0]], [[math.log(3), 0.0]]])  # (K, h, w)


def pool(target=((1, IGNORE),), logits=LOGITS, passes=None, irreducible=None, shares=(0.75, 0.25)):
    every = torch.stack(passes)[:, None] if passes else logits[None, None]
    return scores.Pool(torch.tensor([target], dtype=torch.uint8), every,
                       None if irreducible is None else torch.tensor([irreducible]), torch.tensor(shares),
                       torch.Generator().manual_seed(0))  # fmt: skip


def value(name, **given):
    return scores.load(name).score(pool(**given)).item()


def test_loss_is_the_mean_over_labelled_pixels():
    assert value("loss") == pytest.approx(-math.log(3 / 4))
    assert value("loss", target=((1, 0),)) == pytest.approx((-math.log(3 / 4) - math.log(1 / 2)) / 2)


def test_reducible_loss_is_loss_less_the_holdout_members():
    assert value("irreducible_loss", irreducible=0.1) == pytest.approx(0.1)
    assert value("rho_loss", irreducible=0.1) == pytest.approx(-math.log(3 / 4) - 0.1)
    with pytest.raises(ParamsError, match="compares with a holdout member: name its folder in the member's 'after'"):
        value("rho_loss")


def test_margin_and_entropy_know_where_labels_are_but_not_which():
    assert value("margin", target=((0, 0),)) == value("margin", target=((1, 1),)) == pytest.approx((0.5 + 1.0) / 2)
    assert value("margin") == pytest.approx(0.5)  # what cannot be learnt from has no say
    first, second = -0.75 * math.log(0.75) - 0.25 * math.log(0.25), math.log(2)
    assert value("entropy", target=((0, 1),)) == pytest.approx((first + second) / 2)
    assert value("entropy", target=((IGNORE, 0),)) == pytest.approx(math.log(2))


def test_gradient_norm_is_the_distance_of_probabilities_to_the_truth():
    assert value("gradient_norm") == pytest.approx(math.sqrt(2 * 0.25**2))
    assert value("gradient_norm", target=((1, 0),)) == pytest.approx(math.sqrt((2 * 0.25**2 + 2 * 0.5**2) / 2))


def test_class_balance_weighs_by_rarity():
    assert value("class_balance") == pytest.approx(1 / (2 * 0.25))
    assert value("class_balance", target=((1, 0),)) == pytest.approx((2 + 1 / 1.5) / 2)


def test_bald_is_zero_where_passes_agree_and_ln2_where_they_are_sure_of_opposites():
    sure = torch.tensor([[[0.0, 0.0]], [[40.0, 40.0]]])
    assert value("bald", passes=[sure, sure]) == pytest.approx(0, abs=1e-6)
    assert value("bald", passes=[sure, sure.flip(0)]) == pytest.approx(math.log(2))
    assert value("bald", passes=[LOGITS * 0, LOGITS * 0]) == pytest.approx(0, abs=1e-6)  # unsure, but agreed


@pytest.mark.parametrize("name", scores.names())
def test_a_chip_without_labels_is_no_number(name):
    """In the sum, by which chips are taken; so no step is spent on it, by chance either."""
    assert math.isnan(scores.total(pool(target=((IGNORE, IGNORE),), irreducible=0.5), {name: 1.0}).item())
    assert math.isfinite(scores.total(pool(irreducible=0.5), {name: 1.0}).item())


@pytest.mark.parametrize("name", scores.names())
def test_ignored_pixels_have_no_say(name):
    """What the network says of a pixel without a label changes nothing."""
    other = LOGITS.clone()
    other[:, 0, 1] = torch.tensor([9.0, -9.0])
    given = {"target": ((1, IGNORE),), "irreducible": 0.5}
    assert value(name, logits=other, **given) == value(name, **given)


def test_a_weighted_sum_is_the_sum():
    both = scores.total(pool(irreducible=0.1), {"loss": 2.0, "irreducible_loss": -1.0})
    assert both.item() == pytest.approx(-2 * math.log(3 / 4) - 0.1)


def test_an_unknown_score_is_named():
    with pytest.raises(
        ParamsError, match=r"score 'rho' has no file src/thalweg/active/scores/rho.py; there are bald, "
    ):
        scores.load("rho")


def test_a_score_that_hides_its_needs_is_told():
    blind = scores.Pool(torch.zeros((1, 1, 1), dtype=torch.uint8), None, None, torch.ones(2), torch.Generator())
    with pytest.raises(ParamsError, match="reads logits that it does not name in NEEDS"):
        scores.load("loss").score(blind)


def test_random_is_uniform_and_follows_its_generator():
    draws = [scores.load("random").score(
        scores.Pool(torch.zeros((1000, 1, 1), dtype=torch.uint8), None, None, torch.ones(2), torch.Generator().manual_seed(seed))) for seed in (1, 1, 2)]  # fmt: skip
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    np.testing.assert_allclose(draws[0].mean(), 0.5, atol=0.05)
