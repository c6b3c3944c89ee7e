"""Active sampling within a real training: nothing leaks, everything repeats, costs add up."""

import pickle
from dataclasses import replace
from shutil import copytree

import pandas as pd
import pytest
import torch
from member_builder import classes, make_places, member, places, train_params
from safetensors.torch import load_file, save_file

from thalweg import raster, resume
from thalweg.active import irreducible
from thalweg.active.costs import NOBODY, Before, ChipCost, Plan, of_chip, of_forward
from thalweg.active.irreducible import Irreducible
from thalweg.active.ledger import COSTS
from thalweg.active.loader import ActiveLoader
from thalweg.active.scorer import Scorer
from thalweg.dataset.chips import ChipReader
from thalweg.dataset.choose import choose
from thalweg.errors import CardError, ParamsError, SceneError
from thalweg.grid import Window
from thalweg.infer import Predictor
from thalweg.loading import Judge, loaders, read_data
from thalweg.manifest.card import read_card
from thalweg.manifest.costs import read_costs
from thalweg.manifest.runs import read_newest
from thalweg.models import freeze, load_weights
from thalweg.models import network as build_network
from thalweg.params.active import Active
from thalweg.params.models import Holdout
from thalweg.train import draft_card, train_member

NOTHING = {"loggers": ("csv",), "watch": ()}


def active(**changes):
    values = {"scores": {"loss": 1.0}, "pool": 3, "every": 2, "temperature": 0.0, "warmup_epochs": 1, "diversity": 0.0,
              "judge": "self", "precision": "32", "passes": 3}  # fmt: skip
    return Active(**(values | changes))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("active")
    make_places(root)
    train_member("judge", member(max_epochs=1, overlap=0.0, holdout=Holdout(share=0.3, seed=1, use="holdout")), train_params(**NOTHING),
                 classes(), places(root, "judge"))  # fmt: skip
    return root


def drawn(world, chosen, epoch=1, workers=0, seed=0):
    """Targets of one epoch's batches, with a network of fresh weights."""
    data = read_data("m", chosen, places(world).scenes, places(world).split)
    torch.manual_seed(seed)
    network = build_network(draft_card("m", chosen, classes(), data))
    judge = Judge(network, world / "judge" / "model", world / "cache")
    training, _ = loaders(chosen, train_params(workers=workers, **NOTHING), data, judge)
    training.sampler.set_epoch(epoch)
    return [(pixels.clone(), target.clone()) for pixels, target in training], training, network


def same(one, two):
    return all(
        torch.equal(a, b) for left, right in zip(one, two, strict=True) for a, b in zip(left, right, strict=True)
    )


def test_an_epoch_has_as_many_chips_as_without(world):
    batches, training, _ = drawn(world, member(active=active()))
    assert [len(target) for _, target in batches] == [4, 4, 4, 4]
    assert len(training) == 4


def test_the_warm_up_sees_the_plain_chips(world):
    with_active, *_ = drawn(world, member(active=active()), epoch=0)
    plain, *_ = drawn(world, member(), epoch=0)
    assert same(with_active, plain)


@pytest.mark.parametrize("name", ["loss", "bald", "rho_loss", "random"])
def test_selection_repeats_and_does_not_depend_on_loader_processes(world, name):
    chosen = member(active=active(scores={name: 1.0}, temperature=0.5, diversity=0.3), after="models/judge")
    first, *_ = drawn(world, chosen)
    assert same(first, drawn(world, chosen)[0])
    assert all(same(first, drawn(world, chosen, workers=workers)[0]) for workers in (1, 2))
    assert not same(first, drawn(world, chosen, epoch=2)[0])


def test_scoring_leaves_no_trace(world):
    """Weights, batch-norm statistics, modes and the random stream are as before, with dropout passes, too."""
    _, training, network = drawn(world, member(active=active(scores={"bald": 1.0})))
    network.train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert any("running_mean" in name for name in before)
    modes = [module.training for module in network.modules()]
    torch.manual_seed(7)
    expected = torch.rand(3)
    pixels, target, irreducible = next(iter(training._pool))
    torch.manual_seed(7)
    training.scorer.choose(pixels, target, irreducible, 8, torch.Generator())
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes


def test_dropout_is_at_work_for_bald_alone(world):
    _, training, network = drawn(world, member(active=active(scores={"bald": 1.0})))
    pixels, _ = next(iter(training))
    passes, _ = Scorer(active(scores={"bald": 1.0}), network, torch.ones(2) / 2, 4)._look(pixels, torch.Generator())
    assert passes.shape[0] == 3
    assert not torch.equal(passes[0], passes[1])
    single, _ = Scorer(active(), network, torch.ones(2) / 2, 4)._look(pixels, torch.Generator())
    with torch.no_grad():
        torch.testing.assert_close(single[0], network.eval()(pixels))


def test_the_best_of_the_pool_are_taken(world):
    """By loss, no chip that was left has a higher loss than one that was taken."""
    pool = active(every=4, pool=3)
    _, training, network = drawn(world, member(active=pool))
    pixels, target, irreducible = next(iter(training._pool))
    kept = training.scorer.choose(pixels, target, irreducible, 16, torch.Generator())
    with torch.no_grad():
        losses = torch.nn.functional.cross_entropy(
            network.eval()(pixels), target.long(), ignore_index=255, reduction="none"
        )
    known = target != 255
    mean = losses.sum((1, 2)) / known.sum((1, 2))
    mean[~torch.isfinite(mean)] = -1
    left = torch.ones(len(mean), dtype=torch.bool)
    left[kept] = False
    assert mean[kept].min() >= mean[left].max()


def test_judge_and_judged_share_no_block(world):
    data = read_data("m", member(), places(world).scenes, places(world).split)
    rows = data.part("train")
    rows["block"] = [f"b{number // 2}" for number in range(len(rows))]
    grids = {name: scene.grid for name, scene in data.reader.scenes.items()}
    sides = [choose(rows, member(holdout=Holdout(share=0.3, seed=1, use=use)), grids) for use in ("holdout", "rest")]
    assert not set(sides[0]["block"]) & set(sides[1]["block"])
    assert len(sides[0]) + len(sides[1]) == len(rows)
    assert sides[0]["block"].nunique() == round(0.3 * rows["block"].nunique())
    assert set(sides[0]["part"]) == {"train"}


def test_irreducible_losses_are_the_holdout_members_and_made_once(world):
    reader = ChipReader(places(world).scenes, places(world).split, "s2_60m")
    known = Irreducible(world / "judge" / "model", reader, world / "maps")
    assert known.build("cpu") == 2
    assert known.build("cpu") == 0
    card = read_card(world / "judge" / "model")
    network = build_network(card)
    load_weights(network, world / "judge" / "model")
    name, window = next(iter(reader.scenes)), Window(0, 0, 16, 16)
    pixels, target = reader.read(name, window, "train")
    losses = -torch.log_softmax(network.eval()(torch.from_numpy(pixels)[None]), 1)[0].detach().numpy()
    found = known.mean(name, window)
    truth = [losses[target[y, x], y, x] for y in range(16) for x in range(16) if target[y, x] != 255]
    assert found == pytest.approx(sum(truth) / len(truth), rel=2e-3)  # held as float16
    assert known.mean(name, Window(0, 48, 16, 16)) != known.mean(name, Window(0, 48, 16, 16))  # NaN on test ground


def test_a_holdout_member_of_another_grid_is_refused(world):
    reader = ChipReader(places(world).scenes, places(world).split, "s2_60m")
    folder = world / "judge" / "model"
    other = folder.parent / "other"
    other.mkdir(exist_ok=True)
    (other / "weights.safetensors").write_bytes((folder / "weights.safetensors").read_bytes())
    (other / "card.json").write_text((folder / "card.json").read_text().replace('"s2_60m"', '"s2_20m"'))
    with pytest.raises(CardError, match=r"trained on grid s2_20m, but is to judge chips of grid s2_60m; name a member"):
        Irreducible(other, reader, world / "maps")


def test_a_frozen_judge_scores_instead(world):
    chosen = member(active=active(judge="after"), after="models/judge")
    _, training, network = drawn(world, chosen)
    assert training.scorer.network is not network
    weights = torch.cat([p.flatten() for p in training.scorer.network.parameters()])
    assert same(drawn(world, chosen, seed=1)[0], drawn(world, chosen, seed=2)[0])  # whatever learns
    assert torch.equal(weights, torch.cat([p.flatten() for p in training.scorer.network.parameters()]))


def test_costs_are_counted(world):
    out = places(world, "costs")
    train_member("costs", member(active=active(), max_epochs=3), train_params(**NOTHING), classes(), out)
    rows = pd.read_csv(out.history)
    assert rows["chips_trained"].tolist() == [16, 32, 48]
    assert rows["chips_scored"].tolist() == [0, 48, 96]  # pool 3, none in the warm-up
    assert rows["flops_score"].tolist()[0] == 0
    assert rows["flops_train"][2] / rows["flops_train"][0] == pytest.approx(3)
    assert 2 < rows["flops_train"][0] / 16 / (rows["flops_score"][1] / 48) < 3.01  # a step: forward and backward
    assert rows["flops_irreducible"].tolist() == rows["flops_holdout"].tolist() == [0, 0, 0]
    costs = read_costs(out.model)
    assert (costs.chips_trained, costs.chips_scored) == (48, 96)
    assert costs.flops == costs.flops_train + costs.flops_score
    assert read_newest(world / "runs", "costs").facts["costs"]["flops_score"] == costs.flops_score


@pytest.mark.parametrize(("score", "judge", "charged"), [("rho_loss", "self", (1, 1)), ("loss", "after", (0, 1)),
                                                        ("loss", "self", (0, 0))])  # fmt: skip
def test_the_judge_is_not_free(world, score, judge, charged):
    """Its own training, and its losses on the training ground: 12 windows of 16 px, found one by one above.

    They are charged whether the maps lay there or not, since what a member costs must not depend on a cache.
    """
    chosen = member(active=active(scores={score: 1.0}, judge=judge), after="models/judge", max_epochs=2)
    out = replace(places(world, f"{score}-{judge}"), after=world / "judge" / "model", cache=world / "cache")
    train_member("judged", chosen, train_params(**NOTHING), classes(), out)
    spent, card = read_costs(world / "judge" / "model"), read_card(world / "judge" / "model")
    assert spent.flops == spent.flops_train > 0
    window = of_forward(build_network(card), torch.zeros(1, 16, 16, 3))
    maps, whole = (share * cost for share, cost in zip(charged, (12 * window, spent.flops), strict=True))
    costs = read_costs(out.model)
    assert (costs.flops_irreducible, costs.flops_holdout) == (maps, whole)
    assert costs.flops == costs.flops_train + costs.flops_score + maps + whole
    rows = pd.read_csv(out.history)
    assert rows["flops_holdout"].tolist() == pytest.approx([whole] * 2, rel=1e-5)
    assert rows["flops_irreducible"].tolist() == pytest.approx([maps] * 2, rel=1e-5)


def test_a_judge_whose_cost_nobody_counted_is_refused(world, tmp_path):
    copytree(world / "judge" / "model", tmp_path / "judge")
    (tmp_path / "judge" / "costs.json").unlink()
    out = replace(places(world, "uncounted"), after=tmp_path / "judge", cache=world / "cache")
    with pytest.raises(SceneError, match=r"judge/costs\.json is missing; train the member that judges here"):
        train_member("m", member(active=active(judge="after"), after="models/judge"), train_params(**NOTHING),
                     classes(), out)  # fmt: skip


def test_flops_of_a_convolution_by_hand():
    class Stored(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = torch.nn.Conv2d(3, 5, 3, padding=1)

        def forward(self, pixels):
            return self.convolution(pixels.permute(0, 3, 1, 2))

    found = of_chip(Stored(), torch.zeros(1, 8, 8, 3))
    assert found.forward == 2 * 8 * 8 * 5 * 3 * 9
    assert found.step == 2 * found.forward  # no gradient with respect to the input


def test_totals():
    def counted(plan, epochs):
        found = plan.until(epochs)
        return [getattr(found, name) for name in COSTS] + [found.flops]

    assert COSTS == (
        "chips_trained",
        "chips_scored",
        "flops_train",
        "flops_score",
        "flops_irreducible",
        "flops_holdout",
    )
    plan = Plan(10, 40, 2, ChipCost(7, 20), ChipCost(3, 9), NOBODY)
    assert counted(plan, 2) == [20, 0, 400, 0, 0, 0, 400]
    assert counted(plan, 3) == [30, 40, 600, 120, 0, 0, 720]
    assert counted(replace(plan, before=Before(1000, 50)), 3) == [30, 40, 600, 120, 50, 1000, 1770]


def test_the_trainer_tells_the_loader_which_epoch_it_is(world, monkeypatch):
    """Warm-up first, then other pools in every epoch: Lightning calls `set_epoch`, which nothing else does."""
    seen, plain = [], ActiveLoader.__iter__

    def noted(self):
        targets = []
        seen.append((self.epoch, targets))
        for batch in plain(self):
            targets.append(batch[1])
            yield batch

    monkeypatch.setattr(ActiveLoader, "__iter__", noted)
    chosen = member(active=active(scores={"random": 1.0}), max_epochs=3, patience=9)
    train_member("epochs", chosen, train_params(**NOTHING), classes(), places(world, "epochs"))
    assert [epoch for epoch, _ in seen] == [0, 1, 2]
    assert not torch.equal(torch.cat(seen[1][1]), torch.cat(seen[2][1]))


@pytest.mark.parametrize(("chips", "batch", "every", "expected"),
                         [(16, 4, 100, [4, 4, 4, 4]), (20, 4, 2, [4] * 5), (3, 4, 1, [3]), (7, 4, 2, [4])])  # fmt: skip
def test_pools_that_do_not_divide_train_as_many_chips(world, chips, batch, every, expected):
    """A pool may be larger than an epoch, or the last one smaller; without active sampling it would be as many."""
    given = {"chips_per_epoch": chips, "batch_size": batch}
    batches, training, _ = drawn(world, member(active=active(scores={"random": 1.0}, every=every), **given))
    plain, *_ = drawn(world, member(**given))
    assert [len(target) for _, target in batches] == [len(target) for _, target in plain] == expected
    assert len(training) == len(expected)


def test_a_rate_is_found_with_a_loader_that_chooses(world):
    places_ = places(world, "auto")
    chosen = member(active=active(warmup_epochs=0, precision="bf16"), lr="auto", ema=0.9, accumulate=2, max_epochs=1)
    train_member("auto", chosen, train_params(**NOTHING), classes(), places_)
    assert pd.read_csv(places_.history)["chips_scored"].tolist() == [48]


def test_a_loader_process_gets_no_loss_maps(world):
    """A memory map is pickled pixel by pixel: processes that are not forked would get hundreds of megabytes."""
    reader = ChipReader(places(world).scenes, places(world).split, "s2_60m")
    known = Irreducible(world / "judge" / "model", reader, world / "maps")
    known.build("cpu")
    name, window = next(iter(reader.scenes)), Window(0, 0, 16, 16)
    expected, empty = known.mean(name, window), len(pickle.dumps(known))
    known.mean(name, Window(16, 0, 16, 16))
    assert len(pickle.dumps(known)) == empty < 3000
    assert pickle.loads(pickle.dumps(known)).mean(name, window) == expected


def test_a_loss_map_knows_no_test_ground_and_looks_only_where_it_must(world, monkeypatch):
    """Columns 48 on are test ground, and train ground ends at 32: of 12 windows of 16 px, those of 2 columns × 3 rows."""
    shown, predict = [], Predictor.predict
    monkeypatch.setattr(Predictor, "predict", lambda self, batch: shown.append(batch) or predict(self, batch))
    reader = ChipReader(places(world).scenes, places(world).split, "s2_60m")
    known = Irreducible(world / "judge" / "model", reader, world / "seen")
    known.build("cpu")
    assert sum(len(batch) for batch in shown) == 2 * 2 * 3


def test_loss_maps_are_made_anew_for_another_judge_or_mask_and_for_no_one_else(world, tmp_path):
    for name in ("scenes", "split", "judge"):
        copytree(world / name, tmp_path / name)
    places_, folder = places(tmp_path), tmp_path / "judge" / "model"

    def build():
        return Irreducible(folder, ChipReader(places_.scenes, places_.split, "s2_60m"), tmp_path / "maps").build("cpu")

    assert (build(), build()) == (2, 0)
    weights = load_file(folder / "weights.safetensors")
    name = next(name for name, tensor in weights.items() if tensor.is_floating_point())
    save_file(weights | {name: weights[name] + 0.01}, folder / "weights.safetensors")
    assert (build(), build()) == (2, 0)
    mask = raster.map_pixels(places_.scenes / "one" / "mask.tif", "r+")
    mask[:8, :8] = 1 - mask[:8, :8]  # one wrong label there suffices
    mask.flush()
    assert (build(), build()) == (1, 0)


def test_a_killed_build_leaves_nothing_that_is_taken_for_a_map(world, monkeypatch):
    reader = ChipReader(places(world).scenes, places(world).split, "s2_60m")
    known = Irreducible(world / "judge" / "model", reader, world / "killed")

    def full(file, _):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(irreducible.np, "save", full)
    with pytest.raises(OSError, match="No space left"):
        known.build("cpu")
    monkeypatch.undo()
    assert Irreducible(world / "judge" / "model", reader, world / "killed").build("cpu") == 2


def test_sides_share_no_labelled_pixel_though_chips_are_moved(world):
    """A chip of one side that reaches over its row's edge sees the other's ground, but not its labels."""
    data = read_data("m", member(), places(world).scenes, places(world).split)
    seen = {}
    for use in ("holdout", "rest"):
        chosen = member(holdout=Holdout(share=0.3, seed=1, use=use), chips_per_epoch=64)
        network = build_network(draft_card("m", chosen, classes(), data))
        training, _ = loaders(chosen, train_params(**NOTHING), data, Judge(network, None, world / "cache"))
        found = {name: torch.zeros(48, 64, dtype=torch.bool) for name in data.reader.scenes}
        for place in training.sampler:
            target = training.dataset[place][1]
            found[place.scene][place.window.rows, place.window.cols] |= torch.from_numpy(target != 255)
        seen[use] = found
    for name in data.reader.scenes:
        assert not (seen["holdout"][name] & seen["rest"][name]).any()
    assert sum(int(found.sum()) for found in seen["holdout"].values()) > 0


def test_doubt_by_dropout_wants_dropout(world):
    options = {"widths": [8, 16], "dropout": 0.0, "upsample": "nearest"}
    with pytest.raises(ParamsError, match=r"network that judges has none; give its options a dropout above 0"):
        drawn(world, member(active=active(scores={"bald": 1.0}), options=options))


def test_diversity_wants_a_convolution():
    class Flat(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("gain", torch.ones(1))

        def forward(self, pixels):
            return pixels.permute(0, 3, 1, 2)[:, :2].float()

    judge = Scorer(active(diversity=1.0), Flat(), torch.ones(2) / 2, 4)
    with pytest.raises(ParamsError, match=r"8 chips gave 0 vectors; set active.diversity to 0"):
        judge.choose(torch.zeros(8, 4, 4, 3), torch.zeros(8, 4, 4, dtype=torch.uint8), None, 2, torch.Generator())


def test_pools_without_labels_or_numbers_are_chosen_from_all_the_same(world):
    """Nodata, NaN, and no label anywhere: as many chips as asked, the labelled ones first."""
    _, training, _ = drawn(world, member(active=active(diversity=0.5)))
    pixels = torch.full((8, 16, 16, 3), float("nan"))
    pixels[3:] = -32768
    target = torch.full((8, 16, 16), 255, dtype=torch.uint8)
    assert training.scorer.choose(pixels, target, None, 2, torch.Generator()).tolist() == [0, 1]
    target[[2, 6], 0, 0] = 1
    assert training.scorer.choose(pixels, target, None, 2, torch.Generator()).tolist() == [2, 6]


def test_modes_of_frozen_modules_come_back(world):
    _, training, network = drawn(world, member(active=active(scores={"bald": 1.0}), freeze=(1,)))
    freeze(network, (1,))
    network.train()
    modes = [module.training for module in network.modules()]
    assert not all(modes)
    next(iter(training))
    assert [module.training for module in network.modules()] == modes


def test_a_resumed_run_selects_the_same_chips(world, monkeypatch):
    chosen, machine = (
        member(active=active(scores={"rho_loss": 1.0}), after="models/judge", max_epochs=3, keep="last"),
        train_params(**NOTHING),
    )
    whole = replace(places(world, "whole"), after=world / "judge" / "model", cache=world / "cache")
    train_member("m", chosen, machine, classes(), whole)
    saved = resume.Keeper.on_train_epoch_end

    def killed(self, trainer, task):
        saved(self, trainer, task)
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt

    parts = replace(
        whole,
        model=world / "parts" / "model",
        heldout=world / "parts" / "h",
        history=world / "parts" / "h.csv",
        metrics=world / "parts" / "m.json",
        resume=world / "parts" / "resume",
    )
    monkeypatch.setattr(resume.Keeper, "on_train_epoch_end", killed)
    with pytest.raises(BaseException):  # noqa: B017, PT011 - whatever Lightning makes of Ctrl-C
        train_member("m", chosen, machine, classes(), parts)
    monkeypatch.undo()
    train_member("m", chosen, machine, classes(), parts)
    weights = [(folder.model / "weights.safetensors").read_bytes() for folder in (whole, parts)]
    assert weights[0] == weights[1]


def test_rho_loss_leaves_wrong_labels_where_loss_takes_them(world, tmp_path):
    """Half of one scene is labelled the wrong way round; a judge that has learnt elsewhere knows better than that."""
    for folder in ("scenes", "split"):
        copytree(world / folder, tmp_path / folder)
    for name, epochs in (("taught", 5), ("learner", 1)):
        train_member(
            name, member(max_epochs=epochs, keep="last"), train_params(**NOTHING), classes(), places(world, name)
        )
    where = places(tmp_path)
    mask = raster.map_pixels(where.scenes / "one" / "mask.tif", "r+")
    mask[:24] = torch.from_numpy(mask[:24].copy()).apply_(lambda label: {0: 1, 1: 0}.get(label, label)).numpy()
    mask.flush()
    share = {}
    for score in ("random", "loss", "rho_loss"):
        chosen = member(active=active(scores={score: 1.0}, pool=3, every=4), after="models/taught")
        data = read_data("m", chosen, where.scenes, where.split)
        network = build_network(draft_card("m", chosen, classes(), data))
        load_weights(network, world / "learner" / "model")
        training, _ = loaders(
            chosen, train_params(**NOTHING), data, Judge(network, world / "taught" / "model", tmp_path)
        )
        training.sampler.set_epoch(1)
        [(pixels, target, irreducible)] = training._pool
        kept = training.scorer.choose(pixels, target, irreducible, 16, torch.Generator().manual_seed(0)).tolist()
        spots = list(training._pool.sampler)
        wrong = [max(24 - spot.window.row, 0) / 16 if spot.scene == "one" else 0.0 for spot in spots]
        share[score] = sum(min(wrong[place], 1.0) for place in kept) / 16
    assert share["loss"] > share["random"] + 0.2
    assert share["rho_loss"] < share["random"] - 0.1
