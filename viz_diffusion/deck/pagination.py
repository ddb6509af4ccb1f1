"""Blocks on pages: what goes on which page, and how far down.

Knows nothing about what a block shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Block:
    """Something as wide as the page: a line of text, a picture, a row of a table."""

    height: float
    """Points, with the white beneath it."""
    draw: Callable[[float], object]
    """Draws it, given the height of its top over the page's foot, in points."""
    keep: bool = False
    """Whether the next one has to stand on the same page."""


Page = list[tuple[float, Block]]
"""Blocks, each with the points from the page's upper edge of type down to its top."""


def spread(blocks: Iterable[Block], height: float) -> list[Page]:
    """Put blocks on pages of ``height`` points, in order; what is kept together is parted only where no page holds it.

    Raises
    ------
    ValueError
        Where a single block is higher than a page.
    """
    pages: list[Page] = [[]]
    down = 0.0
    for group in _groups(blocks):
        if down + sum(block.height for block in group) > height and pages[-1]:
            pages.append([])
            down = 0.0
        for block in group:
            if block.height > height:
                raise ValueError(f"a block of {block.height:g} points does not fit on a page of {height:g}")
            if down + block.height > height:
                pages.append([])
                down = 0.0
            pages[-1].append((down, block))
            down += block.height
    return pages


def _groups(blocks: Iterable[Block]) -> Iterator[list[Block]]:
    """Yield blocks that have to stand on one page."""
    group: list[Block] = []
    for block in blocks:
        group.append(block)
        if not block.keep:
            yield group
            group = []
    if group:
        yield group
