"""A few images leave a core to other programs; large batches and a number that the user set keep theirs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from viz_diffusion.cli.console import Terminal
from viz_diffusion.cli.loading import load_run
from viz_diffusion.cli.record import record, sample_all
from viz_diffusion.cli.threads import FEW_IMAGES, spare_core
from viz_diffusion.diffusion.sampler_config import SamplerConfig


@pytest.fixture
def three_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """PyTorch with three threads that the user did not set."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_a_core_is_left_within_the_block_alone_also_after_an_error() -> None:
    with spare_core():
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 3
    with pytest.raises(KeyError), spare_core(FEW_IMAGES):
        raise KeyError(torch.get_num_threads())
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
def test_large_batches_and_a_set_number_keep_their_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    with spare_core(FEW_IMAGES + 1):
        assert torch.get_num_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with spare_core():
        assert torch.get_num_threads() == 3


def test_one_thread_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with spare_core():
        assert torch.get_num_threads() == 1
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize(("count", "threads"), [(1, 2), (FEW_IMAGES + 1, 3)])
@pytest.mark.parametrize("recorded", [True, False])
def test_generations_of_few_images_leave_a_core(count: int, threads: int, recorded: bool) -> None:
    terminal, config = Terminal(as_json=False, quiet=True), SamplerConfig("ddim", 2)
    loaded, seen = load_run("bundled", "cpu", terminal), set()
    hook = loaded.model.register_forward_pre_hook(lambda *_: seen.add(torch.get_num_threads()))
    with hook:
        if recorded:
            record(loaded, 5, 0, count, config, terminal)
        else:
            sample_all(loaded, torch.zeros(count, dtype=torch.int64), 0, config, terminal)
    assert seen == {threads}
