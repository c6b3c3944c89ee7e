"""The watch by hand, and a run that collapses because its projector and predictor are gone."""

import json
import math

import pytest
import torch
from encoder_builder import OPTIONS, make_world, params, places
from member_builder import train_params

from thalweg.errors import DegradedDataWarning, TrainingError
from thalweg.manifest.encoder import read_encoder_card
from thalweg.params.encoders import Collapse
from thalweg.pretrain import collapse
from thalweg.pretrain.run import pretrain_encoder

AXES = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
LINE = AXES[:2]
POINT = torch.ones(6, 4)


def test_spread_by_hand():
    assert collapse.spread(LINE) == pytest.approx(0.5 * math.sqrt(2))  # deviations 1 and 0
    assert collapse.spread(AXES) == pytest.approx(1.0)  # √½ each, times √2
    assert collapse.spread(5 * POINT) == 0


def test_effective_rank_by_hand():
    assert collapse.effective_rank(LINE) == pytest.approx(1.0)
    assert collapse.effective_rank(AXES) == pytest.approx(2.0)
    # singular values √2·3 and √2·1: shares ¾ and ¼
    uneven = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    assert collapse.effective_rank(uneven) == pytest.approx(math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)))
    assert collapse.effective_rank(POINT) == 1.0


def test_alignment_and_uniformity_by_hand():
    assert collapse.alignment(LINE, LINE) == 0
    assert collapse.alignment(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 3.0]])) == pytest.approx(2.0)
    assert collapse.uniformity(LINE) == pytest.approx(-8.0)  # one pair, two apart
    assert collapse.uniformity(POINT) == pytest.approx(0.0)


def test_the_verdict_is_one_sentence():
    limits = Collapse(std=0.1, rank=3.0, then="warn")
    sound = {"feature_std": 0.5, "rank": 8.0}
    assert collapse.verdict("e", sound, limits) is None
    said = collapse.verdict("e", {"feature_std": 0.01, "rank": 1.2}, limits)
    assert said == (
        "encoders.e has collapsed, its features hardly tell chips apart: their spread is 0.01, at least 0.1 is wanted "
        "and their effective rank is 1.2, at least 3 is wanted; use another method, or change its options, lr or alter"
    )
    assert "spread is nan" in (collapse.verdict("e", {"feature_std": math.nan, "rank": 8.0}, limits) or "")


@pytest.mark.parametrize("heads", [True, False])
def test_without_projector_and_predictor_the_watch_sees_it(tmp_path, heads):
    made = make_world(tmp_path)
    chosen = params("byol", options=OPTIONS["byol"] | {"heads": heads}, max_epochs=8, chips_per_epoch=64, lr=1e-2,
                    ema=0.9 if heads else 0.0, collapse={"std": 0.2, "rank": 2.0, "then": "warn"})  # fmt: skip
    if heads:
        pretrain_encoder("e", chosen, train_params(loggers=("csv",)), made)
        assert read_encoder_card(made.encoder).collapsed is None
        return
    with pytest.warns(DegradedDataWarning, match=r"encoders\.e has collapsed, its features hardly tell chips apart"):
        pretrain_encoder("e", chosen, train_params(loggers=("csv",)), made)
    assert "has collapsed" in (read_encoder_card(made.encoder).collapsed or "")
    assert "has collapsed" in json.loads(made.metrics.read_text())["collapsed"]
    again = places(tmp_path, made.scenes, made.split, "failed")
    fails = chosen.model_copy(update={"collapse": chosen.collapse.model_copy(update={"then": "fail"})})
    with pytest.raises(TrainingError, match="has collapsed"):
        pretrain_encoder("e", fails, train_params(loggers=("csv",)), again)
    assert not again.encoder.exists()
