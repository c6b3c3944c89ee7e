"""A skeleton as a graph: which pixels follow each other, twigs cut off, and the paths between its nodes.

Pixels are linked to their neighbours by edges, and by corners only where no shared neighbour links them already (mixed
adjacency), so that lines cross at a pixel or not at all.

Source: Gonzalez and Woods, Digital Image Processing, section 2.5.1 (m-adjacency).
"""

from array import array
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
    around = _Around(link(skeleton), len(skeleton.rows))
    passed = np.zeros(len(skeleton.rows), bool)
    begun: set[tuple[int, int]] = set()
    for start in np.flatnonzero(around.degree != 2).tolist():
        for following in around.of(start):
            if (start, following) not in begun:
                path = _walk(around, start, following)
                begun.add((path[-1], path[-2]))
                passed[path] = True
                yield path
    for start in np.flatnonzero((around.degree == 2) & ~passed).tolist():
        if not passed[start]:
            path = _walk(around, start, around.of(start)[0])
            passed[path] = True
            yield path


class _Around:
    """Each pixel's neighbours along its links, ascending."""

    def __init__(self, links: np.ndarray, count: int) -> None:
        both = np.concatenate([links, links[:, ::-1]])
        both = both[np.lexsort((both[:, 1], both[:, 0]))]
        self.degree = np.bincount(both[:, 0], minlength=count)
        self._starts = array("q", np.concatenate([[0], np.cumsum(self.degree)]).astype(np.int64).tobytes())
        self._others = array("q", both[:, 1].astype(np.int64).tobytes())

    def of(self, pixel: int) -> list[int]:
        """Of one pixel."""
        return self._others[self._starts[pixel] : self._starts[pixel + 1]].tolist()


def _walk(around: _Around, start: int, following: int) -> list[int]:
    path = [start, following]
    while path[-1] != start and len(nexts := around.of(path[-1])) == 2:
        path.append(nexts[1] if nexts[0] == path[-2] else nexts[0])
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
