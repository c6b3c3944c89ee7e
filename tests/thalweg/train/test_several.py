"""Several processes train one member as one would: real ones, over gloo on the CPU, under torchrun and by themselves."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from member_builder import classes, make_places, member, places, train_params
from safetensors.torch import load_file
from test_repro import Project

from thalweg import shards, world
from thalweg.classes import IGNORE
from thalweg.crossval import Places as CrossvalPlaces
from thalweg.crossval import Settings, cross_validate
from thalweg.dataset import augment
from thalweg.dataset.chips import ChipReader, Place
from thalweg.dataset.sampler import Shared
from thalweg.errors import TrainingError
from thalweg.grid import Window
from thalweg.params.active import Active
from thalweg.params.models import Plateau
from thalweg.train import train_member

TESTS = Path(__file__).parents[2]
SCRIPT = str(TESTS / "several.py")
EXACT = {"model": "fcn", "options": {"num_filters": 8}, "augment": {}, "batch_size": 6, "chips_per_epoch": 12,
         "schedule": "cosine", "warmup_epochs": 1.0}  # fmt: skip
"""Nothing in it depends on how a batch is divided: no batch norm, no dropout, no draws."""


@given(count=st.integers(1, 60), size=st.integers(1, 5), times=st.integers(1, 4), whole=st.booleans())
def test_the_shares_of_all_processes_are_the_batches_of_one(count, size, times, whole):
    """No chip is seen twice or left out, every process has as many batches, and those of all are those of one."""
    batch = size * times
    chips = [Place("scene", Window(number, 0, 8, 8)) for number in range(count)]
    shares = [list(Shared(chips, batch, rank, size, whole)) for rank in range(size)]
    alone = [chips[start : start + batch] for start in range(0, count, batch)]
    if whole:
        alone = [one for one in alone if len(one) == batch]
    assert {len(share) for share in shares} == {len(alone)} == {len(Shared(chips, batch, 0, size, whole))}
    for number, one in enumerate(alone):
        parts = [share[number] for share in shares]
        assert len({len(part) for part in parts}) == 1
        together = [place for part in parts for place in part]
        assert together[: len(one)] == one
        assert len(together) - len(one) < size
        assert all(place.window == Window(-8, -8, 8, 8) for place in together[len(one) :])


def test_a_window_that_stands_in_holds_nothing(tmp_path):
    where = make_places(tmp_path)
    pixels, target = ChipReader(where.scenes, where.split, "s2_60m").read("one", Window(-8, -8, 8, 8), "val")
    assert (target == IGNORE).all()
    assert (pixels == -32768).all()


def test_the_first_process_draws_as_one_that_is_alone_and_the_others_differ():
    alone = np.random.SeedSequence([3, 1, 2]).generate_state(1, np.uint64)[0] >> np.uint64(1)
    draws = [augment.generator(3, 1, 2, rank).initial_seed() for rank in range(3)]
    assert draws[0] == augment.generator(3, 1, 2).initial_seed() == alone
    assert len(set(draws)) == 3


def test_one_share_of_a_mixup_for_all_processes():
    chips, target = torch.rand(4, 2, 8, 8), torch.zeros(4, 8, 8, dtype=torch.uint8)
    shares = {
        augment.mixup(chips, target, 0.4, augment.generator(3, 0, 0, rank), augment.generator(3, 0, 0, 2)).share
        for rank in range(2)
    }
    assert len(shares) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"batch_size": 4},
            r"models.m: batch_size is 4, .* does not divide by 3 processes .*; make it a multiple of 3",
        ),
        ({"batch_size": 6, "chips_per_epoch": 4}, r"chips_per_epoch 4 does not fill one batch of 6 for 3 processes"),
        ({"batch_size": 6, "freeze": ("1",), "thaw_epochs": 1}, r"stages that thaw while 3 processes .*; set"),
        ({"batch_size": 6, "active": "loss"}, r"active sampling judges a pool in one process, not in 3 processes"),
    ],
)
def test_what_only_one_process_can_do_is_said_before_anything_is_read(tmp_path, changes, said):
    if "active" in changes:
        changes["active"] = Active(scores={"loss": 1.0}, pool=2, every=1, judge="self", warmup_epochs=0, passes=2,
                                   temperature=0.0, diversity=0.0, precision="32")  # fmt: skip
    with pytest.raises(TrainingError, match=said):
        train_member("m", member(**changes), train_params(devices=3), classes(), places(tmp_path))


def test_folds_train_in_one_process(tmp_path):
    settings = Settings(member(), None, None, train_params(num_nodes=2), classes())  # type: ignore[arg-type]
    where = CrossvalPlaces(tmp_path, tmp_path / "m.json", tmp_path / "runs", tmp_path / "cache")
    with pytest.raises(TrainingError, match=r"crossval.m: folds train in one process each, but train asks for 2; set"):
        cross_validate("m", settings, where)


def test_as_many_processes_as_params_say(monkeypatch):
    started = {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    assert world.read(train_params(devices=2)) == world.World(1, 2)
    with pytest.raises(TrainingError, match=r"2 processes were started, but train says num_nodes 1 × devices 1; set"):
        world.read(train_params())


def test_srun_is_told_from_a_batch_script(monkeypatch):
    """SLURM tells a batch script of all tasks; only of srun's steps is it one of them."""
    for name, value in {"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_NTASKS_PER_NODE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert world.read(train_params(devices=2)) == world.World(0, 2)
    for name, value in {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3"}.items():
        monkeypatch.setenv(name, value)
    assert world.read(train_params(devices=2, num_nodes=2)) == world.World(3, 4)
    assert not world.environment().auto_requeue


@pytest.mark.parametrize("tasks", [None, "4"])
def test_a_machine_that_has_srun_trains_by_itself(root, tmp_path, monkeypatch, tasks):
    """Lightning warns of it, and asks a batch script of four tasks for the other three."""
    (tmp_path / "srun").write_text("#!/bin/sh\n")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    if tasks:
        monkeypatch.setenv("SLURM_NTASKS", tasks)
        monkeypatch.setenv("SLURM_JOB_NAME", "thalweg")
    train_member("m", member(**EXACT, max_epochs=1), train_params(), classes(), places(root, f"srun-{tasks}"))
    assert _newest(root)["processes"] == 1


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A world with eight validation windows: the second batch of six leaves a process of three without a chip."""
    made = tmp_path_factory.mktemp("world")
    make_places(made, (64, 64))
    return made


def _run(root: Path, outs: str, devices: int | str, changes: dict, *end: int, torchrun: bool = False) -> subprocess.CompletedProcess:  # fmt: skip
    started = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(devices)[0]]
    words = [*(started if torchrun else [sys.executable]), SCRIPT, str(root), outs, str(devices), json.dumps(changes)]
    env = {**os.environ, "PYTHONPATH": f"{TESTS}:{os.environ.get('PYTHONPATH', '')}", "OMP_NUM_THREADS": "1"}
    return subprocess.run([*words, *map(str, end)], env=env, cwd=root, capture_output=True, text=True, timeout=600, check=False)  # fmt: skip


def _alone(root: Path, changes: dict) -> Path:
    outs = f"alone-{len(list(root.glob('alone-*')))}"
    typed = {key: Plateau(**value) if key == "schedule" and isinstance(value, dict) else value for key, value in changes.items()}  # fmt: skip
    train_member("m", member(**typed), train_params(), classes(), places(root, outs))
    return root / outs


def _same(one: Path, other: Path, loss_rtol: float = 1e-4) -> None:
    a, b = (pd.read_csv(outs / "history.csv") for outs in (one, other))
    assert list(a) == list(b)
    assert len(a) == len(b)
    scores = [name for name in a if name.startswith("val_") and name != "val_loss"]
    np.testing.assert_allclose(a[scores], b[scores], atol=1e-6)
    rest = [name for name in a if name not in scores]
    np.testing.assert_allclose(a[rest], b[rest], rtol=loss_rtol)
    first, second = (json.loads((outs / "metrics.json").read_text()) for outs in (one, other))
    for part, values in first.items():
        assert values == pytest.approx(second[part], abs=1e-6), part
    weights = (load_file(outs / "model/weights.safetensors") for outs in (one, other))
    for (name, tensor), expected in zip(next(weights).items(), next(weights).values(), strict=True):
        torch.testing.assert_close(tensor, expected, rtol=1e-3, atol=1e-4, msg=name)


def _newest(root: Path) -> dict:
    run = max((root / "runs/m").iterdir(), key=lambda path: path.name)
    return json.loads((run / "run.json").read_text())


@pytest.mark.slow
def test_two_under_torchrun_train_as_one(root):
    before = len(list((root / "runs").glob("m/*")))
    done = _run(root, "two", 2, EXACT, torchrun=True)
    assert done.returncode == 0, done.stderr
    assert len(list((root / "runs/m").iterdir())) == before + 1
    assert _newest(root)["processes"] == 2
    assert done.stderr.count("m epoch 3/3") == 1
    assert "Warning" not in done.stderr
    _same(root / "two", _alone(root, EXACT))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["", ":fsdp"])
def test_three_that_the_first_one_starts_train_as_one_with_all_that_moves_weights(root, strategy):
    """Averaged weights, a plateau, accumulation with a last window of one batch, clipping."""
    changes = EXACT | {"schedule": {"name": "plateau", "factor": 0.5, "patience": 0, "threshold": 0.0, "min_lr": 0.0}, "ema": 0.9,
                       "accumulate": 2, "clip_norm": 1.0, "chips_per_epoch": 18, "class_weights": "inverse_sqrt"}  # fmt: skip
    done = _run(root, f"three{strategy}", f"3{strategy}", changes)
    assert done.returncode == 0, done.stderr
    _same(root / f"three{strategy}", _alone(root, changes))


@pytest.mark.slow
def test_two_that_hold_a_share_of_each_weight_train_as_one_that_holds_all(root):
    """FSDP, over gloo: the same scores, and about half of the weights in each."""
    done = _run(root, "shares", "2:fsdp", EXACT, torchrun=True)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    held = [tuple(map(int, found)) for found in re.findall(r"holds (\d+) of (\d+) in (\d+) blocks", done.stderr)]
    assert len(held) == 2
    assert sum(mine for mine, _, _ in held) == held[0][1]
    assert all(mine < 0.6 * total and blocks > 2 for mine, total, blocks in held)
    _same(root / "shares", _alone(root, EXACT))


@pytest.mark.slow
@pytest.mark.parametrize(("first", "then"), [("2:fsdp", "3"), ("2", "3:fsdp"), ("3:fsdp", "2:fsdp")])
def test_what_is_left_of_shares_and_of_whole_networks_is_the_same(root, first, then):
    """One kind of training is killed, the other goes on."""
    shutil.rmtree(root / "resume", ignore_errors=True)
    changes = EXACT | {"ema": 0.9, "optimizer": "adamw"}
    assert _run(root, f"left-{first}", first, changes, 1, 1).returncode != 0
    again = _run(root, f"left-{first}", then, changes)
    assert again.returncode == 0, again.stderr
    assert _newest(root)["resumed_from_epoch"] == 2
    _same(root / f"left-{first}", _alone(root, changes))


def test_one_process_that_divides_its_weights_with_itself_trains_as_ever(root):
    whole, divided = root / "whole", root / "divided"
    changes = EXACT | {"ema": 0.9, "max_epochs": 2}
    train_member("m", member(**changes), train_params(), classes(), places(root, whole.name))
    train_member("m", member(**changes), train_params(strategy="fsdp"), classes(),
                 places(root, divided.name))  # fmt: skip
    _same(whole, divided, 1e-6)


def test_what_needs_the_whole_network_is_refused_where_processes_hold_shares(tmp_path):
    train = train_params(strategy="fsdp", compile=True, watch=("panels",))
    with pytest.raises(TrainingError, match=r"train.strategy fsdp leaves each process a share .* go with train.compile true, "
                       r"panels or histograms in train.watch; change these"):  # fmt: skip
        train_member("m", member(), train, classes(), places(tmp_path))


def test_a_weight_that_cannot_be_divided_is_told():
    lonely = torch.nn.Module()
    lonely.weight = torch.nn.Parameter(torch.tensor(1.0))
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (1,))
        with pytest.raises(TrainingError, match=r"models.m: its weights cannot be divided among processes \(.*scalar"):
            shards.shard(lonely, mesh, "models.m")
    finally:
        world.part()


@pytest.mark.slow
def test_batch_norm_dropout_and_draws_of_their_own_keep_the_curve_near(root):
    changes = {"batch_size": 8, "chips_per_epoch": 32, "max_epochs": 6, "patience": 6,
               "augment": {"d4": 1.0, "gain": 0.05, "mixup": 0.2}}  # fmt: skip
    done = _run(root, "near", 2, changes)
    assert done.returncode == 0, done.stderr
    near, alone = (pd.read_csv(outs / "history.csv") for outs in (root / "near", _alone(root, changes)))
    assert abs(near["train_loss"] - alone["train_loss"]).max() < 0.25
    assert abs(near["val_miou"].max() - alone["val_miou"].max()) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("torchrun", "rank"), [(True, 1), (False, 1), (False, 0)])
def test_a_process_that_is_killed_ends_all_and_another_number_goes_on(root, torchrun, rank):
    shutil.rmtree(root / "resume", ignore_errors=True)
    outs = f"killed-{torchrun}-{rank}"
    done = _run(root, outs, 2, EXACT, rank, 1, torchrun=torchrun)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr.split("torch/distributed")[0], done.stderr
    assert not (root / outs).exists()
    assert len(list((root / "resume/m").rglob("last.ckpt"))) == 1
    assert _left(root) == []
    again = _run(root, outs, 3, EXACT)
    assert again.returncode == 0, again.stderr
    assert _newest(root)["resumed_from_epoch"] == 2
    assert not list((root / "resume/m").rglob("last.ckpt"))
    _same(root / outs, _alone(root, EXACT))


def _left(root: Path) -> list[int]:
    """Processes of the script that are still there."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if SCRIPT.encode() in words and str(root).encode() in words:
            found.append(int(path.parent.name))
    return found


@pytest.mark.slow
def test_the_stage_by_itself_and_under_torchrun(tmp_path):
    project = Project(tmp_path)
    project.params["train"] |= {"devices": 2}
    project.save()
    project.call("dvc", "repro", "train@unet")
    assert "up to date" in project.call("dvc", "status", "train@unet")
    (run,) = (project.home / "runs/unet").iterdir()
    assert json.loads((run / "run.json").read_text())["processes"] == 2
    by_itself = (project.home / "models/unet/weights.safetensors").read_bytes()
    shutil.rmtree(project.home / "models/unet")
    project.call(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "stages.train", "unet")
    assert (project.home / "models/unet/weights.safetensors").read_bytes() == by_itself
    assert "up to date" in project.call("dvc", "status", "train@unet")
    assert not list((project.home / ".cache/staging").iterdir())


@pytest.mark.slow
def test_sigterm_ends_all(root):
    """As DVC, SLURM and a person at the keyboard end a job."""
    shutil.rmtree(root / "resume", ignore_errors=True)
    changes = EXACT | {"max_epochs": 400, "patience": 400}
    words = [sys.executable, SCRIPT, str(root), "ended", "2", json.dumps(changes)]
    env = {**os.environ, "PYTHONPATH": f"{TESTS}:{os.environ.get('PYTHONPATH', '')}", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(words, env=env, cwd=root, stderr=subprocess.PIPE, text=True)
    for line in process.stderr or ():
        if "epoch 2/" in line:
            break
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=300) is not None
    assert process.returncode == 143
    assert _left(root) == []
    assert not (root / "ended").exists()
