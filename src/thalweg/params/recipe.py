"""A whole params file: every section, and what must agree between them. Used by `make check` and `make use`."""

from pathlib import Path

from thalweg.errors import ParamsError
from thalweg.params import load, load_items, read_yaml
from thalweg.params.classes import Classes
from thalweg.params.crossval import Crossval
from thalweg.params.ensembles import Ensemble
from thalweg.params.fetch import Fetch
from thalweg.params.grids import GridParams
from thalweg.params.masks import Masks
from thalweg.params.models import ClassWeights, Member
from thalweg.params.split import Split
from thalweg.params.train import Train
from thalweg.params.yardsticks import Yardstick

_PLAIN = (Fetch, Classes, Masks, Split, Train)
_ITEMS = (GridParams, Member, Crossval, Yardstick, Ensemble)


class Recipe:
    """All sections of one params file, validated one by one and against each other.

    Raises:
        ParamsError: A section is unknown, a value does not fit, or a name points nowhere.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        raw = read_yaml(path)
        known = {model.section for model in (*_PLAIN, *_ITEMS)}
        for name in raw:
            if name not in known:
                raise ParamsError(f"{path}: unknown section '{name}'; known are {', '.join(sorted(known))}")
        self.fetch = load(Fetch, path=path)
        self.classes = load(Classes, path=path)
        self.masks = load(Masks, path=path)
        self.split = load(Split, path=path)
        self.train = load(Train, path=path)
        self.grids = load_items(GridParams, path)
        self.models = load_items(Member, path)
        self.crossval = load_items(Crossval, path)
        self.yardsticks = load_items(Yardstick, path)
        self.ensembles = load_items(Ensemble, path)
        self._check_names()
        self._check_class_names()
        self._check_yardsticks()
        self._check_thresholds()
        self._check_weights()

    def _check_names(self) -> None:
        for section, items in (("grids", self.grids), ("models", self.models), ("ensembles", self.ensembles)):
            if not items:
                raise ParamsError(f"{self.path}: '{section}' is empty; the pipeline needs at least one")
        for name, member in self.models.items():
            if member.grid not in self.grids:
                raise ParamsError(f"{self.path}: models.{name}.grid is '{member.grid}', which 'grids' does not have")
        for name in self.crossval:
            if name not in self.models:
                raise ParamsError(f"{self.path}: crossval names '{name}', which 'models' does not have")
        for name, ensemble in self.ensembles.items():
            if ensemble.grid not in self.grids:
                raise ParamsError(
                    f"{self.path}: ensembles.{name}.grid is '{ensemble.grid}', which 'grids' does not have"
                )
            for member_name in ensemble.members:
                if member_name not in {*self.models, *self.yardsticks}:
                    raise ParamsError(
                        f"{self.path}: ensembles.{name} names '{member_name}', which neither 'models' nor "
                        f"'yardsticks' has"
                    )
        for grid in self.grids:
            if grid not in self.split.chip_px:
                raise ParamsError(f"{self.path}: split.chip_px lacks the grid '{grid}'")

    def _check_class_names(self) -> None:
        for value, name in self.masks.values.items():
            if name not in (*self.classes.names, "unlabelled"):
                raise ParamsError(f"{self.path}: masks.values maps {value} to '{name}', which 'classes' does not have")
        if self.masks.other not in (*self.classes.names, "unlabelled", "error"):
            raise ParamsError(f"{self.path}: masks.other is '{self.masks.other}', which 'classes' does not have")

    def _check_weights(self) -> None:
        for name, member in self.models.items():
            weights = member.class_weights
            given = len(weights.given) if isinstance(weights, ClassWeights) else 0
            if given not in (0, self.classes.count):
                raise ParamsError(
                    f"{self.path}: models.{name}.class_weights.given has {given} weights for {self.classes.count} "
                    "classes; give one per class, in their order"
                )

    def _check_yardsticks(self) -> None:
        for name, yardstick in self.yardsticks.items():
            if yardstick.grid not in self.grids:
                raise ParamsError(
                    f"{self.path}: yardsticks.{name}.grid is '{yardstick.grid}', which 'grids' does not have"
                )
            if name in self.models:
                raise ParamsError(f"{self.path}: '{name}' names a model and a yardstick; rename one")
        if "summary" in {*self.models, *self.yardsticks}:
            raise ParamsError(
                f"{self.path}: a member cannot be called 'summary', as metrics/summary.json is; rename it"
            )

    def _check_thresholds(self) -> None:
        for name, ensemble in self.ensembles.items():
            if ensemble.threshold == "iou" and self.classes.count != 2:
                raise ParamsError(
                    f"{self.path}: ensembles.{name}.threshold is iou, which is for two classes, but there are "
                    f"{self.classes.count}; set it to argmax"
                )
