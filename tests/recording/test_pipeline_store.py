"""Pipelines of diffusers, recorded to disk while they sample: what is there at the end, and after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np
import pytest
import torch
import zarr
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, EulerDiscreteScheduler
from refusals import refused
from small_unet import small_unet

from viz_diffusion import record_pipeline
from viz_diffusion.cli import main
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording import pipeline_recording
from viz_diffusion.recording.scheduler_steps import SchedulerStep, read_step
from viz_diffusion.recording.store.layout import partial_path
from viz_diffusion.recording.trajectory import Trajectory

# diffusers' own schedulers turn tensors into arrays in a way that newer NumPy warns of
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
ROOT = Path(__file__).parents[2]
WEIGHTS = "c0ffee"


def make_pipe(scheduler: Any = None, **options: Any) -> DDPMPipeline:
    pipe = DDPMPipeline(small_unet(size=4, **options), scheduler or DDPMScheduler())
    pipe.set_progress_bar_config(disable=True)
    return pipe


def run(pipe: Any, seeds: range, steps: int) -> None:
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    pipe(generator=generators, batch_size=len(seeds), num_inference_steps=steps, output_type="np")


def contents(path: Path) -> Iterator[tuple[str, Any]]:
    """Give everything a store says: attributes, and each array with its dimensions, chunks and values."""
    group = zarr.open_group(path, mode="r")
    yield "attributes", dict(group.attrs)
    for name, array in sorted(group.members(max_depth=None)):
        if isinstance(array, zarr.Array):
            described = (array.metadata.dimension_names, array.chunks, array.dtype, array.shape)
            yield name, (described, array[...].tobytes())


# -- the same as saved at the end ------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(
    "scheduler",
    [DDPMScheduler, DDIMScheduler, lambda: EulerDiscreteScheduler(timestep_spacing="linspace")],
    ids=["ddpm", "ddim", "euler, fractional t"],
)
@pytest.mark.parametrize("steps", [7, 51, 120])
def test_the_store_is_what_save_writes(scheduler: Callable[[], Any], dtype: str, steps: int, tmp_path: Path) -> None:
    """With 51 steps, Euler's first chunk has fractional timesteps, and the last one has t = 0 only."""
    activations = {"activations": ["down_blocks.*", "time_embedding"]}
    with record_pipeline(make_pipe(scheduler()), seeds=[5, 6, 7], weights_sha256=WEIGHTS, **activations) as recording:
        run(recording._pipe, range(5, 8), steps)
    saved = recording.trajectory()
    saved.save(tmp_path / "saved.zarr", dtype=dtype, compress=True)
    with record_pipeline(
        make_pipe(scheduler()),
        seeds=range(5, 8),
        store=tmp_path / "streamed.zarr",
        dtype=dtype,
        compress=True,
        aim=(3, steps),
        weights_sha256=WEIGHTS,
        **activations,
    ) as recording:
        run(recording._pipe, range(5, 8), steps)
    expected, found = (dict(contents(tmp_path / f"{name}.zarr")) for name in ("saved", "streamed"))
    assert found.keys() == expected.keys()
    for name in expected:
        assert found[name] == expected[name], name
    assert found["attributes"]["status"] == "complete"
    assert {"activations/down_blocks.0", "activations/time_embedding", "activation_steps"} <= set(found)
    read = recording.trajectory()
    assert (read.num_steps, read.weights_sha256, read.stopped) == (steps, WEIGHTS, "")
    if dtype == "float32":
        np.testing.assert_array_equal(read.x_t, saved.x_t)


def test_control_another_seed_is_another_store(tmp_path: Path) -> None:
    for seed in (1, 2):
        with record_pipeline(make_pipe(), store=tmp_path / f"{seed}.zarr") as recording:
            run(recording._pipe, range(seed, seed + 1), 3)
    assert dict(contents(tmp_path / "1.zarr")) != dict(contents(tmp_path / "2.zarr"))


@pytest.mark.parametrize("steps", [1, 60])
def test_runs_are_joined_and_named_in_order(steps: int, tmp_path: Path) -> None:
    with record_pipeline(
        make_pipe(), seeds=range(18), labels=range(30, 48), store=tmp_path / "a.zarr", aim=(18, steps)
    ) as recording:
        run(recording._pipe, range(16), steps)
        run(recording._pipe, range(16, 18), steps)
    found = recording.trajectory()
    assert found.seeds.tolist() == list(range(18))
    assert found.labels.tolist() == list(range(30, 48))
    with record_pipeline(make_pipe()) as recording:
        run(recording._pipe, range(17, 18), steps)
    single = recording.trajectory()
    np.testing.assert_allclose(found.x_t[17], single.x_t[0], atol=2e-4)  # a batch rounds otherwise than one image
    np.testing.assert_allclose(found.x0[17], single.x0[0], atol=2e-4)


def test_what_waits_in_memory_is_a_chunk_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: WeakSet[SchedulerStep] = WeakSet()
    pipe, most = make_pipe(), 0

    def read(*args: Any) -> SchedulerStep:
        step = read_step(*args)
        alive.add(step)
        return step

    def count(*_: object) -> None:
        nonlocal most
        most = max(most, len(alive))

    monkeypatch.setattr(pipeline_recording, "read_step", read)
    pipe.unet.register_forward_hook(count)
    with record_pipeline(pipe, store=tmp_path / "a.zarr"):
        run(pipe, range(1), 130)
    assert 1 < most <= 50
    with record_pipeline(pipe) as kept:
        run(pipe, range(1), 130)
    assert most == 129, "control: without a store they all wait"
    assert kept.trajectory().num_steps == 130


# -- cut off ---------------------------------------------------------------------------------------


def test_after_an_error_what_was_recorded_is_there(tmp_path: Path) -> None:
    pipe, passes = make_pipe(), iter(range(1000))

    def fail(*_: object) -> None:
        if next(passes) == 78:
            raise KeyboardInterrupt

    pipe.unet.register_forward_hook(fail)
    with pytest.raises(KeyboardInterrupt), record_pipeline(pipe, store=tmp_path / "a.zarr", aim=(2, 200)):
        run(pipe, range(2), 200)
    assert not (tmp_path / "a.zarr").exists()
    assert "step" not in vars(pipe.scheduler)
    found = Trajectory.open(tmp_path / "a.zarr", allow_partial=True)
    assert found.stopped == "78 of 200 steps of samples 0..1 of 2"
    with record_pipeline(make_pipe()) as recording:
        run(recording._pipe, range(2), 200)
    np.testing.assert_array_equal(found.x_t, recording.trajectory().x_t[:, :78])


def test_a_report_tells_of_the_first_picture_of_a_recording_that_was_cut_off_later(tmp_path: Path) -> None:
    pipe, passes = make_pipe(), iter(range(1000))

    def fail(*_: object) -> None:
        if next(passes) == 20:
            raise KeyboardInterrupt

    pipe.unet.register_forward_hook(fail)
    store = tmp_path / "a.zarr"

    def record() -> None:
        with record_pipeline(pipe, store=store, aim=(20, 15)):
            run(pipe, range(16), 15)
            run(pipe, range(16, 20), 15)

    with pytest.raises(KeyboardInterrupt):
        record()
    argv = ["report", "--trajectory", str(partial_path(store)), "--out", str(tmp_path / "r.html"), "--quiet"]
    assert main(argv) == 3
    assert main([*argv, "--allow-partial"]) == 0
    assert "in 15 recorded steps" in (tmp_path / "r.html").read_text("utf-8")


def test_nothing_recorded_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(VizdiffUsageError, match="nothing was recorded"),
        record_pipeline(make_pipe(), store=tmp_path / "a.zarr"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pipe = DDIMPipeline(make_pipe(num_class_embeds=3).unet, DDIMScheduler())
    pipe.save_pretrained(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
def test_a_killed_command_leaves_what_was_flushed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "t"
    root = partial_path(out / "trajectory.zarr") / "zarr.json"
    command = [sys.executable, "-m", "viz_diffusion", "record", str(folder), "--steps", "1000"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([*command, "--seed", "9", "--quiet", "--out", str(out)], env=environment) as child:
        while child.poll() is None:
            attributes = json.loads(root.read_bytes())["attributes"] if root.is_file() else {}
            if json.loads(attributes.get("recorded", "{}")).get("begun_steps"):
                child.send_signal(signal.SIGKILL)
                break
            time.sleep(0.01)
    assert child.returncode == -signal.SIGKILL
    found = Trajectory.open(out / "trajectory.zarr", allow_partial=True)
    assert 50 <= found.num_steps < 1000
    assert found.num_steps % 50 == 0
    assert (found.sampler, found.seeds.tolist(), found.labels.tolist()) == ("DDIM", [9], [0])
    first = torch.randn((1, 1, 4, 4), generator=torch.Generator().manual_seed(9)).numpy()
    np.testing.assert_array_equal(found.x_t[:, 0], first)
    line = refused(capsys, 3, "report", "--trajectory", str(out))
    assert "was cut off" in line
    assert "--allow-partial" in line


def test_many_images_of_a_class_go_to_disk_in_batches(folder: Path, tmp_path: Path) -> None:
    argv = ["record", str(folder), "--steps", "5", "--label", "2", "--quiet"]
    assert main([*argv, "--count", "18", "--seed", "3", "--out", str(tmp_path / "many")]) == 0
    assert main([*argv, "--seed", "20", "--out", str(tmp_path / "one")]) == 0
    many, one = (Trajectory.open(tmp_path / name / "trajectory.zarr") for name in ("many", "one"))
    assert many.seeds.tolist() == list(range(3, 21))
    assert set(many.labels.tolist()) == {2}
    np.testing.assert_allclose(many.x_t[17], one.x_t[0], atol=1e-4)
    said = json.loads((tmp_path / "many" / "trajectory.json").read_text())
    assert said["x0_beyond_scale"] == pytest.approx(many.x0_beyond_scale.mean())


def test_a_disk_without_room_is_refused_before_sampling(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    line = refused(capsys, 4, "record", str(folder), "--steps", "50", "--out", str(tmp_path / "t"))
    assert f"needs {3 * 50 * 16 * 4:,} bytes" in line
