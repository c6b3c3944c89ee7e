"""Statistics of the training pixels, from which inputs are normalised and a later shift of the input is told."""

import warnings

import numpy as np

from thalweg.distribution import Distribution
from thalweg.errors import DegradedDataWarning, SplitError
from thalweg.manifest.chips import PARTS, Stats
from thalweg.manifest.scene import Channel, Scene
from thalweg.split.tables import BAND_PX, bands

_PERCENTILES = (0.02, 0.5, 0.98)
_FLAT = ("month_sin", "month_cos", "filled")
_DECILES = tuple(tenth / 10 for tenth in range(1, 10))


class Statistics:
    """Distributions of all channels over valid training pixels, fed scene by scene and mergeable."""

    def __init__(self) -> None:
        self.channels: tuple[Channel, ...] = ()
        self.dtype = np.dtype(np.int16)
        self.pixels = 0
        self._parts: tuple[Distribution, ...] = ()

    def feed(self, scene: Scene, parts: np.ndarray, rows: tuple[int, int] | None = None) -> None:
        """Adds a scene's valid training pixels, band by band.

        Args:
            scene: Its pixels are read once, in windows of full width.
            parts: (H, W) uint8, values of `PARTS`.
            rows: Which of its rows, the first and the one behind the last; None: all.

        Raises:
            SplitError: The scene's channels are not those of the scenes before.
        """
        self._start(scene)
        for window in bands(scene.grid.shape_yx, BAND_PX, rows):
            chosen = (parts[window.rows, window.cols] == PARTS["train"]) & (scene.valid[window.rows, window.cols] > 0)
            if chosen.any():
                pixels = scene.image[window.rows, window.cols][chosen]
                self.pixels += len(pixels)
                for channel, distribution in enumerate(self._parts):
                    distribution.add(pixels[:, channel])

    def merge(self, other: "Statistics", what: str) -> None:
        """Adds what others, from `what`, have been fed: exactly for int16; for float32, mean and std to rounding.

        Raises:
            SplitError: Their channels differ.
        """
        if not self._parts:
            self._begin(other.channels, other.dtype)
        if other._parts:
            self._check(other.channels, other.dtype, what)
            self.pixels += other.pixels
            for mine, more in zip(self._parts, other._parts, strict=True):
                mine.merge(more)

    def stats(self, class_px: dict[str, int], parts_px: dict[str, dict[str, int]], leak_m: float | None,
              shown_m: float | None = None, hidden_fraction: float = 0.0) -> Stats:  # fmt: skip
        """Statistics in physical units; a nodata value inside a valid pixel does not count.

        Raises:
            SplitError: A channel has no measurement in any valid training pixel, or none has more than one value.
        """
        self._check_measured()
        percentiles = [part.quantiles(_PERCENTILES) for part in self._parts]
        p02, p50, p98 = (tuple(values) for values in zip(*percentiles, strict=True))
        deciles = tuple(part.quantiles(_DECILES) for part in self._parts)
        return Stats(
            channels=tuple(channel.name for channel in self.channels), mean=tuple(part.mean for part in self._parts),
            std=tuple(part.std for part in self._parts), p02=p02, p50=p50, p98=p98, deciles=deciles,
            shares=tuple(part.shares(edges) for part, edges in zip(self._parts, deciles, strict=True)),
            pixels=self.pixels, class_px=class_px, parts_px=parts_px, leak_m=leak_m,
            shown_m=shown_m, hidden_fraction=hidden_fraction,
        )  # fmt: skip

    def _start(self, scene: Scene) -> None:
        dtype = scene.image.dtype
        if not self._parts:
            self._begin(scene.record.channels, dtype)
        self._check(scene.record.channels, dtype, str(scene.folder))

    def _begin(self, channels: tuple[Channel, ...], dtype: np.dtype) -> None:
        self.channels, self.dtype = channels, dtype
        self._parts = tuple(Distribution(channel, dtype) for channel in channels)

    def _check(self, channels: tuple[Channel, ...], dtype: np.dtype, what: str) -> None:
        if (channels, dtype) != (self.channels, self.dtype):
            raise SplitError(
                f"{what} has the channels {_names(channels)}, other scenes of its grid have {_names(self.channels)}, "
                f"or their scales or types ({dtype}, {self.dtype}) differ; remove build/scenes and run `dvc repro`"
            )

    def _check_measured(self) -> None:
        """What has no value cannot be learned from; what has one value everywhere is a loss.

        Raises:
            SplitError: A channel has no value, or all have one each.
        """
        empty = [part.channel.name for part in self._parts if not part.count]
        if empty:
            raise SplitError(
                f"channel '{empty[0]}' is nodata in all {self.pixels} valid training pixels; drop it from params "
                "'grids' (a bin of a series: by its start, bins or max_gap), or see why preprocess found no data"
            )
        flat = [part.channel.name for part in self._parts if part.flat and not _may_be_flat(part.channel)]
        if not flat:
            return
        message = (
            f"channel(s) {', '.join(flat)} have one value each in all {self.pixels} valid training pixels; correct "
            "scale and offset under fetch.local.products, or drop them from params 'grids'"
        )
        if len(flat) == len(self._parts):
            raise SplitError(message)
        warnings.warn(message, DegradedDataWarning, stacklevel=2)


def _may_be_flat(channel: Channel) -> bool:
    """Whether one value everywhere is no loss: the season of a date, and the flag of filled values."""
    return channel.name.rpartition("/")[2] in _FLAT


def _names(channels: tuple[Channel, ...]) -> str:
    return " ".join(channel.name for channel in channels)
