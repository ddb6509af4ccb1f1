"""Which networks and calls hooks reach: copies, TorchScript, ``vmap``, and ``forward`` called by the program."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_networks import Net, S, Y, full, record
from torch import Tensor, nn

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.recorder import Recorder

# -- copies of the network -------------------------------------------------------------------------


def saved(net: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    loaded: nn.Module = torch.load(file, weights_only=False)
    return loaded


COPIES: list[Callable[[nn.Module], nn.Module]] = [
    copy.deepcopy,
    lambda net: pickle.loads(pickle.dumps(net)),
    saved,
    lambda net: copy.deepcopy(nn.Sequential(net))[0],
]


@pytest.fixture(params=[False, True])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    return {"store": tmp_path / "a.zarr", "activations": ["conv"]} if request.param else {"activations": ["conv"]}


def all_hooks(net: nn.Module) -> int:
    replaced = sum(len({"_call_impl", "forward"} & set(vars(one))) for one in net.modules())
    return replaced + sum(len(one._forward_hooks) + len(one._forward_pre_hooks) for one in net.modules())


@pytest.mark.parametrize("make_copy", COPIES)
def test_a_copy_made_inside_the_block_has_none_of_its_hooks(
    make_copy: Callable[[nn.Module], nn.Module], stored: dict[str, Any]
) -> None:
    net, x = Net(), torch.randn(2, 1, 8, 8)
    net.register_forward_hook(_own_hook)
    with torch.no_grad(), Recorder(net, S, **stored) as recorder:
        for t in (19, 10, 0):
            x = 0.9 * x - 0.1 * net(x, full(t))
        made = make_copy(net)
        assert all_hooks(made) == 1  # the network's own
        assert torch.equal(made(x, full(0)), net.conv(x))
        recorder.finish(x)
    found = recorder.trajectory()
    assert found.num_steps == 3
    assert all_hooks(net) == 1
    assert "__reduce_ex__" not in vars(net)
    assert "__reduce_ex__" not in vars(made)


def _own_hook(module: nn.Module, args: Any, output: Tensor) -> Tensor:  # noqa: ARG001
    return output


# -- out of reach ----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_networks_that_hooks_do_not_reach_are_refused_before_the_first_step() -> None:
    net = Net()
    traced = torch.jit.trace(Net().requires_grad_(False), (torch.randn(2, 1, 8, 8), full(3)))
    for refused in (torch.jit.script(TypedNet()), traced):
        with pytest.raises(VizdiffUsageError, match="TorchScript"):
            Recorder(refused, S)
    each = torch.func.vmap(lambda x, t: net(x[None], t[None])[0])
    with pytest.raises(VizdiffUsageError, match=r"torch\.vmap"), torch.no_grad(), Recorder(net, S):
        each(torch.randn(2, 1, 8, 8), full(3))
    with pytest.raises(VizdiffUsageError, match="found a function"):
        Recorder(lambda x, t: x, S)  # type: ignore[arg-type] # noqa: ARG005


class TypedNet(Net):
    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.conv(x) + t.sum() * 0


# -- programs that skip hooks ----------------------------------------------------------------------


@pytest.mark.parametrize("activations", [(), ("conv",)])
def test_a_program_that_calls_forward_itself_is_recorded(activations: tuple[str, ...]) -> None:
    """Guidance inside the network calls ``self.forward`` with and without the condition, past all hooks."""

    class Scaled(Net):
        def forward(self, x: Tensor, time: Tensor, classes: Tensor, cond_drop_prob: float = 0.5) -> Tensor:  # type: ignore[override]  # noqa: ARG002
            return self.conv(x) + 0.1 * classes.view(-1, 1, 1, 1) * (1 - cond_drop_prob)

        def forward_with_cond_scale(self, *args: Any, cond_scale: float, **kwargs: Any) -> Tensor:
            told = self.forward(*args, cond_drop_prob=0.0, **kwargs)
            free = self.forward(*args, cond_drop_prob=1.0, **kwargs)
            return free + cond_scale * (told - free)

    net, answers = Scaled(), []

    def call(x: Tensor, t: int) -> Tensor:
        answers.append(net.forward_with_cond_scale(x, full(t), Y, cond_scale=3.0))
        return answers[-1]

    found = record(net, call, guidance_scale=3.0, activations=activations)
    assert found.labels.tolist() == [3, 4]
    assert found.eps_uncond is not None
    np.testing.assert_allclose(found.eps_pred, torch.stack(answers, dim=1).numpy(), atol=1e-6)
    assert set(found.activations) == set(activations)
    assert "forward" not in vars(net)
    assert all_hooks(net) == 0


def test_a_call_and_a_forward_in_it_are_one_pass() -> None:
    net = Net()
    seen = record(net, lambda x, t: net(x, full(t)) + 0 * net.forward(x, full(t)))
    assert seen.num_steps == 20
    assert seen.inner_steps is not None
    assert seen.inner_steps.tolist() == list(range(20))  # the first evaluation of each step, at the same state
