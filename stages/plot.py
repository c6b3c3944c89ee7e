"""Stage plot: learning curves, confusion matrices, reliability and held-out panels of all members."""

from pathlib import Path

from thalweg import params, stage
from thalweg.params.classes import Classes
from thalweg.params.models import Member
from thalweg.params.yardsticks import Yardstick
from thalweg.plots import build_plots


def main() -> None:
    """Draws what the members learned and how they err.

    Reads build/history and build/heldout of every member and yardstick in params.yaml. Writes plots/ (CSV for
    `dvc plots show`, PNG).
    """
    classes, members, yardsticks = params.load(Classes), params.load_items(Member), params.load_items(Yardstick)
    with stage.outs("plots") as [plots]:
        build_plots(Path("build/history"), Path("build/heldout"), list(members), classes, plots,
                    list(yardsticks))  # fmt: skip


if __name__ == "__main__":
    stage.run(main)
