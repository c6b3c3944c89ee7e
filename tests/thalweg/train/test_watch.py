"""What watches a training: it shows what it should, and changes nothing."""

import json
import logging
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch
from member_builder import classes, make_places, member, places, train_params
from PIL import Image
from ruamel.yaml import YAML

from thalweg.errors import ParamsError, TrainingError
from thalweg.manifest.runs import read_newest
from thalweg.params.models import Member
from thalweg.params.train import Train
from thalweg.task import SegmentationTask
from thalweg.train import train_member
from thalweg.watch import canvas, console, loggers, record

ALL = {"loggers": ("csv", "tensorboard"), "watch": ("panels", "samples", "system", "histograms"), "profiler": "torch"}
NOTHING = {"loggers": (), "watch": (), "profiler": None}
EMA = {"ema": 0.9, "max_epochs": 3}  # panels must show averaged weights, and leave the network its own


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("watched")
    make_places(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "orig_argv", ["python", "-m", "stages.train", "tiny"])
        train_member("tiny", member(**EMA), train_params(**ALL), classes(), places(root))
    return root


@pytest.fixture(scope="module")
def run(world):
    return read_newest(world / "runs", "tiny").folder


def test_a_watched_training_ends_in_the_same_bytes(world):
    train_member("plain", member(**EMA), train_params(**NOTHING), classes(), places(world, "plain"))
    for name in ("model/weights.safetensors", "history.csv", "metrics.json", "heldout/panels.npz"):
        assert (world / "plain" / name).read_bytes() == (world / "outs" / name).read_bytes(), name


def test_panels_show_the_same_chips_after_each_epoch(run):
    shown = [np.asarray(Image.open(path)) for path in sorted((run / "panels").iterdir())]
    assert [path.name for path in sorted((run / "panels").iterdir())] == [f"epoch_00{k}.png" for k in range(3)]
    assert {picture.shape for picture in shown} == {(4 * 16 + 3 * 2, 3 * 16 + 2 * 2, 3)}  # chips of 16 px, gaps of 2
    left = [picture[:, : 2 * 16 + 4] for picture in shown]  # image and target; what the member says may change
    assert all(np.array_equal(left[0], other) for other in left)
    assert {tuple(color) for color in shown[2][:16, 36:].reshape(-1, 3)} <= {(0xE6, 0xE0, 0xD4), (0x1F, 0x6F, 0xB4)}


def test_the_first_augmented_batch_is_shown(run):
    assert np.asarray(Image.open(run / "samples.png")).shape == (4 * 16 + 3 * 2, 2 * 16 + 2, 3)


def test_pictures_are_scaled_and_nodata_is_black():
    inputs = torch.zeros(1, 4, 1, 3)
    inputs[0, :, 0, 1] = torch.tensor([-2.0, 0.0, 2.0, 5.0])
    inputs[0, 3, 0, 2] = 1.0  # a channel that is not shown was measured: at its mean elsewhere
    assert canvas.pictures(inputs, (0, 1, 2)).tolist() == [[[[0, 0, 0], [0, 127, 255], [127, 127, 127]]]]
    assert canvas.colored(np.array([1, 255, 0], np.uint8), ("#010203", "#040506")).tolist() == [
        [4, 5, 6], [200, 200, 200], [1, 2, 3]
    ]  # fmt: skip


def test_times_are_told_by_epoch_and_by_batch(run):
    epochs, batches = pd.read_csv(run / "epochs.csv"), pd.read_csv(run / "batches.csv")
    assert epochs["epoch"].tolist() == [0, 1, 2]
    assert (epochs["seconds"] > epochs["validation_seconds"]).all()
    assert batches[["epoch", "batch"]].to_numpy().tolist() == [[e, b] for e in range(3) for b in range(4)]
    assert batches["lr"].max() <= 0.01
    assert (batches["seconds"] > 0).all()


def test_the_machine_is_watched(run):
    system = pd.read_csv(run / "system.csv")
    assert system["epoch"].tolist() == [0, 1, 2]
    assert (system["cores_busy"] > 0).all()
    assert (system["memory_peak_gib"] > 0.1).all()
    assert "system/cores_busy" in (run / "metrics.csv").read_text()


def test_weights_and_gradients_go_to_tensorboard(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run), size_guidance={"histograms": 0})
    events.Reload()
    tags = events.Tags()["histograms"]
    names = [tag.removeprefix("weights/") for tag in tags if tag.startswith("weights/")]
    assert names
    assert {tag.removeprefix("gradients/") for tag in tags if tag.startswith("gradients/")} == set(names)
    assert len(events.Histograms(tags[0])) == 3
    assert "lr" in events.Tags()["scalars"]


def test_the_trace_can_be_viewed(run):
    names = {event.get("name") for event in json.loads((run / "trace.json").read_text())["traceEvents"]}
    assert "aten::conv2d" in names


def test_the_record_says_what_the_run_was(run, world):
    facts = json.loads((run / "run.json").read_text())
    assert facts["status"] == "done"
    assert facts["command"] == "python -m stages.train tiny"
    assert len(facts["git_commit"]) == 40
    assert isinstance(facts["git_dirty"], bool)
    assert facts["cores"] > 0
    assert facts["processor"]
    assert facts["epochs"] == 3
    assert facts["seconds"] > 0
    params = YAML(typ="safe").load((run / "params.yaml").read_text())
    assert Member.model_validate_json(json.dumps(params["models"]["tiny"])) == member(**EMA)
    assert Train.model_validate_json(json.dumps(params["train"])) == train_params(**ALL)
    assert f"torch=={torch.__version__.split('+')[0]}" in (run / "packages.txt").read_text()
    assert "tiny epoch 3/3" in (run / "console.log").read_text()
    weights = (world / "outs/model/weights.safetensors").stat().st_size
    first = (run / "model.txt").read_text().splitlines()[0].split()
    assert first[:2] == ["in", "all"]
    assert int(first[2].replace(",", "")) * 4 == pytest.approx(weights, rel=0.3)


def test_how_a_run_ended(tmp_path):
    with pytest.raises(TrainingError), record.recorded(tmp_path, "m", {}):
        raise TrainingError("no such thing")
    failed = read_newest(tmp_path, "m")
    assert (failed.facts["status"], failed.facts["error"]) == ("failed", "no such thing")
    assert (failed.folder / "console.log").read_text() == "failed: no such thing\n"
    with pytest.raises(ZeroDivisionError), record.recorded(tmp_path, "m", {}):
        _ = 1 / 0
    *trace, last = (read_newest(tmp_path, "m").folder / "console.log").read_text().splitlines()
    assert trace[0] == "Traceback (most recent call last):", "a bug keeps its traceback"
    assert last == "failed: division by zero"
    with pytest.raises(SystemExit), record.recorded(tmp_path, "m", {}):
        sys.exit(143)
    ended = read_newest(tmp_path, "m").facts
    assert (ended["status"], ended["error"][:37]) == ("interrupted", "it was ended from outside (SIGTERM); ")
    with pytest.raises(KeyboardInterrupt), record.recorded(tmp_path, "m", {}):
        assert read_newest(tmp_path, "m").facts["status"] == "running"
        raise KeyboardInterrupt
    assert read_newest(tmp_path, "m").facts["status"] == "interrupted"
    (tmp_path / "m" / "9999").mkdir()
    assert read_newest(tmp_path, "m").facts["status"] == "interrupted"
    assert read_newest(tmp_path, "other") is None


def test_what_is_said_is_shown_and_kept(tmp_path, capsys):
    with console.kept(tmp_path / "log"):
        sys.stdout.write("one\n")
        sys.stderr.write("two\n")
        assert not sys.stdout.isatty()
    said = capsys.readouterr()
    assert (said.out, said.err) == ("one\n", "two\n")
    assert (tmp_path / "log").read_text() == "one\ntwo\n"
    assert not isinstance(sys.stdout, console.Tee)


def test_a_handler_of_logs_outlives_the_run_that_made_it(tmp_path, capsys):
    with console.kept(tmp_path / "log"):
        handler = logging.StreamHandler(sys.stderr)
    handler.emit(logging.makeLogRecord({"msg": "later"}))
    handler.flush()
    assert capsys.readouterr().err == "later\n"
    assert (tmp_path / "log").read_text() == ""


def test_lightnings_profiler_by_choice(world):
    train_member(
        "timed",
        member(max_epochs=1),
        train_params(**(NOTHING | {"profiler": "simple"})),
        classes(),
        places(world, "timed"),
    )
    assert "run_training_batch" in (read_newest(world / "runs", "timed").folder / "fit-profile.txt").read_text()


@pytest.mark.parametrize(("name", "package"), [("wandb", "wandb"), ("mlflow", "mlflow"), ("comet", "comet_ml")])
def test_a_logger_that_is_not_installed_says_what_to_do(name, package, tmp_path, monkeypatch):
    import lightning.pytorch.loggers as lightning

    missing = f"_{name.upper()}_AVAILABLE"
    home = sys.modules[
        {"wandb": lightning.WandbLogger, "mlflow": lightning.MLFlowLogger, "comet": lightning.CometLogger}[
            name
        ].__module__
    ]
    monkeypatch.setattr(home, missing, False)
    with pytest.raises(
        TrainingError, match=rf"train\.loggers names {name}, but {package} is not installed .*pip install"
    ):
        loggers.build([name], tmp_path, "m", {})


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_services_stay_offline(name, tmp_path, monkeypatch):
    pytest.importorskip(name, reason=f"{name} is an extra")
    for variable in ("WANDB_MODE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    [logger] = loggers.build([name], tmp_path / "run", "m", {"lr": 0.1})
    logger.log_metrics({"loss": 1.0}, step=1)
    logger.finalize("success")
    assert {"wandb": "wandb", "mlflow": "mlflow.db"}[name] in {path.name for path in (tmp_path / "run").iterdir()}


def logged(content):
    """Records of a log of W&B: 7 bytes of its own, then LevelDB's blocks of 32 KiB (checksum, length, kind, data)."""
    block, at, parts = 1 << 15, 7, b""
    while at + 7 <= len(content):
        if block - at % block < 7:
            at += block - at % block
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield parts
            parts = b""


def test_weights_and_biases_gets_model_split_and_scores(world, monkeypatch):
    """Two members in one process, offline: each its own run with its params and its artifacts, read from its own log.

    The first fails before it ends; Lightning alone would let the second go on in its run.
    """
    pytest.importorskip("wandb", reason="wandb is an extra")
    from wandb.proto import wandb_internal_pb2 as messages

    monkeypatch.delenv("WANDB_MODE", raising=False)
    machine = train_params(**(NOTHING | {"loggers": ("wandb",)}))
    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr("thalweg.train.finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        train_member("broken", member(max_epochs=1), machine, classes(), places(world, "broken"))
    out = places(world, "shown")
    train_member("shown", member(max_epochs=1, lr=0.007), machine, classes(), out)
    folder = read_newest(world / "runs", "shown").folder
    [log] = folder.glob("wandb/offline-run-*/run-*.wandb")
    records = []
    for _ in range(300):  # W&B writes from a process of its own
        records = [messages.Record.FromString(data) for data in logged(log.read_bytes())]
        if any(each.HasField("exit") for each in records):
            break
        time.sleep(0.1)
    artifacts = {each.artifact.type: each.artifact for each in records if each.HasField("artifact")}
    artifacts |= {each.request.log_artifact.artifact.type: each.request.log_artifact.artifact for each in records
                  if each.HasField("request") and each.request.HasField("log_artifact")}  # fmt: skip
    assert {kind: artifact.name for kind, artifact in artifacts.items()} == {"model": "shown", "split": "shown-split"}
    held = {entry.path for entry in artifacts["model"].manifest.contents}
    assert held == {"card.json", "costs.json", "weights.safetensors", "metrics.json", "history.csv"}
    assert {entry.path for entry in artifacts["split"].manifest.contents} == {"chips.parquet", "stats.json"}
    kept = folder / "artifacts/model/weights.safetensors"
    assert kept.read_bytes() == (out.model / "weights.safetensors").read_bytes()
    scores = json.loads(out.metrics.read_text())
    summary = {
        item.key or "/".join(item.nested_key): item.value_json for each in records for item in each.summary.update
    }
    assert float(summary["test/miou"]) == scores["test"]["miou"]
    config = {item.key: item.value_json for each in records for item in [*each.config.update, *each.run.config.update]}
    assert float(config["lr"]) == 0.007
    [name] = [each.run.display_name for each in records if each.HasField("run")][:1]
    assert name.startswith("shown ")


def test_histograms_need_tensorboard():
    with pytest.raises(ValueError, match="histograms go to tensorboard"):
        train_params(loggers=("csv",), watch=("histograms",))


def test_frozen_stages_keep_their_weights_until_they_thaw(world):
    """The first stage stays as it was drawn while it is frozen, however long; thawed after an epoch, it moves."""
    from safetensors.torch import load_file

    from thalweg import models

    network = models.build("unet", 3, 2, member().options)
    first, parts = next(iter(network.stages.items()))
    options = {"freeze": (first,), "augment": {}}
    held = [name for name, _ in network.named_parameters() if any(name.startswith(f"{part}.") for part in parts)]
    assert held
    states = {}
    for name, thaw in (("short", None), ("long", None), ("thawed", 1)):
        epochs = {"max_epochs": 1 if name == "short" else 2}
        train_member(name, member(**(options | epochs | {"thaw_epochs": thaw, "keep": "last"})), train_params(**NOTHING), classes(), places(world, name))  # fmt: skip
        states[name] = load_file(world / name / "model/weights.safetensors")
    assert all(torch.equal(states["short"][name], states["long"][name]) for name in held)
    assert not all(torch.equal(states["long"][name], states["thawed"][name]) for name in held)
    with pytest.raises(ParamsError, match="'freeze' names 9; the architecture's stages are"):
        train_member("wrong", member(freeze=(9,)), train_params(**NOTHING), classes(), places(world, "wrong"))


def test_the_last_layer_starts_from_the_shares_of_classes(world, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "thalweg.train.fit", lambda task, *_: seen.append(task) or (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        train_member("prior", member(prior_bias=True), train_params(**NOTHING), classes(), places(world, "prior"))
    task: SegmentationTask = seen[0]
    bias = [layer for layer in task.network.architecture.modules() if isinstance(layer, torch.nn.Conv2d)][-1].bias
    chips = pd.read_parquet(world / "split/s2_60m/chips.parquet").query("part == 'train'")
    odds = chips["px_channel"].sum() / chips["px_background"].sum()
    assert float((bias[1] - bias[0]).detach()) == pytest.approx(np.log(odds), abs=1e-5)


def test_members_with_chosen_chips_train(world):
    chosen = member(sampler="grid", least_valid=0.1, train_prop=0.5, max_epochs=1)
    train_member("few", chosen, train_params(**NOTHING), classes(), places(world, "few"))
    rare = member(oversample={"classes": ("channel",), "share": 0.9}, max_epochs=1)
    train_member("rare", rare, train_params(**NOTHING), classes(), places(world, "rare"))
    with pytest.raises(TrainingError, match="train_count is 5000, but there are"):
        train_member("many", member(train_count=5000), train_params(**NOTHING), classes(), places(world, "many"))
    assert read_newest(world / "runs", "many").facts["status"] == "failed"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train_prop": 0.5, "train_count": 3}, "give train_prop or train_count"),
        ({"sampler": "grid", "oversample": {"classes": ("channel",), "share": 0.5}}, "set oversample to null"),
        ({"thaw_epochs": 2}, "nothing is frozen that could thaw"),
    ],
)
def test_choices_that_exclude_each_other(changes, said):
    with pytest.raises(ValueError, match=said):
        member(**changes)
