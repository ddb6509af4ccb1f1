"""Run the tests of tests/reliability/board.toml and write docs/reliability.md: what was tried, expected and seen.

    python scripts/reliability_board.py [--soak] [--minutes M] [ID ...]

Without ids all are run, one after another. What the time did not suffice for, and what cannot run on this machine, is
said on the page and never counted as held.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import time
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
TESTS, PAGE = ROOT / "tests", ROOT / "docs" / "reliability.md"
INTRODUCTION = """# Reliability

Each line is a fault that was made on purpose. [How vizdiff is tested](testing.md) says what is promised, and what is
not. `python scripts/reliability_board.py` runs the tests again and writes this page; with `--soak` it also runs the
long ones.
"""


class Outcomes:
    """A plugin of pytest that runs tests in the order of ``nodes`` and counts the outcomes of each function."""

    def __init__(self, nodes: list[str], until: float) -> None:
        self.counts: dict[str, Counter[str]] = {}
        self._order = {node: place for place, node in enumerate(nodes)}
        self._until = until

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put the tests in order."""
        items.sort(key=lambda item: self._order.get(_node(item.nodeid), len(self._order)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test that ran, was skipped or could not be set up."""
        if report.when == "call" or report.outcome != "passed":
            node = _node(report.nodeid)
            self.counts.setdefault(node, Counter())[report.outcome] += 1

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        """Stop where the time is over."""
        if time.monotonic() > self._until:
            item.session.shouldstop = "the time is over"


def _node(name: str) -> str:
    """Return a test's file and function, without its parameters."""
    return name.split("[")[0].removeprefix("tests/")


def seen(fault: dict[str, Any], counts: dict[str, Counter[str]], soak: bool) -> tuple[str, int]:
    """Return what was seen of a fault, in words, and the number of cases that passed."""
    nodes = [*fault["tests"], *(fault.get("soak", ()) if soak else ())]
    found = [counts.get(node, Counter()) for node in nodes]
    passed = sum(one["passed"] for one in found)
    if any(one["failed"] for one in found):
        return "**failed**", passed
    missing = sum(not one["passed"] for one in found)
    skipped = sum(one["skipped"] for one in found)
    if missing == len(nodes):
        return ("cannot run here" if skipped else "not run"), 0
    if missing or skipped:
        return f"held as far as it was run; {missing} of {len(nodes)} tests were not", passed
    text = "held, in part" if "partly" in fault else "held"
    return text + ("" if soak or "soak" not in fault else "; the long test was not run"), passed


def page(board: dict[str, Any], counts: dict[str, Counter[str]], soak: bool, seconds: float) -> str:
    """Return the text of the page."""
    rows, results = [], Counter[str]()
    for name, fault in board.items():
        text, passed = seen(fault, counts, soak)
        results[text.split(";")[0]] += 1
        rest = f" ({fault['partly']})" if "partly" in fault and passed else ""
        rows.append(f"| {name} | {fault['fault']} | {fault['expected']} | {text}{rest} | {passed} |")
    summary = ", ".join(f"{count} {text}" for text, count in results.most_common())
    commit = subprocess.run(["git", "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, cwd=ROOT)
    import torch

    made = f"{time.strftime('%Y-%m-%d')}, commit {commit.stdout.strip() or 'unknown'}, in {seconds / 60:.0f} minutes"
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    lines = [
        INTRODUCTION,
        f"Of {len(board)} faults: {summary}. Made on {made}, on {machine}, PyTorch {torch.__version__}. "
        f"The long tests were {'run' if soak else 'not run'}.",
        "",
        "| id | fault | expected | seen | cases |",
        "|---|---|---|---|---|",
        *rows,
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the tests and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ids", nargs="*", metavar="ID")
    parser.add_argument("--soak", action="store_true", help="also the long tests")
    parser.add_argument("--minutes", type=float, default=1e6, help="stop after so many minutes")
    options = parser.parse_args()
    board = tomllib.loads((TESTS / "reliability" / "board.toml").read_text("utf-8"))
    chosen = [board[name] for name in options.ids or board]
    nodes = [node for one in chosen for node in (*one["tests"], *(one.get("soak", ()) if options.soak else ()))]
    begun = time.monotonic()
    outcomes = Outcomes(nodes, begun + 60 * options.minutes)
    arguments = ["-q", "-n", "0", "-p", "no:cacheprovider", "-m", "" if options.soak else "not soak"]
    pytest.main([*arguments, *(str(TESTS / node) for node in dict.fromkeys(nodes))], plugins=[outcomes])
    PAGE.write_text(page(board, outcomes.counts, options.soak, time.monotonic() - begun), "utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
