"""Distribution of blocks over pages: order, completeness, and blocks kept together."""

from __future__ import annotations

import pytest

from viz_diffusion.deck.pagination import PageBlock, paginate


def block(height: float, keep: bool = False) -> PageBlock:
    return PageBlock(height, lambda _: None, keep)


def test_blocks_flow_down_and_over_in_order() -> None:
    blocks = [block(40) for _ in range(5)]
    pages = paginate(blocks, 100)
    assert [[down for down, _ in page] for page in pages] == [[0, 40], [0, 40], [0]]
    assert [one for page in pages for _, one in page] == blocks


def test_blocks_kept_together_move_to_the_next_page_together() -> None:
    pages = paginate([block(40), block(40, keep=True), block(30)], 100)
    assert [[down for down, _ in page] for page in pages] == [[0], [0, 40]]
    separated = paginate([block(40), block(40), block(30)], 100)
    assert [len(page) for page in separated] == [2, 1]


def test_a_group_higher_than_a_page_is_separated() -> None:
    pages = paginate([block(60, keep=True) for _ in range(3)], 100)
    assert [len(page) for page in pages] == [1, 1, 1]
    with pytest.raises(ValueError, match="does not fit"):
        paginate([block(101)], 100)
