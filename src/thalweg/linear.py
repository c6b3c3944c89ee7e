"""Scores for borders and thin things, as counts that add up over windows and scenes.

Where nobody said what there is (255), nothing is judged: unlabelled pixels count neither as truth nor as prediction,
and the rim between them and the rest is no border.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import binary_dilation, distance_transform_edt
from skimage.morphology import skeletonize

from thalweg.classes import IGNORE

TOLERANCE_PX = 2
"""Distance within which a border or a line counts as met, pixels."""


class Pair(NamedTuple):
    """A share in the making."""

    part: int
    whole: int

    @property
    def share(self) -> float | None:
        """0…1, or None where there is nothing to share."""
        return self.part / self.whole if self.whole else None


class Counts(NamedTuple):
    """Of one class; `None` and zero wholes stay apart, so that an absent class has no score."""

    boundary: Pair
    """Boundary intersection over boundary union."""
    precision: Pair
    """Predicted pixels within the tolerance of true ones."""
    recall: Pair
    """True pixels within the tolerance of predicted ones."""
    centre_precision: Pair
    """Pixels of the prediction's centreline that lie in the truth."""
    centre_recall: Pair
    """Pixels of the truth's centreline that lie in the prediction."""

    def plus(self, other: "Counts") -> "Counts":
        """The sum."""
        return Counts(*(Pair(a.part + b.part, a.whole + b.whole) for a, b in zip(self, other, strict=True)))


NOTHING = Counts(*(Pair(0, 0),) * 5)


def count(truth: np.ndarray, labels: np.ndarray, label: int) -> Counts:
    """Counts of one class.

    Source: boundary IoU: Cheng, Girshick, Dollár, Berg, Kirillov 2021, https://arxiv.org/abs/2103.16562, with a fixed
    distance; buffered ("relaxed") precision and recall: Mnih 2013, Machine Learning for Aerial Image Labeling, section
    4; clDice: Shit et al. 2021, https://arxiv.org/abs/2003.07311.

    Args:
        truth: (H, W) uint8 class ids, 255 = unlabelled.
        labels: (H, W) uint8 predicted class ids.
        label: The class.
    """
    known = truth != IGNORE
    there, said = (truth == label) & known, (labels == label) & known
    if not there.any() and not said.any():
        return NOTHING
    rim, said_rim = _rim(there, known), _rim(said, known)
    line, said_line = _centreline(there), _centreline(said)
    return Counts(
        boundary=_pair(rim & said_rim, rim | said_rim),
        precision=_pair(said & _near(there), said),
        recall=_pair(there & _near(said), there),
        centre_precision=_pair(said_line & there, said_line),
        centre_recall=_pair(line & said, line),
    )


def scores(counts: Counts, name: str) -> dict[str, float]:
    """Flat scores, keys `<metric>_<class>`: `boundary_iou`, `buffered_precision`, `buffered_recall`, `cldice`."""
    found = {
        f"boundary_iou_{name}": counts.boundary.share,
        f"buffered_precision_{name}": counts.precision.share,
        f"buffered_recall_{name}": counts.recall.share,
        f"cldice_{name}": _harmonic(counts.centre_precision.share, counts.centre_recall.share),
    }
    return {key: value for key, value in found.items() if value is not None}


def _rim(mask: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Pixels of a mask within the tolerance of what is known not to be of it."""
    outside = known & ~mask
    if not outside.any():
        return np.zeros_like(mask)
    reach = distance_transform_edt(~outside) <= TOLERANCE_PX
    return np.asarray(mask & reach)


def _centreline(mask: np.ndarray) -> np.ndarray:
    thin: Any = skeletonize
    return np.asarray(thin(mask))


def _near(mask: np.ndarray) -> np.ndarray:
    """Pixels within the tolerance of a mask, as the crow flies."""
    steps = np.arange(-TOLERANCE_PX, TOLERANCE_PX + 1)
    disk = steps[:, None] ** 2 + steps**2 <= TOLERANCE_PX**2
    return np.asarray(binary_dilation(mask, disk))


def _pair(part: np.ndarray, whole: np.ndarray) -> Pair:
    return Pair(int(np.count_nonzero(part)), int(np.count_nonzero(whole)))


def _harmonic(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return None if one is None and other is None else 0.0
    return 2 * one * other / (one + other) if one + other else 0.0
