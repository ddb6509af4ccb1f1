"""The arguments of a pipeline's network, as it was called."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from viz_diffusion.recording.pipeline_layout import read_network_call


class Net(nn.Module):
    def forward(self, sample: Tensor, timestep: Any = None, class_labels: Any = None) -> Tensor:  # noqa: ARG002
        return sample


@pytest.mark.parametrize(
    ("args", "kwargs", "t"),
    [
        ((7,), {}, 7.0),
        ((torch.tensor([5, 5]),), {}, 5.0),
        ((), {"timestep": torch.tensor(3.5)}, 3.5),
        ((None,), {}, math.nan),
        ((), {}, math.nan),
        ((), {"timestep": None}, math.nan),
        ((7,), {"unknown": 1}, 7.0),
        ((None,), {"unknown": 1}, math.nan),
    ],
)
def test_a_timestep_that_is_not_given_is_not_known(args: Any, kwargs: Any, t: float) -> None:
    call = read_network_call(Net(), (torch.zeros(2, 1, 4, 4), *args), kwargs)
    assert call is not None
    assert call.t == pytest.approx(t, nan_ok=True)
