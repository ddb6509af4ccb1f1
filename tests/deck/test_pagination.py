"""Blocks on pages: in order, none lost, none parted from what it has to stand with."""

from __future__ import annotations

import pytest

from viz_diffusion.deck.pagination import Block, spread


def block(height: float, keep: bool = False) -> Block:
    return Block(height, lambda _: None, keep)


def test_blocks_flow_down_and_over_in_order() -> None:
    blocks = [block(40) for _ in range(5)]
    pages = spread(blocks, 100)
    assert [[down for down, _ in page] for page in pages] == [[0, 40], [0, 40], [0]]
    assert [one for page in pages for _, one in page] == blocks


def test_what_is_kept_together_goes_on_together() -> None:
    pages = spread([block(40), block(40, keep=True), block(30)], 100)
    assert [[down for down, _ in page] for page in pages] == [[0], [0, 40]]
    parted = spread([block(40), block(40), block(30)], 100)
    assert [len(page) for page in parted] == [2, 1]


def test_what_no_page_holds_is_parted_all_the_same() -> None:
    pages = spread([block(60, keep=True) for _ in range(3)], 100)
    assert [len(page) for page in pages] == [1, 1, 1]
    with pytest.raises(ValueError, match="does not fit"):
        spread([block(101)], 100)
