"""Pre-training end to end on tiny scenes: every method, the same bytes twice and after a kill, and only ground that may be seen."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
import torch
from encoder_builder import OPTIONS, make_dates, make_world, params, places
from member_builder import train_params
from safetensors.torch import load_file

from thalweg.errors import CardError, ParamsError, SceneError, TrainingError
from thalweg.manifest.encoder import read_encoder_card
from thalweg.pretrain.data import read_data
from thalweg.pretrain.encoder import build_encoder, load_encoder
from thalweg.pretrain.method import follow, follower
from thalweg.pretrain.run import build_task, pretrain_encoder
from thalweg.resume import Keeper

TRAIN = train_params(loggers=("csv",))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def dated(tmp_path_factory):
    return make_dates(tmp_path_factory.mktemp("dates"))


def _run(at, outs: str, name: str = "e", **changes):
    made = places(at.runs.parent, at.scenes, at.split, outs)
    pretrain_encoder(name, params(**changes), TRAIN, made)
    return made


def _bytes(made) -> dict[str, str]:
    files = [made.encoder / "weights.safetensors", made.encoder / "history.csv", made.metrics]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("method", sorted(OPTIONS))
def test_every_method_learns_and_leaves_an_encoder(dated, method):
    positives = "augmented" if method == "mae" else "dates"
    made = _run(dated, method, method=method, positives=positives)
    card = read_encoder_card(made.encoder)
    assert (card.method, card.positives, card.epochs, card.collapsed) == (method, positives, 2, None)
    assert card.products == ("autumn", "spring")
    history = pd.read_csv(made.encoder / "history.csv")
    assert history["loss"].notna().all()
    assert ("alignment" in history) == (method != "mae")
    chosen = params(method=method, positives=positives)
    fresh = build_task("e", chosen, read_data("e", chosen, dated.scenes, dated.split)).method.encoder
    kept = load_encoder(made.encoder)
    moved = [name for name, value in kept.trunk.state_dict().items()
             if value.is_floating_point() and not torch.equal(value, fresh.trunk.state_dict()[name])]  # fmt: skip
    assert moved
    maps = kept(torch.zeros(1, 3, 32, 32))
    assert [level.shape[1] for level in maps] == kept.dims
    assert not list((dated.runs.parent / "resume").rglob("*.ckpt"))


@pytest.mark.parametrize("method", ["moco_v2", "seasonal"])
def test_chips_of_one_scene_are_strangers_where_they_share_no_ground(tmp_path, method):
    """Whole tiles join to one chain of overlaps, in which nobody would be a stranger; the queue starts empty."""
    made = make_dates(tmp_path, width=384)  # 192 columns of training ground, chips of 32
    chosen = {"method": method, "positives": "dates", "max_epochs": 2, "chips_per_epoch": 8}
    first, second = pd.read_csv(_run(made, method, **chosen).encoder / "history.csv")["loss"]
    assert first < (1e-6 if method == "moco_v2" else 1.5)  # own keys alone
    assert second > first + 0.5
    assert second < np.log(1 + 32) + 2 / OPTIONS[method]["temperature"]


def test_small_views_of_nothing_are_drawn_again_or_their_chips_left_out(dated, monkeypatch):
    chosen = params("dino")
    task = build_task("e", chosen, read_data("e", chosen, dated.scenes, dated.split))
    pixels = torch.full((8, 32, 32, 3), 1000.0)
    pixels[:, :, 16:], pixels[:2, :, 4:] = -32768, -32768  # half, an eighth
    where, sizes = torch.zeros(8, 3), torch.full((8,), 60.0, dtype=torch.float64)
    batch = (pixels, pixels, where, torch.ones(8, dtype=torch.bool), sizes, sizes)
    kept = {}
    for redrawn in (0, 7):
        monkeypatch.setattr("thalweg.pretrain.task._REDRAWN", redrawn)
        found = [task.views(batch, torch.Generator().manual_seed(seed)) for seed in range(5)]
        shown = [view.valid.mean((1, 2, 3)) for views in found if views for view in (*views.wide, *views.small)]
        assert float(torch.cat(shown).min()) >= 0.1
        kept[redrawn] = sum(len(views.places_m) for views in found if views)
    assert kept[7] > 1.5 * kept[0], kept


def test_one_date_teaches_seasonal_contrast_nothing(dated):
    chosen = params("seasonal")
    task = build_task("e", chosen, read_data("e", chosen, dated.scenes, dated.split))
    pixels, sizes = torch.full((4, 32, 32, 3), 1000.0), torch.full((4,), 60.0, dtype=torch.float64)
    where = torch.arange(4.0)[:, None].expand(4, 3)
    paired = torch.tensor([True, False, True, False])
    views = task.views((pixels, pixels, where, paired, sizes, sizes), torch.Generator().manual_seed(1))
    assert views.places_m[:, 0].tolist() == [0, 2]


def test_the_same_params_give_the_same_bytes(world):
    assert _bytes(_run(world, "one")) == _bytes(_run(world, "two"))
    assert _bytes(_run(world, "three", seed=4)) != _bytes(places(world.runs.parent, world.scenes, world.split, "one"))


@pytest.mark.parametrize("method", ["moco_v2", "dino"])
def test_a_killed_training_ends_in_the_same_bytes(world, monkeypatch, method):
    changes = {"method": method, "max_epochs": 3}
    through = _run(world, f"through_{method}", **changes)
    saved = Keeper.on_train_epoch_end

    def killed(self, trainer, module):
        saved(self, trainer, module)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Keeper, "on_train_epoch_end", killed)
        with pytest.raises(SystemExit):
            _run(world, f"killed_{method}", **changes)
    made = _run(world, f"killed_{method}", **changes)
    newest = max((world.runs / "encoders" / "e").iterdir(), key=lambda path: path.name)
    assert json.loads((newest / "run.json").read_text())["resumed_from_epoch"] == 1
    assert _bytes(made) == _bytes(through)


def test_held_out_ground_changes_nothing(tmp_path):
    """The images of val and test ground are wiped: not one bit of the encoder differs."""
    one, two = make_world(tmp_path / "a"), make_world(tmp_path / "b")
    from thalweg.manifest.scene import read_scenes

    for scene in read_scenes(two.scenes).values():
        image = scene.image
        kept = np.array(image)
        kept[:, 32:] = 7  # train is the left half of 64 columns
        _overwrite(scene, kept)
    assert _bytes(_run(one, "x")) == _bytes(_run(two, "x"))


def _overwrite(scene, image) -> None:
    from thalweg import raster

    path = scene.folder / "image.tif"
    path.unlink()
    target = raster.create_pixels(path, scene.grid, image.shape[2], "int16", -32768)
    target[:] = image
    target.flush()


def test_a_network_follows_by_the_formula():
    one = torch.nn.Linear(1, 1)
    second = follower(one)
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.fill_(3.0)
        for parameter in second.parameters():
            parameter.fill_(1.0)
    follow(one, second, 0.9)
    assert all(parameter.item() == pytest.approx(1.2) for parameter in second.parameters())
    assert not any(parameter.requires_grad for parameter in second.parameters())
    assert all(parameter.item() == 3.0 for parameter in one.parameters())


def test_momentum_rises_to_one_by_a_cosine(world):
    chosen = params("byol", ema=0.9, max_epochs=5, chips_per_epoch=8)  # 5 steps
    task = build_task("e", chosen, read_data("e", chosen, world.scenes, world.split))
    assert [task.momentum(step) for step in (0, 2, 4)] == pytest.approx([0.9, 0.95, 1.0])
    assert task.momentum(1) == pytest.approx(1 - 0.1 * (np.cos(np.pi / 4) + 1) / 2)


def test_a_network_that_follows_with_momentum_1_stays_as_it_was(world):
    """DINO hands its teacher over, which here never moves but in the statistics of its norms."""
    made = _run(world, "still", method="dino", ema=1.0)
    chosen = params("dino", ema=1.0)
    fresh = dict(
        build_task("e", chosen, read_data("e", chosen, world.scenes, world.split)).method.kept.trunk.named_parameters()
    )
    kept = load_file(made.encoder / "weights.safetensors")
    assert all(torch.equal(kept[name], value.detach()) for name, value in fresh.items())


def test_what_cannot_be_pre_trained_says_why(world, tmp_path):
    with pytest.raises(TrainingError, match=r"positives are dates, but no place on grid s2_60m has two; add scenes"):
        _run(world, "x", positives="dates")
    wide = params().crops.model_dump() | {"chip_m": 2400.0, "wide_m": (1200.0, 1440.0)}  # 40 px, of which 32 train
    with pytest.raises(
        TrainingError, match=r"no window of 4\d px shows 1 of ground that may be seen; lower least_valid"
    ):
        _run(world, "x", least_valid=1.0, crops=wide)
    with pytest.raises(ParamsError, match="method 'nothing' has no file"):
        pretrain_encoder("e", params().model_copy(update={"method": "nothing"}), TRAIN,
                         places(tmp_path, world.scenes, world.split))  # fmt: skip
    with pytest.raises(TrainingError, match=r"encoders\.e: the loss is nan in epoch \d, step \d; lower its lr"):
        _run(world, "x", lr=1e30, max_epochs=4)
    two = TRAIN.model_copy(update={"devices": 2})
    with pytest.raises(TrainingError, match=r"train\.devices is 2, but one encoder trains on one device"):
        pretrain_encoder("e", params(), two, places(tmp_path, world.scenes, world.split))


def test_ground_far_larger_than_every_scene_costs_no_memory(world):
    wide = params().crops.model_dump() | {"chip_m": 6e8, "wide_m": (3e8, 6e8)}  # 10 million pixels along an edge
    with pytest.raises(TrainingError, match=r"no window of \d{7} px shows 0\.3 of ground that may be seen; lower"):
        _run(world, "x", crops=wide)


@pytest.mark.parametrize("method", ["vicreg", "mae"])
def test_what_is_not_a_number_is_not_measured(tmp_path, method):
    """Floating-point scenes, a third of one channel NaN and some of all."""
    from member_builder import GRID, write_split
    from scene_builder import make_scene

    image = np.random.default_rng(0).normal(2000, 500, (48, 96, 3)).astype(np.float32)
    known = {"name": "s", "shape": (48, 96), "channels": ("B04", "B03", "B02")}
    write_split(tmp_path / "split", [make_scene(tmp_path / "whole" / GRID, image=image, **known)])
    image[:, ::3, 0], image[5:9, 5:30] = np.nan, np.nan
    make_scene(tmp_path / "scenes" / GRID, image=image, **known)
    at = places(tmp_path, tmp_path / "scenes" / GRID, tmp_path / "split")
    made = _run(at, "nan", method=method)
    assert np.isfinite(pd.read_csv(made.encoder / "history.csv")["loss"]).all()
    assert all(bool(value.isfinite().all()) for value in load_file(made.encoder / "weights.safetensors").values())


def test_channels_are_the_same_in_all_scenes(tmp_path):
    from scene_builder import make_scene

    made = make_world(tmp_path)
    make_scene(made.scenes, "other", channels=("B02", "B03", "B04"))
    with pytest.raises(SceneError, match=r"differ in their channels; run `dvc repro preprocess`"):
        read_data("e", params(), made.scenes, made.split)


def test_an_encoder_folder_that_is_not_whole(world, tmp_path):
    made = _run(world, "whole")
    card = json.loads((made.encoder / "card.json").read_text())
    (tmp_path / "weights.safetensors").write_bytes((made.encoder / "weights.safetensors").read_bytes())
    with pytest.raises(SceneError, match=r"card\.json is missing; pre-train it with `dvc repro pretrain`"):
        read_encoder_card(tmp_path)
    (tmp_path / "card.json").write_text(json.dumps(card | {"schema_version": 2}))
    with pytest.raises(CardError, match="has schema 2, this Thalweg reads up to 1; update Thalweg"):
        read_encoder_card(tmp_path)
    (tmp_path / "card.json").write_text(json.dumps(card | {"architecture": "resnet34"}))
    with pytest.raises(CardError, match=r"cannot be read as the resnet34 that its card names"):
        load_encoder(tmp_path)


@pytest.mark.parametrize(
    ("name", "depth"), [("resnet18", 5), ("tu-convnext_atto", 4), ("mit_b0", 5), ("tu-test_vit", 4)]
)
def test_encoders_of_all_families(name, depth):
    made = build_encoder(name, 5, depth).eval()
    size = 2 * made.stride
    maps = made(torch.zeros(2, 5, size, size))
    assert [level.shape[1] for level in maps] == made.dims
    assert maps[-1].shape[1] == made.dim
    assert "net." not in next(iter(made.trunk.state_dict()))
