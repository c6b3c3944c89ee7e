"""Which chips an epoch sees: a plan that follows from (seed, epoch) alone, whatever was drawn before or by whom."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from thalweg.dataset.chips import Place
from thalweg.grid import Window


def draw(chips: pd.DataFrame, count: int, chip_px: int, shapes: Mapping[str, tuple[int, int]],
         seed: int, epoch: int, weights: np.ndarray | None = None) -> list[Place]:  # fmt: skip
    """The training windows of one epoch, in order.

    Rows of the chip table are drawn in proportion to their weights, by systematic sampling: one random start and equal
    steps, so that an epoch covers the ground evenly. Each window is then moved at random by up to half its
    row's edge, kept inside the scene where that is large enough, and the order is shuffled.

    Args:
        chips: Rows of the chip table, all of the training part.
        count: Windows to draw.
        chip_px: Edge of a window; the table's own windows may have another.
        shapes: (rows, columns) per scene.
        seed: The member's.
        epoch: From 0.
        weights: One per row; None for its labelled pixels.
    """
    random = np.random.default_rng([seed, epoch])
    share = (chips["labelled_px"].to_numpy(float) if weights is None else weights).cumsum()
    rows = np.searchsorted(share / share[-1], (np.arange(count) + random.random()) / count, side="right")
    picked = chips.iloc[random.permutation(np.minimum(rows, len(chips) - 1))]
    size = picked["size"].to_numpy()
    moved = random.uniform(-0.5, 0.5, (2, count)) * size + (size - chip_px) / 2
    starts = np.rint(picked[["row", "col"]].to_numpy().T + moved).astype(int)
    return [
        Place(
            scene,
            Window(_inside(row, shapes[scene][0], chip_px), _inside(col, shapes[scene][1], chip_px), chip_px, chip_px),
        )
        for scene, row, col in zip(picked["scene"], *starts.tolist(), strict=True)
    ]


def tour(chips: pd.DataFrame, count: int, chip_px: int, shapes: Mapping[str, tuple[int, int]],
         seed: int, epoch: int) -> list[Place]:  # fmt: skip
    """The training windows of one epoch of the sampler `grid`, in order.

    Every row of the chip table is covered by windows of `chip_px`, evenly spread and inside the row (round its middle
    where they are larger). Epochs go through them in shuffled order, each once before any comes again.
    """
    places = [
        Place(
            scene,
            Window(_inside(y, shapes[scene][0], chip_px), _inside(x, shapes[scene][1], chip_px), chip_px, chip_px),
        )
        for scene, (row, col, size, _) in lattice(chips)
        for y in _spread(row, size, chip_px)
        for x in _spread(col, size, chip_px)
    ]
    turn, first = divmod(epoch * count, len(places))
    order: list[int] = []
    while len(order) < first + count:
        order += np.random.default_rng([seed, turn]).permutation(len(places)).tolist()
        turn += 1
    return [places[number] for number in order[first : first + count]]


def lattice(chips: pd.DataFrame) -> list[Place]:
    """The windows of the chip table's rows as they stand, once each."""
    columns = (chips[name] for name in ("scene", "row", "col", "size"))
    return [Place(scene, Window(row, col, size, size)) for scene, row, col, size in zip(*columns, strict=True)]


class EpochSampler:
    """A sampler for torch's loader that yields the places of an epoch; Lightning calls `set_epoch`."""

    def __init__(
        self, chips: pd.DataFrame, count: int, chip_px: int, shapes: Mapping[str, tuple[int, int]], seed: int,
        weights: np.ndarray | None = None, by: str = "random",
    ) -> None:  # fmt: skip
        """Takes what `draw` (`by` random, with its weights) or `tour` (`by` grid) takes."""
        self._plan = (chips, count, chip_px, dict(shapes), seed)
        self._weights, self._by = weights, by
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose plan the next iteration follows."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self._plan[1]

    def __iter__(self) -> Iterator[Place]:
        if self._by == "grid":
            return iter(tour(*self._plan, epoch=self.epoch))
        return iter(draw(*self._plan, epoch=self.epoch, weights=self._weights))


class Shared:
    """Batches of a sampler's places, of which a process takes its share: a batch sampler for torch's loader.

    Together, in the order of their ranks, the processes see each batch as one process would. Where a batch does not
    divide, windows beyond the scene stand in, which hold nothing.
    """

    def __init__(self, sampler: "EpochSampler | Sequence[Place]", batch_size: int, rank: int, size: int,
                 whole: bool) -> None:  # fmt: skip
        """Takes what all processes together see: places, chips of a batch, and whether a last part of one is left out.

        `rank` of `size` is this process.
        """
        self.sampler, self.batch_size = sampler, batch_size
        self._rank, self._size, self._whole = rank, size, whole

    def __len__(self) -> int:
        return len(self.sampler) // self.batch_size if self._whole else -(-len(self.sampler) // self.batch_size)

    def __iter__(self) -> Iterator[list[Place]]:
        places = list(self.sampler)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            batch = places[start : start + self.batch_size]
            each = -(-len(batch) // self._size)
            batch += [_nowhere(batch[0])] * (each * self._size - len(batch))
            yield batch[self._rank * each : (self._rank + 1) * each]


def _nowhere(place: Place) -> Place:
    """A window of the same size beyond the scene's corner."""
    height, width = place.window.height, place.window.width
    return Place(place.scene, Window(-height, -width, height, width))


def _spread(start: int, size: int, chip_px: int) -> list[int]:
    """Where windows of `chip_px` start that cover `size` pixels from `start` on, evenly spread."""
    number = max(-(-size // chip_px), 1)
    if number == 1:
        return [start + (size - chip_px) // 2]
    return [start + round(k * (size - chip_px) / (number - 1)) for k in range(number)]


def _inside(start: int, length_px: int, chip_px: int) -> int:
    """Moves a window into the scene; where the scene is smaller than a window, the scene into the window."""
    spare = length_px - chip_px
    return min(max(start, min(spare, 0)), max(spare, 0))
