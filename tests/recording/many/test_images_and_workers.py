"""Seeds of many images, and which blocks are a worker's own."""

from __future__ import annotations

import numpy as np
import pytest

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.launch import Launch
from viz_diffusion.recording.many.filling import estimate_seconds
from viz_diffusion.recording.many.images import Images, read_seeds, seeds_text
from viz_diffusion.recording.many.workers import Worker, find_worker


def test_lists_of_seeds_are_read_and_written() -> None:
    assert read_seeds("0-3, 9,12-13").tolist() == [0, 1, 2, 3, 9, 12, 13]
    for text in ("0-49999", "5", "7,3-4,1"):
        assert seeds_text(read_seeds(text)) == text
    for wrong in ("", "a", "3-1", "1-", "0-4294967296", "1;2"):
        with pytest.raises(VizdiffUsageError, match="must be numbers and rising ranges"):
            read_seeds(wrong)
    with pytest.raises(VizdiffUsageError, match="seeds must differ, found 3 twice"):
        read_seeds("0-5,9,3")


def test_prompts_share_a_seed() -> None:
    images = Images(np.array([4, 5]), [0, 1, 2], 3, 5)
    labels, seeds = images.block(0, 10)
    assert (labels.tolist(), seeds.tolist()) == ([0, 1, 2, 0, 1], [4, 4, 4, 5, 5])


@pytest.mark.parametrize(
    ("shard", "launch", "worker"),
    [
        (None, Launch(), Worker(0, 1)),
        ("3/8", Launch(), Worker(3, 8)),
        (None, Launch(1, 2, 1), Worker(1, 2)),
        ("2/3", Launch(1, 4, 1), Worker(9, 12)),
    ],
)
def test_a_worker_is_named_by_shard_and_launch(shard: str | None, launch: Launch, worker: Worker) -> None:
    assert find_worker(shard, launch) == worker


def test_workers_share_all_blocks_and_none_twice() -> None:
    parts = [Worker(index, 3).blocks(10) for index in range(3)]
    assert sorted(k for part in parts for k in part) == list(range(10))


@pytest.mark.parametrize("shard", ["8/8", "1", "-1/2", "1/0", "a/b", "0/0"])
def test_other_shards_are_refused(shard: str) -> None:
    with pytest.raises(VizdiffUsageError, match="must be i/n with i = 0"):
        find_worker(shard, Launch())


def test_the_time_follows_from_short_runs() -> None:
    clock = [0.0]

    def run(steps: int) -> None:
        clock[0] += 1.5 + 0.02 * steps

    assert estimate_seconds(run, 1000, lambda: clock[0]) == pytest.approx(21.5)
    assert estimate_seconds(run, 5, lambda: clock[0]) == pytest.approx(1.6)
