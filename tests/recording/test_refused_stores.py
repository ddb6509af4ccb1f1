"""Recordings to disk that are refused: nothing recorded, too large, or samplings that do not fit one store."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from cheap_denoiser import CheapDenoiser

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.diffusion.sampling import sampling_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffIOError, VizdiffUsageError
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.recording.recorder import Recorder


def test_nothing_recorded_is_an_error_and_leaves_nothing(linear: NoiseSchedule, tmp_path: Path) -> None:
    denoiser = CheapDenoiser()
    with (
        pytest.raises(VizdiffUsageError, match="nothing was recorded"),
        Recorder(denoiser, linear, store=tmp_path / "a.zarr"),
    ):
        copy.deepcopy(denoiser)(torch.zeros(1, 1, 4, 4), torch.tensor([3]), torch.tensor([1]))
    assert list(tmp_path.iterdir()) == []


def test_a_recording_too_large_is_refused_before_it_begins(tmp_path: Path) -> None:
    began = []
    labels = torch.zeros(1, dtype=torch.long).expand(10**8)
    with pytest.raises(VizdiffIOError, match=r"needs [\d,]+ bytes"):
        record_generation(
            CheapDenoiser(),
            NoiseSchedule.named(),
            labels,
            range(10**8),
            store=tmp_path / "a.zarr",
            on_step=began.append,
        )
    assert began == []
    assert list(tmp_path.iterdir()) == []


def test_samplings_that_do_not_fit_one_store(linear: NoiseSchedule, tmp_path: Path) -> None:
    denoiser = CheapDenoiser()

    def sample(*pairs: tuple[int, int]) -> None:
        for count, steps in pairs:
            noise = ImageNoise(range(count), (1, 4, 4))
            list(sampling_steps(denoiser, linear, noise, torch.arange(count) % 10, SamplerConfig(steps=steps)))

    for pairs, words in ((((16, 5), (3, 3)), "same timesteps"), (((3, 5), (3, 5)), "multiple of 16")):
        with pytest.raises(VizdiffUsageError, match=words), Recorder(denoiser, linear, store=tmp_path / "a.zarr"):
            sample(*pairs)
