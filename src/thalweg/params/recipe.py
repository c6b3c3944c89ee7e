"""A whole params file: every section, and what must agree between them. Used by `make check` and `make use`."""

from pathlib import Path

from thalweg.errors import ParamsError
from thalweg.params import NOTHING, load, load_items, read_yaml
from thalweg.params.classes import Classes
from thalweg.params.crossval import Crossval
from thalweg.params.encoders import EncoderParams
from thalweg.params.ensembles import Ensemble
from thalweg.params.fetch import Fetch
from thalweg.params.grids import GridParams
from thalweg.params.masks import Masks
from thalweg.params.models import ClassWeights, Member
from thalweg.params.round import Round
from thalweg.params.split import Split
from thalweg.params.train import Train
from thalweg.params.yardsticks import Yardstick

_PLAIN = (Fetch, Classes, Masks, Split, Round, Train)
_ITEMS = (GridParams, EncoderParams, Member, Crossval, Yardstick, Ensemble)


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
        self.round = load(Round, path=path)
        self.train = load(Train, path=path)
        self.grids = load_items(GridParams, path)
        self.encoders = load_items(EncoderParams, path)
        self.models = load_items(Member, path)
        self.crossval = load_items(Crossval, path)
        self.yardsticks = load_items(Yardstick, path)
        self.ensembles = load_items(Ensemble, path)
        self._check_names()
        self._check_class_names()
        self._check_yardsticks()
        self._check_maps()
        self._check_weights()
        self._check_order()
        self._check_encoders()

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

    def _check_order(self) -> None:
        """What a member comes after is there, of its grid, and does not come after the member itself."""
        for name, member in self.models.items():
            if name in self.crossval and member.after != NOTHING:
                raise ParamsError(
                    f"{self.path}: crossval names '{name}', which comes after {member.after}: that saw ground of "
                    f"every fold; set models.{name}.after to {NOTHING}, or take it out of crossval"
                )
            seen, at = [name], member
            while at.after.startswith("models/"):
                first = at.after.removeprefix("models/")
                if first not in self.models:
                    raise ParamsError(
                        f"{self.path}: models.{seen[-1]}.after is '{at.after}', but 'models' has no {first}"
                    )
                if first in seen:
                    raise ParamsError(
                        f"{self.path}: models {' → '.join([*seen, first])} wait for each other by 'after'"
                    )
                if self.models[first].grid != member.grid:
                    raise ParamsError(
                        f"{self.path}: models.{name} of grid {member.grid} comes after {first} of grid "
                        f"{self.models[first].grid}; give both the same grid"
                    )
                seen, at = [*seen, first], self.models[first]
            self._check_judge(name, member)
            if at.after != NOTHING and not at.after.startswith("encoders/"):
                raise ParamsError(
                    f"{self.path}: models.{seen[-1]}.after is '{at.after}'; give models/<member>, encoders/<encoder>, "
                    f"or {NOTHING} for nothing"
                )

    def _check_judge(self, name: str, member: Member) -> None:
        """A loss that cannot be reduced is one on chips that the judge never saw."""
        if not member.compares:
            return
        judge = self.models[member.after.removeprefix("models/")].holdout
        mine = member.holdout
        if mine is None or judge is None or judge.model_copy(update={"use": mine.use}) != mine or judge.use == mine.use:
            raise ParamsError(
                f"{self.path}: models.{name} learns by {' and '.join(member.compares)}, so it and {member.after} must "
                "share no block: give both the same holdout.share and seed, with use: holdout in the judge and "
                "use: rest here"
            )

    def _check_encoders(self) -> None:
        """Grids of encoders are there, and a member that starts from one has the channels that it learnt on."""
        for name, encoder in self.encoders.items():
            if encoder.grid not in self.grids:
                raise ParamsError(f"{self.path}: encoders.{name}.grid is '{encoder.grid}', which 'grids' does not have")
        for name, member in self.models.items():
            if not member.after.startswith("encoders/"):
                continue
            first = member.after.removeprefix("encoders/")
            if first not in self.encoders:
                known = ", ".join(self.encoders) or "nothing"
                raise ParamsError(
                    f"{self.path}: models.{name}.after is '{member.after}', but 'encoders' has no {first}; it has "
                    f"{known}"
                )
            if self.encoders[first].depth < int(member.options.get("depth", 0)):
                raise ParamsError(
                    f"{self.path}: models.{name}.options.depth is {member.options['depth']}, but {member.after} is "
                    f"pre-trained to depth {self.encoders[first].depth}; lower the one or raise the other"
                )
            mine, theirs = (_channels(self.grids[grid]) for grid in (member.grid, self.encoders[first].grid))
            if mine != theirs:
                raise ParamsError(
                    f"{self.path}: models.{name} of grid {member.grid} has the channels {mine}, but {member.after} of "
                    f"grid {self.encoders[first].grid} has {theirs}; give both the same"
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

    def _check_maps(self) -> None:
        for name, ensemble in self.ensembles.items():
            if ensemble.threshold == "iou" and self.classes.count != 2:
                raise ParamsError(
                    f"{self.path}: ensembles.{name}.threshold is iou, which is for two classes, but there are "
                    f"{self.classes.count}; set it to argmax"
                )
            if ensemble.area is not None and not ensemble.area.startswith("masks/areas/"):
                raise ParamsError(
                    f"{self.path}: ensembles.{name}.area is '{ensemble.area}'; put the file into masks/areas, so that "
                    "the map is made again when it changes"
                )
            lines = ensemble.outputs.lines
            if lines and lines.name not in self.classes.names:
                raise ParamsError(
                    f"{self.path}: ensembles.{name}.outputs.lines.class is '{lines.name}', which 'classes' does not "
                    "have; correct it"
                )


def _channels(grid: GridParams) -> str:
    """Channels of a scene in order, and how often where they come date by date."""
    names = ", ".join((*grid.bands, *grid.channels, *(band for other in grid.further for band in other.bands)))
    return names if grid.series is None else f"{grid.series.bins} × {names}"


SECTIONS = (*((model, False) for model in _PLAIN), *((model, True) for model in _ITEMS))
"""Model of every section, and whether it maps names to such."""
