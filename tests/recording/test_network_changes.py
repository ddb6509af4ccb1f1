"""Changes of a network while it is recorded: other recorders, another ``forward``, copies, threads."""

from __future__ import annotations

import copy
import pickle
import threading
from functools import wraps
from typing import Any

import numpy as np
import pytest
import torch
from conditioned_network import Net, S, full
from torch import Tensor, nn

from viz_diffusion.recording.recorder import Recorder


def traces(net: nn.Module) -> list[str]:
    """Return what of a Recorder a module holds."""
    names = [name for name in ("_call_impl", "forward", "__reduce_ex__", "__deepcopy__") if name in vars(net)]
    return names + [str(key) for one in net.modules() for key in (*one._forward_hooks, *one._forward_pre_hooks)]


@pytest.mark.parametrize("first_ends_first", [False, True])
def test_two_recorders_end_in_any_order(first_ends_first: bool) -> None:
    net, x = Net(), torch.randn(2, 1, 8, 8)
    one, other = Recorder(net, S), Recorder(net, S)
    with torch.no_grad():
        one.__enter__()
        other.__enter__()
        net(x, full(19))
        assert traces(copy.deepcopy(net)) == []
        for recorder in (one, other) if first_ends_first else (other, one):
            recorder.__exit__(None, None, None)
            assert traces(pickle.loads(pickle.dumps(net))) == []
            net.forward(x, full(10))
    steps = [recorder.trajectory().num_steps for recorder in (one, other)]
    assert steps == ([1, 2] if first_ends_first else [2, 1])
    assert traces(net) == []


def test_a_forward_that_the_program_replaces_stays_and_is_not_recorded_later() -> None:
    net, x = Net(), torch.randn(2, 1, 8, 8)
    with torch.no_grad(), Recorder(net, S) as recorder:
        before = net.forward

        @wraps(before)
        def twice(*args: Any, **kwargs: Any) -> Tensor:
            return 2 * before(*args, **kwargs)

        net.forward = twice  # type: ignore[method-assign]
        answer = net(x, full(19))
    assert net.forward is twice
    np.testing.assert_array_equal(recorder.trajectory().eps_pred[:, 0], answer.numpy())
    with torch.no_grad():
        assert torch.equal(net.forward(x, full(19)), answer)
    assert recorder.trajectory().num_steps == 1


def test_modules_that_copy_themselves() -> None:
    """A parametrized module and a traced graph have a ``__deepcopy__`` of their own, which copies hooks."""
    net = Net()
    nn.utils.parametrizations.weight_norm(net.conv)
    graph = torch.fx.symbolic_trace(_Plain())
    x = torch.randn(2, 1, 8, 8)
    with torch.no_grad(), Recorder(net, S, activations=["conv"]) as recorder, Recorder(graph, S) as other:
        net(x, full(19))
        graph(x, full(19))
        copied, copied_graph = copy.deepcopy(net), copy.deepcopy(nn.Sequential(graph))[0]
        copied_graph(x, full(3))
        assert torch.equal(copied(x, full(3)), net.conv(x))
    assert traces(copied) == traces(copied_graph) == traces(copied.conv) == []
    assert traces(net) == traces(net.conv) == traces(graph) == []
    assert recorder.trajectory().num_steps == other.trajectory().num_steps == 1


class _Plain(nn.Module):
    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return 0.3 * x + 0 * t.sum()


def test_threads_record_each_pass_once() -> None:
    """The passes of threads that meet inside the network: each is recorded once, not twice and not never."""
    meeting = threading.Barrier(2, timeout=20)

    class Meets(Net):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:  # type: ignore[override]  # noqa: ARG002
            meeting.wait()
            return self.conv(x)

    net = Meets()
    with Recorder(net, S, prediction_type="epsilon") as recorder:
        threads = [threading.Thread(target=net, args=(torch.randn(1, 1, 8, 8), full(19, 1))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [one.num_images for one in recorder.trajectories()] == [1, 1]


def test_a_replica_of_data_parallel_runs_its_own_weights() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(1.0))
            self.inner = nn.Identity()

        def forward(self, x: Tensor, t: Tensor) -> Tensor:  # noqa: ARG002
            return self.inner(self.weight * x)  # type: ignore[no-any-return]

    net, x = Own(), torch.randn(2, 1, 8, 8)
    net.register_forward_hook(_doubles)
    recorder, other = (Recorder(net, S, prediction_type="epsilon", activations=names) for names in (["inner"], []))
    with torch.no_grad(), recorder, other:
        replica, inner = net._replicate_for_data_parallel(), net.inner._replicate_for_data_parallel()
        replica.weight, replica.inner = torch.tensor(5.0), inner  # as replicate() does
        assert len(traces(replica)) == 1  # the program's own hook
        for answer in (replica(x, full(19)), replica.forward(x, full(19)) * 2):
            assert torch.equal(answer, 10 * x)
        net(x, full(19))
    assert recorder.trajectory().num_steps == other.trajectory().num_steps == 1
    assert "_replicate_for_data_parallel" not in vars(net)
    assert len(traces(net)) == 1


def _doubles(module: nn.Module, args: Any, output: Tensor) -> Tensor:  # noqa: ARG001
    return 2 * output


@pytest.mark.parametrize("fails", ["before", "within", "after"])
@pytest.mark.parametrize("direct", [False, True])
def test_a_call_that_fails_is_not_missed_later(fails: str, direct: bool) -> None:
    """A hook of the program raises once, before or after ``forward``, or ``forward`` itself: later passes count."""
    broken = [True]

    def fail(*_: Any) -> None:
        if broken and broken.pop():
            raise ValueError("once")

    class Fails(Net):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:  # type: ignore[override]  # noqa: ARG002
            if fails == "within":
                fail()
            return self.conv(x)

    net, x = Fails(), torch.randn(2, 1, 8, 8)
    with torch.no_grad(), Recorder(net, S, prediction_type="epsilon", activations=["conv"]) as recorder:
        if fails == "before":
            net.register_forward_pre_hook(fail)
        if fails == "after":
            net.register_forward_hook(fail)
        with pytest.raises(ValueError, match="once"):
            net(x, full(19))
        for t in (18, 10, 3):
            x = x - 0.1 * (net.forward(x, full(t)) if direct else net(x, full(t)))
    assert recorder.trajectory().timesteps.tolist() == [18, 10, 3]  # the loop never got the answer at 19
