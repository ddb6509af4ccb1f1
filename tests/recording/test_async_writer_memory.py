"""Memory of a recording to disk: what waits for the disk is bounded, and no number of images needs more."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from weakref import WeakSet

import pytest
import torch
from cheap_denoiser import CheapDenoiser

from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.diffusion.sampling import sampling_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.recording.async_writer import AsyncWriter
from viz_diffusion.recording.forward_pass import FinishedImages, ForwardPass
from viz_diffusion.recording.recorder import Recorder
from viz_diffusion.recording.store.writer import StoreWriter
from viz_diffusion.recording.trajectory import Trajectory

ROOT = Path(__file__).parents[2]


def test_what_waits_for_a_slow_disk_is_bounded(
    linear: NoiseSchedule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that does not write at all stops the loop after one chunk and the few entries that the queue takes."""
    alive: WeakSet[ForwardPass] = WeakSet()
    disk, commit, put = threading.Event(), StoreWriter.commit, AsyncWriter.put

    def wait_and_commit(self: StoreWriter, *args: object, **options: object) -> None:
        disk.wait()
        commit(self, *args, **options)

    def put_counted(self: AsyncWriter, event: ForwardPass | FinishedImages) -> None:
        if isinstance(event, ForwardPass):
            alive.add(event)
        put(self, event)

    monkeypatch.setattr(StoreWriter, "commit", wait_and_commit)
    monkeypatch.setattr(AsyncWriter, "put", put_counted)
    denoiser = CheapDenoiser()

    def sample() -> None:
        with Recorder(denoiser, linear, store=tmp_path / "a.zarr"):
            list(sampling_steps(denoiser, linear, ImageNoise([5], (1, 4, 4)), torch.tensor([1])))

    loop = threading.Thread(target=sample)
    loop.start()
    most = -1
    while loop.is_alive() and len(alive) > most:  # until the loop waits, or has ended
        most = len(alive)
        loop.join(1)
    disk.set()
    loop.join()
    assert most <= 200
    assert Trajectory.open(tmp_path / "a.zarr").num_steps == 1000
    assert len(alive) <= 1


MEMORY = """
import resource, sys, torch
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[2]) / "tests" / "helpers"))
from cheap_denoiser import CheapDenoiser
from viz_diffusion import NoiseSchedule, SamplerConfig, record_generation
peaks = []
for count in (96, 1600):
    labels = torch.zeros(count, dtype=torch.long)
    record_generation(CheapDenoiser(), NoiseSchedule.named(), labels, range(count), SamplerConfig(steps=10),
                      store=Path(sys.argv[1]) / f"{count}.zarr", dtype="float16")
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
print(peaks[1] - peaks[0])
"""


@pytest.mark.skipif(os.name == "nt", reason="no getrusage")
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    """1600 images of ten steps are 113 MB of float32 on the way; a hundred cost the same memory to 25 MiB."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", MEMORY, str(tmp_path), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= 25
