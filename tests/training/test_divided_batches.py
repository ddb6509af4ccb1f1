"""A batch that several processes divide: how each knows its place, its parts, and the sum of their gradients."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import typer
from torch import Tensor, nn

from viz_diffusion.cli import training_processes
from viz_diffusion.cli.training_processes import process_device
from viz_diffusion.data import Digits
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.launch import Launch, launched
from viz_diffusion.training.loop import TrainState, train
from viz_diffusion.training.objective import Objective
from viz_diffusion.training.processes import SETUP_SECONDS, STEP_SECONDS, Processes
from viz_diffusion.training.train_config import TrainConfig

# -- how a process was started ----------------------------------------------------------------------

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "node0", "MASTER_PORT": "29400"}
SRUN = {"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, Launch(0, 1, 0)),
        (TORCHRUN, Launch(3, 4, 1)),
        (SRUN | {"MASTER_ADDR": "node0"}, Launch(5, 8, 1)),
        (SRUN | TORCHRUN, Launch(3, 4, 1)),  # torchrun, started by srun on each machine
        (SRUN, Launch(0, 1, 0)),  # tasks that each train a run of their own
        # the batch script itself
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "MASTER_ADDR": "node0"}, Launch(0, 1, 0)),
        ({"RANK": "0", "WORLD_SIZE": "1"}, Launch(0, 1, 0)),
    ],
)
def test_variables_of_each_launcher(variables: dict[str, str], expected: Launch) -> None:
    assert launched(variables) == expected


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (TORCHRUN | {"RANK": "4"}, "RANK must be below WORLD_SIZE, which is 4, found 4"),
        (TORCHRUN | {"WORLD_SIZE": "two"}, "WORLD_SIZE must be a whole number, found 'two'"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "MASTER_ADDR is not set"),
    ],
)
def test_contradictions_are_refused(variables: dict[str, str], message: str) -> None:
    with pytest.raises(VizdiffUsageError, match=message):
        launched(variables)


def test_each_process_of_a_machine_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for two GPUs: what PyTorch would be told, and what is refused before it."""
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(training_processes, "pick_device", torch.device)
    assert process_device("auto", Launch(3, 4, 1)) == torch.device("cuda:1")
    assert chosen == [1]
    assert process_device("cpu", Launch(3, 4, 1)) == torch.device("cpu")
    with pytest.raises(VizdiffUsageError, match="process 2 is number 2 on its machine, which has 2 GPUs"):
        process_device("cuda", Launch(2, 4, 2))
    with pytest.raises(VizdiffUsageError, match=r"--device must be auto, cpu or cuda .* found 'cuda:1'"):
        process_device("cuda:1", Launch(0, 4, 0))
    with pytest.raises(typer.Exit):  # process 0 has said it
        process_device("cuda:1", Launch(2, 4, 0))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")  # Slurm shows each task its own GPU only
    assert process_device("auto", Launch(3, 4, 3)) == torch.device("cuda:0")


def test_processes_that_begin_with_different_data_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    second = Processes(Launch(1, 2))
    monkeypatch.setattr(second, "number_of_main", lambda _: int("ab" * 6, 16))
    second.require_same([("config", "ab" * 32)])
    with pytest.raises(VizdiffUsageError, match="process 1 of 2 begins with another training image than process 0"):
        second.require_same([("config", "ab" * 32), ("training image", "cd" * 32)])


def test_the_others_wait_longer_for_process_0_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    second, waited = Processes(Launch(1, 2)), []
    monkeypatch.setattr(second, "_reduce", lambda *_: waited.append(second._patience))
    network = nn.Linear(1, 1)
    network(torch.ones(1)).backward()
    second.sum_gradients(network, torch.zeros(()))
    second.working()
    second.finish()
    assert waited[-2:] == [STEP_SECONDS, SETUP_SECONDS]


# -- how a batch is divided -------------------------------------------------------------------------


@pytest.mark.parametrize("accumulate", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("batch_size", [24, 25, 64, 127])
def test_parts_cover_a_batch_once_and_differ_by_one_image(batch_size: int, count: int, accumulate: int) -> None:
    parts = [part for rank in range(count) for part in Processes(Launch(rank, count), accumulate).parts(batch_size)]
    assert len(parts) == count * accumulate
    assert [parts[0].start, parts[-1].stop] == [0, batch_size]
    assert all(first.stop == second.start for first, second in pairwise(parts))
    sizes = {part.stop - part.start for part in parts}
    assert max(sizes) - min(sizes) <= 1


def test_a_batch_of_fewer_images_than_parts_is_refused() -> None:
    assert len(Processes(Launch(2, 3), 2).parts(6)) == 2
    with pytest.raises(VizdiffUsageError, match=r"at least 6, .* 3 × 2 parts .processes × accumulate., found 5"):
        Processes(Launch(2, 3), 2).parts(5)


class OneOfSeveral(Processes):
    """Keeps the gradients of its own parts where it would sum them."""

    gradients: list[Tensor]
    loss: float

    def sum_gradients(self, network: nn.Module, loss: Tensor) -> Tensor:
        self.gradients = [weight.grad.detach().clone() for weight in network.parameters()]
        self.loss = loss.item()
        return loss


def gradients_of(processes: OneOfSeveral, config: TrainConfig, model: ModelConfig, digits: Digits) -> list[Tensor]:
    """Return the gradients of one process in the first step."""
    state = TrainState.create(config, model)
    nn.init.normal_(state.model.conv_out.weight, generator=torch.Generator().manual_seed(0))  # so that all layers count
    state.processes = processes
    next(iter(train(state, digits, NoiseSchedule.named("linear"))))
    return processes.gradients


@pytest.mark.parametrize("objective", ["epsilon", "flow"])
def test_gradients_of_uneven_parts_sum_to_that_of_the_whole_batch(
    objective: str, tiny_config: ModelConfig, few_digits: Digits
) -> None:
    config = TrainConfig(steps=1, batch_size=8, objective=objective)
    model = replace(tiny_config, schedule={"flow": "flow"}.get(objective, "linear"))
    whole = OneOfSeveral()
    expected = gradients_of(whole, config, model, few_digits)
    largest = max(gradient.abs().max().item() for gradient in expected)
    for count, accumulate in ((3, 1), (1, 3), (2, 2)):
        ranks = [OneOfSeveral(Launch(rank, count), accumulate) for rank in range(count)]
        parts = [gradients_of(rank, config, model, few_digits) for rank in ranks]
        for gradient, *own in zip(expected, *parts, strict=True):
            torch.testing.assert_close(sum(own), gradient, rtol=1e-4, atol=1e-6 * largest)
        assert sum(rank.loss for rank in ranks) == pytest.approx(whole.loss, rel=1e-6)


def test_control_the_mean_over_processes_is_another_gradient(tiny_config: ModelConfig, few_digits: Digits) -> None:
    """With parts of 2, 3 and 3 images the mean of their means is not the mean over the batch."""
    config = TrainConfig(steps=1, batch_size=8)
    expected = gradients_of(OneOfSeveral(), config, tiny_config, few_digits)
    ranks = [OneOfSeveral(Launch(rank, 3)) for rank in range(3)]
    sizes = [part.stop - part.start for rank in ranks for part in rank.parts(8)]
    assert sizes == [2, 3, 3]
    own = [gradients_of(rank, config, tiny_config, few_digits) for rank in ranks]
    means = [[gradient * 8 / size / 3 for gradient in one] for one, size in zip(own, sizes, strict=True)]
    largest = max(gradient.abs().max().item() for gradient in expected)
    assert not all(
        torch.allclose(sum(three), gradient, rtol=1e-3, atol=1e-3 * largest)
        for gradient, *three in zip(expected, *means, strict=True)
    )


def test_the_gradient_is_that_of_the_weighted_mean_written_out(
    tiny_config: ModelConfig, few_digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An oracle by hand: Σ w_t ‖ε - ε̂‖² / (B · pixels) of the examples that the processes were given."""
    config = TrainConfig(steps=1, batch_size=5, label_dropout=1.0)
    given, examples = [], Objective.examples
    monkeypatch.setattr(Objective, "examples", lambda *values: given.append(examples(*values)) or given[-1])
    parts = [gradients_of(OneOfSeveral(Launch(rank, 2)), config, tiny_config, few_digits) for rank in range(2)]
    state = TrainState.create(config, tiny_config)
    nn.init.normal_(state.model.conv_out.weight, generator=torch.Generator().manual_seed(0))
    x_t, t, target, weight = (torch.cat(values) for values in zip(*given, strict=True))
    error = (state.model.train()(x_t, t, torch.full((5,), 10)) - target).square()
    ((weight[:, None, None, None] * error).sum() / error.numel()).backward()
    gradients = [weight.grad for weight in state.model.parameters()]
    largest = max(gradient.abs().max().item() for gradient in gradients)
    for gradient, first, second in zip(gradients, *parts, strict=True):
        torch.testing.assert_close(first + second, gradient, rtol=1e-4, atol=1e-6 * largest)
