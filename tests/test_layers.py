"""Imports flow one way: the rooms' layers of design.md section 4, and no cycles."""

from graphlib import TopologicalSorter

from import_graph import imported, modules, ours

LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "classes", "bands", "grid", "params"}),
    frozenset({"raster", "manifest", "machine", "vectors", "mapfiles", "qgis", "bucket"}),
    frozenset({"sources", "products", "preprocess", "indices", "composite", "elevation", "elevation_tiles", "sample",
               "dataset", "split", "folds", "distribution", "class_weights", "contract", "models", "losses", "backbones",
               "weights", "reducers", "metrics", "thresholds", "doubt", "places", "linear", "http", "copernicus", "stac", "bring", "layout",
               "mask_catalogue", "unpack", "guard"}),
    frozenset({"task", "optimise", "active", "loading", "train", "crossval", "fit", "finish", "resume", "trainer", "pretrain", "watch", "world", "shards", "examine", "infer", "ensemble", "mosaic", "layers", "prepare", "export", "onnx_runner", "bundle", "predict", "evaluate",
               "maps", "scoring", "yardstick", "calibrate", "conformal", "assess", "parcels", "pseudo", "suggest", "polygons", "centrelines", "report", "cautions", "atlas", "blockmap", "ruled", "figures", "pictures",
               "standings", "plots", "qgis_project", "curves", "by_class", "datapage", "effort", "explorer", "locator", "worst",
               "features", "probe", "embeddings", "profiling", "repack", "trial"}),
    frozenset({"stage", "cli", "commands", "outcome", "recipes", "jobs", "ensemble_jobs", "salvage", "summary", "unattended", "provision", "submit", "doctor", "reference", "executor"}),
)  # fmt: skip
"""Rooms from the bottom up: words, disk, science, acts, edge."""
BESIDE: dict[str, frozenset[str]] = {
    "params": frozenset({"errors", "classes"}),
    "split": frozenset({"distribution"}),
    "folds": frozenset({"split"}),
    "guard": frozenset({"split"}),
    "suggest": frozenset({"pseudo"}),
    "contract": frozenset({"distribution"}),
    "manifest": frozenset({"raster"}),
    "mapfiles": frozenset({"raster"}),
    "thresholds": frozenset({"metrics"}),
    "preprocess": frozenset({"products", "indices", "composite", "elevation"}),
    "sources": frozenset({"sample", "http", "copernicus", "stac", "bring", "elevation_tiles", "layout", "unpack"}),
    "stac": frozenset({"bring", "copernicus", "http", "products"}),
    "bring": frozenset({"http"}),
    "elevation_tiles": frozenset({"bring", "http", "sources"}),
    "layout": frozenset({"sources"}),
    "mask_catalogue": frozenset({"bring", "http", "sources"}),
    "copernicus": frozenset({"http", "products", "sample"}),
    "models": frozenset({"backbones", "composite", "weights"}),
    "backbones": frozenset({"weights"}),
    "active": frozenset({"infer"}),
    "loading": frozenset({"active", "world"}),
    "shards": frozenset({"trainer"}),
    "world": frozenset({"shards"}),
    "train": frozenset({"active", "loading", "task", "fit", "finish", "resume", "shards", "watch", "world"}),
    "finish": frozenset({"calibrate", "examine", "infer", "trainer"}),
    "pretrain": frozenset({"resume", "trainer", "watch"}),
    "crossval": frozenset({"resume", "train", "world"}),
    "fit": frozenset({"active", "loading", "task", "resume", "optimise", "trainer", "watch", "world"}),
    "task": frozenset({"optimise", "shards", "world"}),
    "examine": frozenset({"infer"}),
    "ensemble": frozenset(
        {"calibrate", "centrelines", "conformal", "infer", "layers", "maps", "mosaic", "polygons", "scoring"}
    ),
    "infer": frozenset({"maps"}),
    "layers": frozenset({"calibrate", "infer", "maps"}),
    "mosaic": frozenset({"maps"}),
    "scoring": frozenset({"maps"}),
    "report": frozenset(
        {
            "atlas",
            "blockmap",
            "cautions",
            "datapage",
            "effort",
            "explorer",
            "locator",
            "pictures",
            "ruled",
            "standings",
            "worst",
        }
    ),
    "datapage": frozenset({"explorer", "pictures"}),
    "explorer": frozenset({"mosaic", "pictures"}),
    "locator": frozenset({"blockmap"}),
    "blockmap": frozenset({"ruled"}),
    "worst": frozenset({"figures", "pictures"}),
    "cautions": frozenset({"standings"}),
    "atlas": frozenset({"blockmap", "explorer", "maps", "mosaic", "pictures"}),
    "yardstick": frozenset({"examine", "infer"}),
    "plots": frozenset({"by_class", "curves", "figures"}),
    "by_class": frozenset({"curves", "figures"}),
    "curves": frozenset({"figures"}),
    "salvage": frozenset({"summary"}),
    "unattended": frozenset({"salvage"}),
    "ensemble_jobs": frozenset({"jobs"}),
    "commands": frozenset({"doctor", "ensemble_jobs", "executor", "reference", "salvage", "submit"}),
    "doctor": frozenset({"executor", "recipes", "salvage"}),
    "executor": frozenset({"stage"}),
    "qgis_project": frozenset({"maps"}),
    "onnx_runner": frozenset({"infer"}),
    "export": frozenset({"infer", "onnx_runner"}),
    "predict": frozenset({"bundle", "ensemble", "infer", "onnx_runner", "prepare"}),
    "evaluate": frozenset({"infer", "maps", "predict", "scoring"}),
    "features": frozenset({"infer", "pretrain"}),
    "probe": frozenset({"features", "pretrain", "trainer"}),
    "embeddings": frozenset({"features", "figures", "watch"}),
    "profiling": frozenset({"active", "infer", "loading", "optimise", "task", "train", "watch"}),
    "repack": frozenset({"prepare"}),
    "trial": frozenset({"train"}),
    "cli": frozenset(
        {"commands", "stage", "jobs", "outcome", "recipes", "salvage", "summary", "unattended", "provision"}
    ),
}
"""Room → rooms of its own layer that it may import."""


def room(name: str) -> str:
    parts = name.split(".")
    return "stages" if parts[0] == "stages" else (parts[1] if len(parts) > 1 else "thalweg")


def layer(name: str) -> int:
    found = [number for number, rooms in enumerate(LAYERS) if room(name) in rooms]
    assert found, f"{name} is in no room of design.md section 4; give it one, here and there"
    return found[0]


def allowed(name: str, other: str) -> bool:
    """Whether a module may import another."""
    if room(name) == room(other):
        return True
    below = layer(other) < layer(name)
    return below or room(other) in BESIDE.get(room(name), frozenset())


def test_a_module_imports_lower_layers_only():
    names = [name for name in modules() if name.startswith("thalweg.")]
    faults = [f"{name} imports {other}" for name in names for other in sorted(ours(name) - {"thalweg"})
              if not allowed(name, other)]  # fmt: skip
    assert not faults, "\n".join(faults)


def test_stages_meet_through_files():
    for name in modules():
        assert not {other for other in imported(name) if other.startswith("stages.")}, name


def test_no_module_imports_in_a_circle():
    graph = {name: ours(name) - {"thalweg"} for name in modules()}
    for name, others in graph.items():
        graph[name] = {other for other in others if not name.startswith(f"{other}.")}
    TopologicalSorter(graph).prepare()


def test_what_is_listed_beside_is_used():
    used = {(room(name), room(other)) for name in modules() for other in ours(name)}
    listed = {(one, other) for one, others in BESIDE.items() for other in others}
    assert not listed - used
