"""Time series: dates flattened into channels, date by date (t00/B02, t00/B03, …, t01/B02, …)."""

from torch import Tensor


def bands_of(channels: int, steps: int) -> int:
    """Bands per date.

    Raises:
        ValueError: The channels are not so many dates.
    """
    if not isinstance(steps, int) or steps < 1 or channels % steps:
        raise ValueError(f"steps should be the number of dates, which divides the {channels} channels, not {steps!r}")
    return channels // steps


def dates_of(inputs: Tensor, steps: int) -> Tensor:
    """(B, T·C, H, W) to (B, T, C, H, W)."""
    return inputs.reshape(len(inputs), steps, -1, *inputs.shape[2:])


def measured(series: Tensor) -> Tensor:
    """(B, T, C, H, W) to (B, T, 1, H, W): whether a date measured anything there; normalised nodata is 0."""
    return (series != 0).any(2, keepdim=True)
