"""Distribution of blocks of known height over pages.

Knows nothing about the contents of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class PageBlock:
    """A block as wide as the page: a line of text, a picture, a row of a table."""

    height: float
    """Height in points, including the space below."""
    draw: Callable[[float], object]
    """Draws the block, given the distance of its top from the lower edge of the page, in points."""
    keep: bool = False
    """Whether the next block has to be on the same page."""


PlacedBlocks = list[tuple[float, PageBlock]]
"""Blocks of one page, each with the distance of its top from the upper margin, in points."""


def paginate(blocks: Iterable[PageBlock], height: float) -> list[PlacedBlocks]:
    """Distribute blocks, in order, over pages of ``height`` points.

    Blocks to be kept together are separated only if no page holds all of them.

    Raises
    ------
    ValueError
        Where a single block is higher than a page.
    """
    pages: list[PlacedBlocks] = [[]]
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


def _groups(blocks: Iterable[PageBlock]) -> Iterator[list[PageBlock]]:
    """Yield groups of blocks that have to be on the same page."""
    group: list[PageBlock] = []
    for block in blocks:
        group.append(block)
        if not block.keep:
            yield group
            group = []
    if group:
        yield group
