"""One data stage on whatever engine the environment names, in a process of its own: `engine_runner.py <act> <tag>`."""

from pathlib import Path

from ensemble_builder import make_ensemble
from product_builder import CLASSES, grid_params, mask_params

from thalweg import stage
from thalweg.executor import open_executor
from thalweg.preprocess import build_scenes


def scenes(tag: str) -> None:
    """Of build/raw."""
    grid = grid_params(resolution_m=None, bands=("B03",), channels=("sqrt(B03)",))
    with open_executor() as executor:
        build_scenes(Path("raw"), Path("masks"), "g", grid, mask_params(), CLASSES, Path(tag, "out"),
                     Path(tag, "store"), executor=executor)  # fmt: skip


def maps(tag: str) -> None:
    """Of the folder's models and scenes."""
    from thalweg.ensemble import build_map

    out = Path(tag, "out")
    out.mkdir(parents=True)
    ensemble = make_ensemble(members=("one", "two"), outputs={
        "probs": "uint16", "members": True, "masks": False, "polygons": None, "lines": None})  # fmt: skip
    with open_executor(gpu=True) as executor:
        build_map("main", ensemble, CLASSES, models=Path("models"), scenes_root=Path("scenes"), split=Path("split"),
                  map_dir=out / "map", card_dir=out / "card", metrics_path=out / "metrics.json", device="cpu",
                  resume=Path(tag, "resume"), place=Path("maps/main"), executor=executor)  # fmt: skip


def main(act: str, tag: str) -> None:
    """Runs it as stages are run: our errors are one line."""
    {"scenes": scenes, "maps": maps}[act](tag)


if __name__ == "__main__":
    stage.run(main)
