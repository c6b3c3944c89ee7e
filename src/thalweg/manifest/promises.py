"""A promised error rate: what was chosen for it on validation, and what it came to elsewhere."""

from thalweg.manifest import Record


class SetRule(Record):
    """A class is in a pixel's set where its probability is at least `least`."""

    rate: float
    """Wanted share of pixels whose set lacks the true class."""
    least: float
    """0…1; 0: so few pixels that only the set of all classes is safe."""
    pixels: int
    groups: int
    mean_size: float
    """Classes per set, on the pixels that it was chosen on."""
    missed_elsewhere: dict[str, float]
    """Group → share of its pixels missed by the rule that the other groups give; empty with one group."""


class AbstainRule(Record):
    """A pixel keeps its label where that label's probability is at least `least`, and is left out elsewhere."""

    rate: float
    """Wanted share of wrong labels among those given."""
    least: float
    """0…1, or above 1 where no cut-off reaches the rate, so that nothing gets a label."""
    pixels: int
    groups: int
    labelled: float
    """Share of pixels that get a label, on those that it was chosen on."""
    wrong_elsewhere: dict[str, float]
    """Group → share of wrong labels among those that the rule of the others gives; a group without is left out."""


class Kept(Record):
    """What a promise came to on the pixels of one part."""

    pixels: int
    wrong: int
    """sets: whose set lacks the true class; abstain: whose given label is not the true one."""
    given: int
    """sets: classes in all sets together; abstain: pixels that keep their label."""

    def scores(self, kind: str) -> dict[str, float]:
        """The observed error, and what it costs: classes per set, or the share of pixels that keep a label."""
        if kind == "sets":
            return {"sets_error": self.wrong / max(self.pixels, 1), "sets_size": self.given / max(self.pixels, 1)}
        return {"abstain_error": self.wrong / max(self.given, 1), "abstain_labelled": self.given / max(self.pixels, 1)}
