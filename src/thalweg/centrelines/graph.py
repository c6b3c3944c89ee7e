"""A skeleton as a graph: which pixels follow each other, twigs cut off, and the paths between its nodes.

Pixels are linked to their neighbours by edges, and by corners only where no shared neighbour links them already (mixed
adjacency), so that lines cross at a pixel or not at all.

Source: Gonzalez and Woods, Digital Image Processing, section 2.5.1 (m-adjacency).
"""

from collections.abc import Iterator

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from thalweg.centrelines.skeleton import Skeleton


def link(skeleton: Skeleton) -> np.ndarray:
    """(E, 2) int64: pixels that follow each other, by their place in the skeleton."""
    rows, cols = skeleton.rows, skeleton.cols
    pitch = int(cols.max(initial=0)) + 3
    codes = rows * pitch + cols + 1

    def at(down: int, right: int) -> np.ndarray:
        """Place of each pixel's neighbour, −1 where there is none."""
        wanted = codes + down * pitch + right
        place = np.minimum(np.searchsorted(codes, wanted), max(len(codes) - 1, 0))
        return np.where(codes[place] == wanted, place, -1) if len(codes) else place

    below, right, left = at(1, 0), at(0, 1), at(0, -1)
    links = [_linked(below, below >= 0), _linked(right, right >= 0)]
    for side, beside in ((1, right), (-1, left)):
        corner = at(1, side)
        links.append(_linked(corner, (corner >= 0) & (beside < 0) & (below < 0)))
    return np.concatenate(links)


def prune(skeleton: Skeleton, widths: float, pixel_m_yx: tuple[float, float]) -> Skeleton:
    """The skeleton without its twigs: dead ends shorter than so many times the width where they branch off.

    In each round every branching loses its shortest twig, until there is none: of a fork at the end of a line, one
    tine stays as the line's own end.

    Args:
        skeleton: In reading order.
        widths: Least length of a branch in widths.
        pixel_m_yx: Ground size of a pixel, metres.
    """
    while len(twigs := _twigs(skeleton, widths, pixel_m_yx)):
        keep = np.ones(len(skeleton.rows), bool)
        keep[twigs] = False
        skeleton = skeleton.kept(keep)
    return skeleton


def drop_short(skeleton: Skeleton, min_length_m: float, pixel_m_yx: tuple[float, float]) -> Skeleton:
    """The skeleton without those of its connected parts whose lines together are shorter."""
    links = link(skeleton)
    parts = _parts(links, len(skeleton.rows))
    lengths = np.bincount(parts[links[:, 0]], lengths_m(skeleton, links, pixel_m_yx), minlength=len(skeleton.rows))
    return skeleton.kept(lengths[parts] >= min_length_m) if len(parts) else skeleton


def lengths_m(skeleton: Skeleton, links: np.ndarray, pixel_m_yx: tuple[float, float]) -> np.ndarray:
    """(E,) metres from pixel centre to pixel centre."""
    down, right = (each[links[:, 1]] - each[links[:, 0]] for each in (skeleton.rows, skeleton.cols))
    return np.asarray(np.hypot(down * pixel_m_yx[0], right * pixel_m_yx[1]))


def iter_paths(skeleton: Skeleton) -> Iterator[list[int]]:
    """Lines from node to node (ends and branchings), then rings without any; a ring ends where it began."""
    links = link(skeleton)
    around: list[list[int]] = [[] for _ in range(len(skeleton.rows))]
    for one, other in links.tolist():
        around[one].append(other)
        around[other].append(one)
    passed = [False] * len(around)
    begun: set[tuple[int, int]] = set()
    for start, nexts in enumerate(around):
        if len(nexts) != 2:
            passed[start] = True
            for following in sorted(nexts):
                if (start, following) not in begun:
                    path = _walk(around, start, following)
                    begun.add((path[-1], path[-2]))
                    for pixel in path:
                        passed[pixel] = True
                    yield path
    for start, done in enumerate(passed):
        if not done:  # as it is by now: walking marks what it passes
            path = _walk(around, start, min(around[start]))
            for pixel in path:
                passed[pixel] = True
            yield path


def _walk(around: list[list[int]], start: int, following: int) -> list[int]:
    path = [start, following]
    while len(around[path[-1]]) == 2 and path[-1] != start:
        one, other = around[path[-1]]
        path.append(other if one == path[-2] else one)
    return path


def _twigs(skeleton: Skeleton, widths: float, pixel_m_yx: tuple[float, float]) -> np.ndarray:
    """Pixels of the shortest twig of each branching."""
    links, count = link(skeleton), len(skeleton.rows)
    degree = np.bincount(links.ravel(), minlength=count)
    branching = degree >= 3
    lengths = lengths_m(skeleton, links, pixel_m_yx)
    at_one, at_other = branching[links[:, 0]], branching[links[:, 1]]
    within, joint = ~at_one & ~at_other, at_one != at_other
    chains = _parts(links[within], count)
    node = np.where(at_one, links[:, 0], links[:, 1])[joint]
    chain = chains[np.where(at_one, links[:, 1], links[:, 0])[joint]]
    length = np.bincount(chains[links[within, 0]], lengths[within], minlength=count)
    length += np.bincount(chain, lengths[joint], minlength=count)
    joints = np.bincount(chain, minlength=count)
    ends = np.bincount(chains[(degree == 1) & ~branching], minlength=count)
    short = (joints[chain] == 1) & (ends[chain] == 1) & (length[chain] < widths * skeleton.width_m[node])
    node, chain = node[short], chain[short]
    order = np.lexsort((chain, length[chain], node))
    _, firsts = np.unique(node[order], return_index=True)
    return np.flatnonzero(np.isin(chains, chain[order][firsts]) & ~branching)


def _parts(links: np.ndarray, count: int) -> np.ndarray:
    """(N,) number of the connected part that each pixel is in."""
    graph = coo_array((np.ones(len(links), np.int8), (links[:, 0], links[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1]) if count else np.zeros(0, np.int64)


def _linked(place: np.ndarray, there: np.ndarray) -> np.ndarray:
    return np.stack([np.flatnonzero(there), place[there]], 1).astype(np.int64)
