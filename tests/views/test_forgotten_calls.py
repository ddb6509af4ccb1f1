"""Recordings of loops that forgot something: what is drawn or refused, in words that say what to add."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cheap_denoiser import CheapDenoiser

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffNonFiniteError, VizdiffUsageError
from viz_diffusion.lessons.noising.forward_process import measure_recording
from viz_diffusion.recording.recorder import Recorder
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.study.recording_study import study_recording


def record(*, finish: bool = True, guided: bool = False, schedule: str = "linear") -> Trajectory:
    denoiser, generator = CheapDenoiser(), torch.Generator().manual_seed(0)
    flow = schedule == "flow"
    kind = "flow" if flow else "epsilon"
    with Recorder(denoiser, NoiseSchedule.named(schedule), prediction_type=kind) as recorder:
        for t in (999, 499, 99):
            x = torch.randn(1, 1, 28, 28, generator=generator)
            for label in (3, 10) if guided else (3,):
                denoiser(x, torch.tensor([t / 1000 if flow else t]), torch.tensor([label]))
        if finish:
            recorder.finish(x)
    return recorder.trajectory()


def test_finished_images_that_were_not_given_are_asked_for() -> None:
    forgotten = record(finish=False)
    for draw in (forgotten.plot_strip, lambda: study_recording(forgotten, ())):
        with pytest.raises(VizdiffNonFiniteError, match=r"recorder\.finish\(images\)"):
            draw()
    record().plot_strip()  # a control


def test_a_mix_that_was_not_given_is_asked_for() -> None:
    with pytest.raises(VizdiffNonFiniteError, match=r"guidance_scale="):
        record(guided=True).plot_strip()


@pytest.mark.parametrize("images", [np.zeros((1, 1, 28, 28)), torch.zeros(1, 1, 28, 28, dtype=torch.uint8), None])
def test_finished_images_are_tensors_scaled_as_the_states(images: object) -> None:
    recorder = Recorder(CheapDenoiser(), NoiseSchedule.named())
    with pytest.raises(VizdiffUsageError, match=r"floating-point tensor.* found (float64|torch.uint8|NoneType)"):
        recorder.finish(images)


def test_the_chapter_of_another_forward_process_is_left_out() -> None:
    """Its formula is √ᾱ x_0 + √(1-ᾱ) ε; a flow's is (1-σ) x_0 + σ ε."""
    assert measure_recording(record(schedule="flow")) is None
    assert measure_recording(record()) is not None


def test_an_unknown_schedule_lists_all() -> None:
    with pytest.raises(VizdiffUsageError, match="linear, cosine, zero-snr, flow"):
        NoiseSchedule.named("cosin")
