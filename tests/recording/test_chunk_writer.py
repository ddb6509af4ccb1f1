"""What a store refuses, and what it takes, from steps that come one after another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.chunk_writer import ChunkWriter, StepChunk, numbered, stack_activations
from viz_diffusion.recording.store.writer import growing_store
from viz_diffusion.recording.trajectory import Trajectory

FACTS = {"sampler": "mine", "variance": "", "eta": 0.0, "clip": True, "weights_sha256": "", "interventions": ""}


class Step(NamedTuple):
    t: float
    own_alpha: bool = False
    guided: bool = False


def to_chunk(steps: Sequence[Step]) -> StepChunk:
    """Return 3 images of 2 × 2 pixels a step, each pixel t; one module's output, 2 t, at every tenth step."""
    times = np.array([step.t for step in steps])
    timesteps = times.astype(np.int64) if (times == times.astype(np.int64)).all() else times
    values = np.tile(times.astype(np.float32)[None, :, None, None, None], (3, 1, 1, 2, 2))
    names = ("x_t", "eps_pred", "x0_pred", *(("eps_cond", "eps_uncond") if steps[0].guided else ()))
    outputs = [{} if t % 10 else {"inner": np.full((3, 5), 2 * t, np.float32)} for t in times]
    activations, activation_steps = stack_activations(outputs)
    return StepChunk(
        dict.fromkeys(names, values),
        timesteps,
        1 - (times + 1) / 1001,
        own_alphas=steps[0].own_alpha,
        activations=activations,
        activation_steps=activation_steps,
        guidance_scale=2.0 if steps[0].guided else 1.0,
    )


def write(path: Path, *samplings: Sequence[Step], aim: tuple[int, int] = (0, 0)) -> Trajectory:
    with growing_store(path) as store:
        writer: ChunkWriter[Step] = ChunkWriter(
            store,
            NoiseSchedule.named(),
            FACTS,
            to_chunk,
            lambda first, step: (np.full(3, int(step.t) % 10), numbered(range(100, 105), first, 3)),
            aim=aim,
            kept_chunk=1,
        )
        assert writer.is_empty
        for steps in samplings:
            for step in steps:
                writer.put(step)
            writer.end_sampling(None)
        assert not writer.is_empty
        writer.complete()
    return Trajectory.open(path)


def falling(count: int, **options: Any) -> list[Step]:
    return [Step(900 - number, **options) for number in range(count)]


@pytest.mark.parametrize("aim", [(0, 0), (3, 60), (3, 25), (3, 7)])
def test_every_step_is_written_once(aim: tuple[int, int], tmp_path: Path) -> None:
    found = write(tmp_path / "a.zarr", falling(60), aim=aim)
    assert found.timesteps.tolist() == [step.t for step in falling(60)]
    np.testing.assert_array_equal(found.x_t[2, :, 0, 1, 1], found.timesteps)
    assert found.activation_steps.tolist() == [0, 10, 20, 30, 40, 50]
    np.testing.assert_array_equal(found.activations["inner"][1, :, 4], 2 * found.timesteps[::10])
    assert (found.labels.tolist(), found.seeds.tolist()) == ([0, 0, 0], [100, 101, 102])
    assert found.guidance_scale == 1
    assert found.step_alphas_cumprod is None
    assert np.isnan(found.x0).all()
    assert found.x0.shape == (3, 1, 2, 2)


def test_a_whole_timestep_after_fractional_ones(tmp_path: Path) -> None:
    """Each chunk's timesteps are stored as the first's, and each of its ᾱ."""
    steps = [*(Step(900.5 - number, own_alpha=True) for number in range(50)), Step(0)]
    found = write(tmp_path / "a.zarr", steps)
    assert found.timesteps.tolist() == [step.t for step in steps]
    np.testing.assert_array_equal(found.step_alphas_cumprod, 1 - (found.timesteps + 1) / 1001)


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        ({}, {"guided": True}, "guidance began after the first 50 steps"),
        ({}, {"own_alpha": True}, "left the schedule's own after the first 50 steps"),
        ({"own_alpha": True}, {"own_alpha": True, "t": 3.5}, "left the schedule's own after the first 50 steps"),
    ],
    ids=["guidance", "noise levels", "fractional timesteps"],
)
def test_what_needs_other_arrays_than_the_first_chunk_is_refused(
    first: dict[str, Any], last: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(VizdiffUsageError, match=words):
        write(tmp_path / "a.zarr", [*falling(50, **first), Step(**({"t": 3} | last))])


def test_control_guidance_from_the_first_chunk_on_is_stored(tmp_path: Path) -> None:
    found = write(tmp_path / "a.zarr", falling(51, guided=True))
    assert found.guidance_scale == 2
    assert found.eps_uncond.shape == found.x_t.shape


def test_numbers_run_out() -> None:
    assert numbered([5, 6, 7], 1, 4).tolist() == [6, 7, -1, -1]
    assert numbered([5, 6, 7], 9, 2).tolist() == [-1, -1]
    assert numbered((), 0, 1).tolist() == [-1]
