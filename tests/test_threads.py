"""Threads of the test suite itself: as many workers as cores, each with one thread."""

from __future__ import annotations

import os

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
