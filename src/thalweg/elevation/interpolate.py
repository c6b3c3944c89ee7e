"""Bilinear interpolation between the posts of a height model, of which some may not be measured."""

from collections.abc import Iterator

import numpy as np

from thalweg.grid import Window


def interpolate(posts: np.ndarray, inside: Window, rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean of the measured ones of the four posts around each position, and the sum of their weights."""
    top, left = np.floor(rows), np.floor(cols)
    down, across = (rows - top).astype(np.float32), (cols - left).astype(np.float32)
    row = np.clip(top.astype(np.intp) - inside.row + 1, 0, inside.height)
    col = np.clip(left.astype(np.intp) - inside.col + 1, 0, inside.width)
    first, width = row * posts.shape[1] + col, posts.shape[1]
    upper, lower = _between(posts, first, across), _between(posts, first + width, across)
    heights = upper + (lower - upper) * down
    weights = np.ones_like(heights)
    lacking = np.isnan(heights)
    if lacking.any():
        heights[lacking], weights[lacking] = _mean_of_measured(posts, inside, rows[lacking], cols[lacking])
    return heights, weights


def _between(posts: np.ndarray, first: np.ndarray, across: np.ndarray) -> np.ndarray:
    left, right = posts.ravel().take(first), posts.ravel().take(first + 1)
    return np.asarray(left + (right - left) * across)


def _mean_of_measured(
    posts: np.ndarray, inside: Window, rows: np.ndarray, cols: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The same where some of the four are not measured, or lie on the rim or beyond."""
    total, weight = np.zeros(rows.shape), np.zeros(rows.shape)
    top, left = np.floor(rows), np.floor(cols)
    for row, by_row in _neighbours(rows - top, top, inside.row, inside.height):
        for col, by_col in _neighbours(cols - left, left, inside.col, inside.width):
            value, share = posts[row, col], by_row * by_col
            share[np.isnan(value)] = 0
            total += share * np.nan_to_num(value)
            weight += share
    np.divide(total, weight, out=total, where=weight > 0)
    return total, weight


def _neighbours(
    part: np.ndarray, index: np.ndarray, first: int, length: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Index among the posts and their rim, and weight, of the two posts before and after each position."""
    before = index.astype(np.intp) - first + 1
    yield np.clip(before, 0, length + 1), 1 - part
    yield np.clip(before + 1, 0, length + 1), part
