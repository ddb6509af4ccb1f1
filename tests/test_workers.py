"""The test suite itself: as many workers as cores, each with one thread, and the slowest files first."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from threadpoolctl import threadpool_info


def test_no_library_of_a_worker_computes_in_more_threads_than_were_asked_for() -> None:
    """A library that is loaded before conftest.py takes a thread a core; workers then wait for each other."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        asked = int(os.environ["OMP_NUM_THREADS"])
        assert torch.get_num_threads() == asked
        pools = {pool["filepath"]: pool["num_threads"] for pool in threadpool_info()}
        assert len(pools) >= 2, "NumPy's BLAS and torch's OpenMP"
        assert set(pools.values()) == {asked}, pools


def conftest_of(request: pytest.FixtureRequest) -> Any:
    """Return the tests' conftest.py as a module."""
    (conftest,) = (plugin for plugin in request.config.pluginmanager.get_plugins() if hasattr(plugin, "SLOWEST"))
    return conftest


def test_one_worker_runs_a_file_or_all_tests_of_decks(request: pytest.FixtureRequest) -> None:
    scope = conftest_of(request).scope
    decks = {scope(f"tests/deck/{path.name}::test_a[x::y]") for path in Path(__file__).parent.glob("deck/test_*.py")}
    assert len(decks) == 1
    assert scope("tests/test_workers.py::test_a[x::y]") == "tests/test_workers.py"


def test_the_slowest_files_come_first_and_then_those_with_the_most_tests(request: pytest.FixtureRequest) -> None:
    conftest = conftest_of(request)
    root = Path(__file__).parent
    assert [name for name in conftest.SLOWEST if not (root / name).is_file()] == []
    first, second, *_ = conftest.SLOWEST
    names = ["test_a.py", second, "test_b.py", first, "test_b.py", second]
    items = [SimpleNamespace(path=root / name, name=number) for number, name in enumerate(names)]
    conftest.pytest_collection_modifyitems(items)
    assert [item.name for item in items] == [3, 1, 5, 2, 4, 0]
    assert request.config.option.loadscopereorder is False, "pytest-xdist would order them again, by tests alone"
