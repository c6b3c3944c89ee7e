"""Masks of features, drawn onto parts of a scene's grid."""

import numpy as np

from thalweg.classes import IGNORE
from thalweg.grid import Grid, Window
from thalweg.params.masks import Vector
from thalweg.preprocess.masks.features import VectorLayer, read_features
from thalweg.preprocess.masks.meaning import OUTSIDE, Meaning, Strange
from thalweg.preprocess.masks.outlines import Outlines


class Vectors:
    """A mask of features."""

    def __init__(self, name: str, layer: VectorLayer, target: Grid, vector: Vector, meaning: Meaning,
                 everywhere: bool) -> None:  # fmt: skip
        """Reads the features; `everywhere`: it is this scene's own mask, even without a feature on it."""
        features = read_features(layer, target, vector.buffer_m)
        self.name = name
        self._layer, self._features, self._meaning = layer, features, meaning
        self._strange = Strange()
        self._ids = np.array([self._meant(value) for value in features.values], np.uint8)
        self._outlines = Outlines(features, target, vector.all_touched)
        self.reached = everywhere or self._outlines.any
        self.ground = meaning.zero if self.reached else None
        self._seen: set[int] = set()
        self._twice = 0

    def _meant(self, value: object) -> int:
        meant = self._meaning.of_feature(value)
        if meant is None:
            self._strange.add("nothing" if value is None else str(value), 1)
        return IGNORE if meant is None else meant

    def ids(self, part: Window) -> np.ndarray:
        """As `Drawing` says; a layer with any feature on the scene covers all of it."""
        drawn = self._outlines.burn(part)
        self._seen.update((np.unique(drawn[drawn > 0]) - 1).tolist())
        self._twice += self._contested(part)
        return np.asarray(np.concatenate([[OUTSIDE], self._ids]).astype(np.uint8)[drawn])

    def _contested(self, part: Window) -> int:
        """Pixels to which features of different classes lay claim."""
        classes = {int(number) for number in self._ids[self._outlines.near(part)]} - {IGNORE}
        if len(classes) < 2:
            return 0
        claims = np.zeros((part.height, part.width), np.uint8)
        for number in classes:
            claims += self._outlines.burn(part, self._ids == number) > 0
        return int(np.count_nonzero(claims > 1))

    def finish(self) -> list[str]:
        """As `Drawing` says."""
        self._strange.check(str(self._layer.path), self._meaning, "features")
        nothing = self._outlines.without_a_pixel(self._seen)
        name, empty = self.name, self._layer.empty
        lost, repaired = self._features.lost, self._features.repaired
        said = {
            f"{repaired} features of {name} cross themselves and were repaired": repaired,
            f"{empty} features of {name} have no geometry and were left out": empty,
            f"{lost} features of {name} have no area once they are repaired and were left out": lost,
            f"{nothing} features of {name} cover no pixel; set masks.vector.all_touched or buffer_m": nothing,
            f"features of {name} give {self._twice} pixels different classes; there the later in the file counts":
                self._twice,
        }  # fmt: skip
        return [text for text, count in said.items() if count]
