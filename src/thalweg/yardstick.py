"""The yardstick: gradient boosting on pixels and their neighbourhood, which a network that earns its keep must beat.

scikit-learn's histogram trees are grown on labelled training pixels and turned into the tensors of the architecture
`boosted_trees`; from there on the yardstick is a member like any other.
"""

import importlib.metadata
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.ensemble import HistGradientBoostingClassifier

from thalweg import contract, models
from thalweg.classes import IGNORE
from thalweg.dataset.chips import ChipReader
from thalweg.dataset.sampler import lattice
from thalweg.errors import TrainingError
from thalweg.examine import Panels, examine, summary
from thalweg.grid import Window
from thalweg.infer import Predictor
from thalweg.manifest import write_json
from thalweg.manifest.card import SCHEMA, ModelCard, Normalisation, write_card
from thalweg.manifest.chips import Stats, read_chips, read_stats
from thalweg.manifest.heldout import write_heldout
from thalweg.manifest.provenance import git_commit
from thalweg.manifest.scene import shared_preparation
from thalweg.models.boosted_trees import BoostedTrees
from thalweg.params.classes import Classes
from thalweg.params.yardsticks import Yardstick

ARCHITECTURE = "boosted_trees"
PACKAGES = ("numpy", "scikit-learn", "thalweg", "torch")
_LEAVES = 31
_L2 = 1.0
_BATCH = 4


@dataclass(frozen=True)
class Places:
    """Where a yardstick reads and writes."""

    scenes: Path
    """`build/scenes/<grid>`."""
    split: Path
    """`build/split`."""
    model: Path
    heldout: Path
    metrics: Path


def fit_yardstick(name: str, yardstick: Yardstick, classes: Classes, places: Places) -> None:
    """Grows the trees, examines them on held-out ground as any member, and writes model, scores and record.

    Args:
        name: Its key in params.yaml.
        yardstick: Its block.
        classes: The legend.
        places: Inputs and outs.

    Raises:
        TrainingError: No training pixel is labelled and valid, or all are of one class.
        ContractError: Scenes of the grid differ in their channels or pixels.
    """
    reader = ChipReader(places.scenes, places.split, yardstick.grid)
    chips, stats = read_chips(places.split, yardstick.grid), read_stats(places.split, yardstick.grid)
    card = _draft_card(name, yardstick, classes, reader, chips, stats)
    for scene in sorted(set(chips["scene"])):
        contract.check(card, reader.scenes[scene])
    network = models.network(card)
    _tell_normalisation(network, card)
    features, labels = sample_pixels(network, reader, chips, yardstick)
    _check(name, yardstick.grid, labels, classes)
    fill(network.architecture, grow(features, labels, yardstick), classes.count)
    panels = Panels(reader, chips, stats)
    heldout = examine(name, Predictor(network, card, "cpu"), reader, chips, panels, _BATCH)
    scores = summary(heldout)
    headline = {key: scores["val"][key] for key in ("miou", "accuracy")} if "val" in scores else {}
    models.save_weights(network.architecture.state_dict(), places.model)
    write_card(card.model_copy(update={"metrics": headline}), places.model)
    write_json(scores, places.metrics)
    write_heldout(heldout, places.heldout)
    panels.write(places.heldout / "panels.npz")


def sample_pixels(
    network: models.Network, reader: ChipReader, chips: pd.DataFrame, yardstick: Yardstick
) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, F) float32 and class ids (N,) of labelled training pixels, drawn evenly over the ground.

    Each window of the chip table gives its share of `pixels`, so that memory is that of one window and the sample.
    """
    trees = _trees(network)
    rows = chips[(chips["part"] == "train") & (chips["labelled_px"] > 0)]
    share = min(1.0, yardstick.pixels / max(int(rows["labelled_px"].sum()), 1))
    random = np.random.default_rng(yardstick.seed)
    found: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    for scene, window in lattice(rows):
        target = reader.target(scene, window, "train")
        chosen = (target != IGNORE) & (random.random(target.shape) < share)
        if chosen.any():
            found.append(_features(network, trees, reader, scene, window)[chosen])
            labels.append(target[chosen])
    if not found:
        return np.zeros((0, 0), np.float32), np.zeros(0, np.uint8)
    return np.concatenate(found), np.concatenate(labels)


def grow(features: np.ndarray, labels: np.ndarray, yardstick: Yardstick) -> HistGradientBoostingClassifier:
    """scikit-learn's histogram trees of these pixels."""
    booster = HistGradientBoostingClassifier(
        max_iter=yardstick.trees, max_depth=yardstick.depth, max_leaf_nodes=_LEAVES, l2_regularization=_L2,
        learning_rate=yardstick.learning_rate, early_stopping=False, random_state=yardstick.seed)  # fmt: skip
    return booster.fit(features, labels)


def fill(architecture: torch.nn.Module, booster: Any, classes: int) -> None:
    """Writes grown trees into the architecture's tensors.

    A class that no training pixel has gets the lowest score everywhere.
    """
    trees = architecture
    if not isinstance(trees, BoostedTrees):
        raise TypeError(f"expected BoostedTrees, got {type(architecture).__name__}")
    present = [int(label) for label in booster.classes_]
    columns = [0] if classes == 2 else present
    if classes > 2:
        trees.start.fill_(-30.0)
    flat = np.ravel(booster._baseline_prediction)  # scikit-learn keeps its trees private; pinned and tested
    for number, column in enumerate(columns):
        trees.start[column] = float(flat[number] if classes == 2 or len(present) > 2 else 0.0)
    if classes > 2 and len(present) == 2:
        trees.start[present[1]] = float(flat[0])
        columns = [present[1]]
    for round_number, grown in enumerate(booster._predictors):
        for column, predictor in zip(columns, grown, strict=True):
            _fill_tree(trees, round_number * trees.scores + column, predictor.nodes)


def _tell_normalisation(network: models.Network, card: ModelCard) -> None:
    """Before any feature is made: band ratios are of physical values, in training as in prediction."""
    trees = _trees(network)
    trees.mean.copy_(torch.tensor(card.normalisation.mean))
    trees.std.copy_(torch.tensor([value or 1.0 for value in card.normalisation.std]))


def _fill_tree(trees: BoostedTrees, row: int, nodes: np.ndarray) -> None:
    """One tree of scikit-learn's node records into a complete tree, level by level."""
    places = [(0, 0)]  # (place in the complete tree, node)
    inner = trees.cut.shape[1]
    while places:
        place, number = places.pop()
        node = nodes[number]
        if place >= inner:
            trees.value[row, place - inner] = float(node["value"])
            continue
        if node["is_leaf"]:
            trees.cut[row, place] = torch.inf  # all go left; the right side repeats the value for NaN's sake
            places += [(2 * place + 1, number), (2 * place + 2, number)]
            continue
        trees.feature[row, place] = int(node["feature_idx"])
        trees.cut[row, place] = _below(float(node["num_threshold"]))
        places += [(2 * place + 1, int(node["left"])), (2 * place + 2, int(node["right"]))]


def _below(threshold: float) -> float:
    """The largest float32 not above a float64 threshold: float32 features then go the same way."""
    rounded = np.float32(threshold)
    return float(rounded if float(rounded) <= threshold else np.nextafter(rounded, np.float32(-np.inf)))


def _features(
    network: models.Network, trees: BoostedTrees, reader: ChipReader, scene: str, window: Window
) -> np.ndarray:
    """Features (h, w, F) of a window, whose neighbourhoods see what lies around it, but no test ground."""
    halo = trees.halo_px
    wide = Window(window.row - halo, window.col - halo, window.height + 2 * halo, window.width + 2 * halo)
    with torch.no_grad():
        inputs = network.normalise(torch.from_numpy(reader.read(scene, wide, "train")[0])[None])
        planes = trees.features(inputs)[0, :, halo : halo + window.height, halo : halo + window.width]
    return planes.permute(1, 2, 0).numpy()


def _trees(network: models.Network) -> BoostedTrees:
    if not isinstance(network.architecture, BoostedTrees):
        raise TypeError(f"expected BoostedTrees, got {type(network.architecture).__name__}")
    return network.architecture


def _draft_card(
    name: str, yardstick: Yardstick, classes: Classes, reader: ChipReader, chips: pd.DataFrame, stats: Stats
) -> ModelCard:
    rows = chips[(chips["part"] == "train") & (chips["labelled_px"] > 0)]
    if rows.empty:
        raise TrainingError(
            f"yardsticks.{name}: no pixel of part train on grid {yardstick.grid} is labelled and valid; bring masks "
            "that overlap the scenes (`masks`), or change `split`"
        )
    learnt = [reader.scenes[scene] for scene in sorted(set(rows["scene"]))]
    scenes = [scene.record for scene in learnt]
    source = Path(models.__file__).parent / f"{ARCHITECTURE}.py"
    options: dict[str, Any] = {"trees": yardstick.trees, "depth": yardstick.depth, "means_px": [*yardstick.means_px]}
    if scenes[0].dates:
        options["dates"] = len(scenes[0].dates)
    overlap = min(0.5, 2 * max((edge // 2 for edge in yardstick.means_px), default=0) / yardstick.window_px)
    pixel_m = [round(float(np.mean(reader.scenes[record.name].grid.pixel_m_yx)), 6) for record in scenes]
    return ModelCard(
        schema_version=SCHEMA, member=name, architecture=ARCHITECTURE, options=options,
        architecture_sha256=sha256(source.read_bytes()).hexdigest(), grid=yardstick.grid,
        pixel_m=pixel_m[0], pixel_m_range=(min(pixel_m), max(pixel_m)), channels=scenes[0].channels,
        deciles=stats.deciles, shares=stats.shares,
        normalisation=Normalisation(mean=stats.mean, std=stats.std), classes=classes.legend,
        window_px=yardstick.window_px, overlap=overlap, temperature=1.0, calibration=None,
        preparation=shared_preparation(learnt), metrics={}, epoch=0, git_commit=git_commit(),
        products=tuple(sorted({record.product for record in scenes})),
        packages={package: importlib.metadata.version(package) for package in PACKAGES})  # fmt: skip


def _check(name: str, grid: str, labels: np.ndarray, classes: Classes) -> None:
    present = np.unique(labels)
    if len(present) < 2:
        known = ", ".join(classes.names[label] for label in present) or "none"
        raise TrainingError(
            f"yardsticks.{name}: the sampled training pixels of grid {grid} have {len(present)} class ({known}), but "
            "two are needed to tell apart; raise `pixels`, or label more ground"
        )
