"""The board names every fault, and only tests that there are."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

TESTS = Path(__file__).parents[1]
BOARD = tomllib.loads((TESTS / "reliability" / "board.toml").read_text("utf-8"))


def test_every_fault_is_on_the_board() -> None:
    counts = {letter: sum(name[0] == letter for name in BOARD) for letter in "RCUHNKL"}
    assert counts == {"R": 6, "C": 6, "U": 6, "H": 4, "N": 4, "K": 4, "L": 4}


def test_every_test_on_the_board_exists() -> None:
    for fault in BOARD.values():
        assert set(fault) <= {"fault", "expected", "tests", "soak", "partly"}
        for node in (*fault["tests"], *fault.get("soak", ())):
            file, name = node.split("::")
            tree = ast.parse((TESTS / file).read_text("utf-8"))
            assert name in {item.name for item in tree.body if isinstance(item, ast.FunctionDef)}, node
