"""Several samplings in one block: each its own, however often a timestep is evaluated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hooked_sampling import sample
from torch import Tensor, nn

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.recorder import Recorder

# -- several samplings in one block ----------------------------------------------------------------


@pytest.mark.parametrize("steps", [(3, 3), (1, 1), (3, 1), (1, 4), (2, 5, 2)])
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_each_sampling_is_its_own(
    steps: tuple[int, ...], scale: float, unet: SimpleUNet, linear: NoiseSchedule
) -> None:
    finished = []
    with Recorder(unet, linear, guidance_scale=scale, seeds=range(100, 120)) as recorder:
        for index, count in enumerate(steps):
            finished.append(sample(unet, linear, count=index + 1, steps=count, guidance_scale=scale))
            recorder.finish(finished[-1])
    found = recorder.trajectories()
    assert [one.num_steps for one in found] == list(steps)
    assert np.concatenate([one.seeds for one in found]).tolist() == list(range(100, 100 + sum(range(len(steps) + 1))))
    for one, x0 in zip(found, finished, strict=True):
        np.testing.assert_array_equal(one.x0, x0.numpy())
    with pytest.raises(VizdiffUsageError, match=f"{len(steps)} samplings were recorded"):
        recorder.trajectory()


def test_only_what_was_finished_has_an_end(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    with Recorder(unet, linear) as recorder:
        recorder.finish(sample(unet, linear))
        sample(unet, linear)
    first, second = recorder.trajectories()
    assert np.isfinite(first.x0).all()
    assert np.isnan(second.x0).all()


def test_of_a_timestep_evaluated_twice_the_last_is_the_steps_own(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    with Recorder(unet, linear) as recorder:
        for number, t in enumerate((9, 8, 8, 7)):
            unet(torch.full((1, 1, 28, 28), float(number)), torch.tensor([t]), torch.tensor([1]))
    found = recorder.trajectory()
    assert found.timesteps.tolist() == [9, 8, 7]
    assert found.x_t[0, :, 0, 0, 0].tolist() == [0, 2, 3]
    assert found.inner_x_t is not None
    assert found.inner_steps is not None
    assert found.inner_x_t[0, :, 0, 0, 0].tolist() == [1]
    assert found.inner_steps.tolist() == [0]


@pytest.mark.parametrize("doubled", [False, True])
def test_guidance_with_an_unknown_null_label_names_the_mend(
    doubled: bool, unet: SimpleUNet, linear: NoiseSchedule
) -> None:
    """A network that does not say which of its labels stands for none: the message names null_label, which mends it."""

    class Foreign(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = unet

        def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
            return self.inner(x, t, labels)

    def loop(net: nn.Module) -> Tensor:
        x, labels, none = torch.zeros(2, 1, 28, 28), torch.tensor([3, 4]), torch.tensor([10, 10])
        for t in (9, 8, 7):
            at = torch.full((2,), t)
            if doubled:
                net(torch.cat([x, x]), torch.cat([at, at]), torch.cat([labels, none]))
            else:
                net(x, at, labels)
                net(x, at, none)
        return x

    net = Foreign()
    with Recorder(net, linear, guidance_scale=3.0) as recorder:
        recorder.finish(loop(net))
    with pytest.raises(VizdiffUsageError, match=r"null_label=…"):
        recorder.trajectory()
    with Recorder(net, linear, guidance_scale=3.0, null_label=10) as recorder:
        recorder.finish(loop(net))
    found = recorder.trajectory()
    assert found.labels.tolist() == [3, 4]
    assert found.eps_uncond is not None


def test_between_two_timesteps_the_log_snr_is_interpolated(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    with Recorder(unet, linear) as recorder:
        for t in (3.5, 2.0):
            unet(torch.zeros(1, 1, 28, 28), torch.tensor([t]), torch.tensor([1]))
    found = recorder.trajectory()
    assert found.timesteps.tolist() == [3.5, 2.0]
    np.testing.assert_allclose(found.log_snr, [linear.log_snr[3:5].mean(), linear.log_snr[2]], rtol=1e-12)


# -- labels ----------------------------------------------------------------------------------------


class Labelled(nn.Module):
    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:  # noqa: ARG002
        return 0.5 * x if y is None else 0.5 * x + 0.01 * y.view(-1, 1, 1, 1)


def labelled(rows: list[list[int] | None], *, free_first: bool = False, **options: object) -> Recorder:
    """Record a sampling of two images under the labels of each step, with guidance where ``free_first``."""
    net, x = Labelled(), torch.randn(2, 1, 8, 8)
    with Recorder(net, NoiseSchedule.named("linear"), prediction_type="epsilon", null_label=10, **options) as recorder:
        for step, labels in enumerate(rows):
            t = torch.full((2,), 900 - step)
            if free_first:
                net(x, t)
            x = 0.9 * x - 0.1 * net(x, t, *([] if labels is None else [torch.tensor(labels)]))
    return recorder


CHANGES = {
    "none": ([[1, 2], [1, 2], [1, 2]], [1, 2]),
    "all": ([[1, 2], [7, 8], [7, 8]], [-1, -1]),
    "one of them": ([[1, 2], [1, 2], [1, 8]], [1, -1]),
    "none for a while": ([[1, 2], [10, 10], [1, 2]], [1, 2]),
    "no argument for a while": ([[1, 2], None, [1, 2]], [1, 2]),
}


@pytest.mark.parametrize("free_first", [False, True])
@pytest.mark.parametrize("name", CHANGES)
def test_labels_that_change_are_not_recorded_as_the_first(name: str, free_first: bool, tmp_path: Path) -> None:
    rows, expected = CHANGES[name]
    if free_first:
        rows = [row for row in rows if row not in (None, [10, 10])]
    found = labelled(rows, free_first=free_first).trajectory()
    assert found.labels.tolist() == expected
    changes = -1 in expected
    assert found.conventions["labels"] == ("y, which changes within the sampling: not recorded" if changes else "y")
    if changes:
        with pytest.raises(VizdiffUsageError, match=r"labels changed between t = 900 and t = 89\d.* record in memory"):
            labelled(rows, free_first=free_first, store=tmp_path / "a.zarr")
    else:
        stored = labelled(rows, free_first=free_first, store=tmp_path / "a.zarr").trajectory()
        assert stored.labels.tolist() == expected
        assert stored.conventions["labels"] == "y"


def test_further_samplings_have_labels_of_their_own(tmp_path: Path) -> None:
    net = Labelled()
    for options in ({}, {"store": tmp_path / "a.zarr"}):
        with Recorder(net, NoiseSchedule.named("linear"), prediction_type="epsilon", **options) as recorder:
            for label in (1, 2):
                x = torch.randn(16, 1, 8, 8)
                for t in (900, 800, 700):
                    x = 0.9 * x - 0.1 * net(x, torch.full((16,), t), torch.full((16,), label))
        found = [one.labels.tolist() for one in recorder.trajectories()]
        assert [label for row in found for label in row] == [1] * 16 + [2] * 16
