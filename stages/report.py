"""Stage report: one self-contained page about the run."""

from pathlib import Path

from thalweg import params, stage
from thalweg.params.classes import Classes
from thalweg.params.crossval import Crossval
from thalweg.params.ensembles import Ensemble
from thalweg.params.fetch import Fetch
from thalweg.params.models import Member
from thalweg.params.split import Split
from thalweg.params.yardsticks import Yardstick
from thalweg.report import Files, Plan, build_report


def main() -> None:
    """Writes the page that a reader opens first.

    Reads metrics/, plots/, maps/, build/scenes, build/split and build/raw/products.json. Writes report/index.html.
    """
    plan = Plan(fetch=params.load(Fetch), classes=params.load(Classes), split=params.load(Split),
                members=params.load_items(Member), yardsticks=params.load_items(Yardstick),
                ensembles=params.load_items(Ensemble), crossval=tuple(params.load_items(Crossval)))  # fmt: skip
    with stage.outs("report/index.html") as [page]:
        build_report(Files.below(Path()), plan, page)


if __name__ == "__main__":
    stage.run(main)
