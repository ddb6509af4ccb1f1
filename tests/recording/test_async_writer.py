"""Recording to disk while sampling: the same as in memory, cut off anywhere, and never in the loop's way."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from cheap_denoiser import CheapDenoiser
from sampler_arguments import with_config
from torch import Tensor

import viz_diffusion.files
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.diffusion.sampling import sampling_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffInputError, VizdiffIOError, VizdiffLockedError
from viz_diffusion.files import lock
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.recording.recorder import Recorder
from viz_diffusion.recording.store.layout import partial_path
from viz_diffusion.recording.trajectory import Trajectory

ROOT = Path(__file__).parents[2]


def same(first: Trajectory, second: Trajectory) -> None:
    for name in (field.name for field in fields(Trajectory) if field.name not in ("schedule", "activations")):
        ours, theirs = getattr(first, name), getattr(second, name)
        assert (ours is None) == (theirs is None), name
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


def generate(count: int = 3, steps: int = 120, **options: object) -> Trajectory:
    labels = torch.arange(count) % 10
    given = with_config(options, steps=steps, guidance_scale=1.5)
    return record_generation(
        CheapDenoiser(), NoiseSchedule.named(), labels, range(count), image_shape=(1, 4, 4), **given
    )


# -- the same as in memory -------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 1.5])
@pytest.mark.parametrize("count", [1, 16, 35])
def test_disk_and_memory_hold_the_same(scale: float, count: int, tmp_path: Path) -> None:
    """35 images are three batches on disk; each image has its own noise, and CheapDenoiser keeps images apart."""
    first = generate(count, guidance_scale=scale, store=tmp_path / "a.zarr", weights_sha256="ab")
    kept = Trajectory.open(tmp_path / "a.zarr")
    same(kept, generate(count, guidance_scale=scale, weights_sha256="ab"))
    assert first.num_images == min(count, 16)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zarr"]


def test_float16_while_recording(tmp_path: Path) -> None:
    generate(store=tmp_path / "a.zarr", dtype="float16")
    np.testing.assert_allclose(Trajectory.open(tmp_path / "a.zarr").x_t, generate().x_t, rtol=2**-11, atol=1e-7)


@pytest.mark.parametrize("at", [None, (999, 499, 9)])
@pytest.mark.parametrize("norms", [False, True])
def test_activations_go_to_disk(
    at: tuple[int, ...] | None, norms: bool, make_unet: Callable, linear: NoiseSchedule, tmp_path: Path
) -> None:
    config = SamplerConfig(steps=100 if at else 60, guidance_scale=1.5)
    options = {"config": config, "activations_at": at, "activation_norms": norms}
    options |= {"activations": ["time_mlp", "mid.*"]}
    pair = [
        record_generation(make_unet(), linear, torch.tensor([3, 4]), [0, 1], store=store, **options)
        for store in (tmp_path / "a.zarr", None)
    ]
    same(*pair)
    assert set(pair[0].activations) == {"time_mlp", "mid1", "mid_attention", "mid2"} - (
        {"mid1", "mid2"} if "mid1" not in pair[1].activations else set()
    )
    for name, values in pair[1].activations.items():
        np.testing.assert_array_equal(pair[0].activations[name], values, err_msg=name)


def test_sampling_is_not_changed(make_unet: Callable, linear: NoiseSchedule, tmp_path: Path) -> None:
    def last(recorded: bool) -> Tensor:
        unet, x = make_unet(), None
        torch.manual_seed(0)
        noise = ImageNoise([1, 2])
        if not recorded:
            x = [s.x_prev for s in sampling_steps(unet, linear, noise, torch.tensor([1, 2]), SamplerConfig(steps=60))][
                -1
            ]
        else:
            with Recorder(unet, linear, store=tmp_path / "a.zarr"):
                x = [
                    s.x_prev for s in sampling_steps(unet, linear, noise, torch.tensor([1, 2]), SamplerConfig(steps=60))
                ][-1]
        return torch.cat([x.flatten(), torch.rand(3)])

    assert torch.equal(last(recorded=True), last(recorded=False))


@pytest.mark.parametrize("guided", [30, 70])
def test_guidance_that_ends_early(guided: int, linear: NoiseSchedule, tmp_path: Path) -> None:
    """Chunks of 50 steps: the first one is guided in part, or the second one is, or not at all."""
    pair = []
    for store in (tmp_path / "a.zarr", None):
        denoiser, x = CheapDenoiser(), torch.ones(2, 1, 4, 4)
        with Recorder(denoiser, linear, guidance_scale=2.0, store=store, seeds=[5, 6]) as recorder:
            for step, t in enumerate(range(900, 780, -1)):
                denoiser(x, torch.tensor([t]), torch.tensor([3, 4]))
                if step < guided:
                    denoiser(x, torch.tensor([t]), torch.tensor([10, 10]))
                x = 0.99 * x
        pair.append(recorder.trajectory())
    same(*pair)
    np.testing.assert_array_equal(pair[0].eps_pred[:, guided:], pair[0].eps_cond[:, guided:])
    assert np.isnan(pair[0].eps_uncond).all(axis=(0, 2, 3, 4)).tolist() == [step >= guided for step in range(120)]


def test_a_sampling_without_finished_images(linear: NoiseSchedule, tmp_path: Path) -> None:
    denoiser = CheapDenoiser()
    with Recorder(denoiser, linear, store=tmp_path / "a.zarr") as recorder:
        for count in (16, 2):
            noise, labels = ImageNoise(range(count), (1, 4, 4)), torch.zeros(count, dtype=torch.long)
            last = [step.x_prev for step in sampling_steps(denoiser, linear, noise, labels, SamplerConfig(steps=3))][-1]
            if count == 16:
                recorder.finish(last)
    assert np.isnan(recorder.trajectory().x0).all(axis=(1, 2, 3)).tolist() == [False] * 16 + [True] * 2


# -- cut off ---------------------------------------------------------------------------------------


def record(path: Path, stop: BaseException | None, steps: int = 120, at: int = 77) -> None:
    denoiser, schedule = CheapDenoiser(), NoiseSchedule.named()
    labels = torch.zeros(2, dtype=torch.long)
    with Recorder(denoiser, schedule, store=path, aim=(2, steps), seeds=[5, 6], sampler="ddpm") as recorder:
        noise = ImageNoise([5, 6], (1, 4, 4))
        x0 = None
        for index, step in enumerate(sampling_steps(denoiser, schedule, noise, labels, SamplerConfig(steps=steps))):
            if index == at and stop is not None:
                raise stop
            x0 = step.x_prev
        recorder.finish(x0)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("no"), SystemExit(3)], ids=repr)
def test_a_stopped_recording_keeps_what_it_had(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    threads = threading.active_count()
    with pytest.raises(type(error)):
        record(path, error)
    assert threading.active_count() == threads
    assert not path.exists()
    with pytest.raises(VizdiffInputError, match=r"cut off after 78 of 120 steps of samples 0..1 of 2") as caught:
        Trajectory.open(path)
    assert caught.value.exit_code == 3
    found = Trajectory.open(path, allow_partial=True)
    record(path, None)
    whole = Trajectory.open(path)
    assert found.num_steps == 78
    assert found.stopped == "78 of 120 steps of samples 0..1 of 2"
    np.testing.assert_array_equal(found.x_t, whole.x_t[:, :78])
    np.testing.assert_array_equal(found.seeds, [5, 6])
    assert np.isnan(found.x0).all()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zarr"]


def test_an_old_recording_outlives_a_failed_new_one(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    record(path, None, steps=60)
    with pytest.raises(ValueError, match="no"):
        record(path, ValueError("no"))
    assert Trajectory.open(path).num_steps == 60
    assert Trajectory.open(partial_path(path), allow_partial=True).num_steps == 78


def test_finished_batches_of_a_stopped_recording_open(tmp_path: Path) -> None:
    calls = 0

    def stop(_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 60 + 55:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(40, steps=60, guidance_scale=1.0, store=tmp_path / "a.zarr", on_step=stop)
    with pytest.raises(VizdiffInputError, match=r"55 of 60 steps of samples 16..31 of 40"):
        Trajectory.open(tmp_path / "a.zarr")
    found = Trajectory.open(tmp_path / "a.zarr", allow_partial=True)
    assert (found.num_images, found.num_steps) == (16, 60)
    assert np.isfinite(found.x0).all()


KILLED = """
import sys, time, torch
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[2]) / "tests" / "helpers"))
from cheap_denoiser import CheapDenoiser
from viz_diffusion import NoiseSchedule, record_generation
record_generation(CheapDenoiser(), NoiseSchedule.named(), torch.tensor([1, 2]), [5, 6], image_shape=(1, 4, 4),
                  store=Path(sys.argv[1]), on_step=lambda step: (print(step.t, flush=True), time.sleep(0.002)))
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
@pytest.mark.parametrize("left", [830, 411])
def test_a_killed_recording_opens_with_what_was_flushed(left: int, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", KILLED, str(path), str(ROOT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        for line in child.stdout:
            if int(line) == left:
                child.send_signal(signal.SIGKILL)
                break
    with pytest.raises(VizdiffInputError, match=r"cut off after \d+ of 1000 steps of samples 0..1 of 2"):
        Trajectory.open(path)
    found = Trajectory.open(path, allow_partial=True)
    assert found.num_steps % 50 == 0
    assert 50 <= found.num_steps <= 1000 - left + 1
    assert found.x_t.shape[2:] == generate(2, steps=2).x_t.shape[2:]
    noise = ImageNoise([5, 6], (1, 4, 4))
    np.testing.assert_array_equal(found.x_t[:, 0], noise.draw().numpy())


# -- errors surface --------------------------------------------------------------------------------


def test_a_full_disk_stops_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, count = os.replace, 0

    def fail(*paths: object) -> None:
        nonlocal count
        count += 1
        if count > 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(*paths)

    monkeypatch.setattr(viz_diffusion.files.os, "replace", fail)
    seen = []
    with pytest.raises(VizdiffIOError, match="No space left"):
        generate(2, steps=1000, store=tmp_path / "a.zarr", on_step=lambda s: (seen.append(s.t), time.sleep(0.001)))
    assert len(seen) < 1000
    assert not (tmp_path / "a.zarr").exists()


def test_two_recorders_of_one_place(tmp_path: Path) -> None:
    with lock(tmp_path / ".a.zarr.lock"), pytest.raises(VizdiffLockedError):
        record(tmp_path / "a.zarr", None)
    record(tmp_path / "a.zarr", None)


def test_a_folder_of_something_else_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "only-copy.png").write_bytes(b"x")
    with pytest.raises(VizdiffInputError, match="folder of something else"):
        record(tmp_path / "a.zarr", None)
    assert (tmp_path / "a.zarr" / "only-copy.png").read_bytes() == b"x"
