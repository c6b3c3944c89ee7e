"""Stage report: one self-contained page about the run, and the STAC collection of its maps."""

from pathlib import Path

from thalweg import params, stage
from thalweg.maps.collection import find_items, write_collection
from thalweg.params.classes import Classes
from thalweg.params.crossval import Crossval
from thalweg.params.encoders import EncoderParams
from thalweg.params.ensembles import Ensemble
from thalweg.params.fetch import Fetch
from thalweg.params.models import Member
from thalweg.params.origin import find_origin
from thalweg.params.split import Split
from thalweg.params.yardsticks import Yardstick
from thalweg.report import Files, Plan, build_report


def main() -> None:
    """Writes the page that a reader opens first.

    Reads metrics/, plots/, maps/, ensembles/, build/, recipes/ and, where there are any, the records of the members'
    runs. Writes report/index.html, and report/collection.json, the STAC collection of the maps.
    """
    plan = Plan(fetch=params.load(Fetch), classes=params.load(Classes), split=params.load(Split),
                members=params.load_items(Member), yardsticks=params.load_items(Yardstick),
                ensembles=params.load_items(Ensemble), crossval=tuple(params.load_items(Crossval)),
                encoders=tuple(params.load_items(EncoderParams)),
                origin=find_origin(params.PARAMS_FILE, Path("recipes")))  # fmt: skip
    files = Files.below(Path())
    with stage.outs("report/index.html", "report/collection.json") as [page, collection]:
        build_report(files, plan, page)
        write_collection(find_items(files.maps, plan.ensembles), collection, Path("report"))


if __name__ == "__main__":
    stage.run(main)
