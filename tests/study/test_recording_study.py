"""``vizdiff report --trajectory`` on recordings of other programs: told by what they show, and nothing more."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
)
from refusals import refused
from small_unet import small_unet

from viz_diffusion import Recorder, record_pipeline
from viz_diffusion.cli import main
from viz_diffusion.diffusion.samplers import ImageNoise, ddpm_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.lessons.base import all_lessons
from viz_diffusion.lessons.noising import lesson as noising
from viz_diffusion.lessons.step import lesson as step
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.report.player import MOST_PIXELS
from viz_diffusion.report.recording_assembly import player
from viz_diffusion.study.recording_study import study_recording
from viz_diffusion.text.catalogue import languages, load_texts

# diffusers' own schedulers turn tensors into arrays in a way that newer NumPy warns of
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ALONE = tuple(lesson for lesson in all_lessons() if lesson.measure_recording is not None)
FOREIGN = re.compile(r"MNIST|\bdigits?\b|[{}]|\bnan\b|手写|[这一]个数字|数字 \d")
"""What must not be said of a recording that knows nothing of it."""


def record(scheduler: Any, channels: int = 3, steps: int = 20, **call: Any) -> Trajectory:
    """Record one small picture; whichever scheduler it is, DDIM's pipeline can run it."""
    pipe = DDIMPipeline(small_unet(channels), DDIMScheduler())
    pipe.scheduler = scheduler  # the constructor would turn it into a DDIM
    if not hasattr(scheduler, "final_alpha_cumprod"):
        pipe = DDPMPipeline(pipe.unet, scheduler)
    pipe.set_progress_bar_config(disable=True)
    if hasattr(scheduler, "init_noise_sigma") and float(scheduler.init_noise_sigma) > 1:
        pipe.unet.register_forward_pre_hook(
            lambda _, args: (scheduler.scale_model_input(args[0], args[1]), *args[1:])
        )  # which an unconditional pipeline does not do
    with record_pipeline(pipe, seeds=[3]) as recording:
        pipe(generator=torch.Generator().manual_seed(3), num_inference_steps=steps, output_type="np", **call)
    return recording.trajectory()


# -- a step taken apart by what the recording shows ------------------------------------------------


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
def test_what_ddpm_throws_on_is_the_generators_own_noise(variance: str) -> None:
    found = record(DDPMScheduler(variance_type=variance))
    parts = step.measure_recording(found)
    assert parts is not None
    generator = torch.Generator().manual_seed(3)
    draws = [torch.randn((1, 3, 8, 8), generator=generator).numpy()[0] for _ in range(20)]
    assert np.array_equal(found.x_t[0, 0], draws[0])
    spaced = found.schedule.respaced(found.timesteps[::-1])
    sigma = np.sqrt(spaced.betas if variance == "fixed_large" else spaced.posterior_variance)[::-1]
    for index in range(19):
        np.testing.assert_allclose(parts.injected[index], sigma[index] * draws[index + 1], atol=1e-4)
    assert np.abs(parts.injected[19]).max() < 1e-6
    assert step.facts(parts).is_ddpm


@pytest.mark.parametrize(
    "scheduler",
    [DDIMScheduler, partial(DDIMScheduler, clip_sample=False), EulerDiscreteScheduler],
    ids=["ddim", "ddim, not clipped", "euler, fractional t"],
)
def test_samplers_without_fresh_noise_throw_nothing_on(scheduler: Callable[[], Any]) -> None:
    found = record(scheduler())
    parts = step.measure_recording(found)
    assert parts is not None
    assert not parts.injected.any()
    assert (found.timesteps.dtype.kind == "f") == (found.sampler == "EulerDiscrete")


def test_ddim_that_derives_its_noise_anew_from_the_clipped_guess_is_known_too() -> None:
    assert step.measure_recording(record(DDIMScheduler(), use_clipped_model_output=True)) is not None


def test_the_noise_of_ddims_eta_is_told_where_eta_is() -> None:
    found = record(DDIMScheduler(), eta=1.0)
    assert step.measure_recording(found) is None, "the recording does not know η"
    parts = step.measure_recording(replace(found, eta=1.0))
    assert parts is not None
    assert np.all(np.abs(parts.injected[:-1]).max(axis=(1, 2, 3)) > 0)


@pytest.mark.parametrize(
    "scheduler", [DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler], ids=["2M", "ancestral"]
)
def test_what_follows_neither_formula_is_left_out(scheduler: Callable[[], Any]) -> None:
    found = record(scheduler())
    assert step.measure_recording(found) is None
    assert [lesson.name for lesson in study_recording(found, ALONE).not_shown] == ["step"]


def test_control_a_wrong_variance_is_noticed() -> None:
    """Fresh noise of another size than the scheduler is said to use must not pass as its own."""
    found = record(DDPMScheduler(variance_type="fixed_large"), steps=4)
    assert step.measure_recording(found) is not None
    assert step.measure_recording(replace(found, variance="beta_tilde")) is None
    assert step.measure_recording(replace(found, variance="")) is None


# -- its finished picture, destroyed again ----------------------------------------------------------


def test_the_finished_picture_is_destroyed_by_its_own_schedule() -> None:
    found = record(DDPMScheduler(beta_schedule="squaredcos_cap_v2"))
    data = noising.measure_recording(found)
    assert data is not None
    assert data.schedule is found.schedule
    x0 = np.moveaxis(found.x0[0], 0, -1)
    np.testing.assert_array_equal(data.images[0, 0], x0)
    shares = found.schedule.alphas_cumprod[data.timesteps]
    noise = (data.images[0, 1:] - np.sqrt(shares)[:, None, None, None] * x0) / np.sqrt(1 - shares)[:, None, None, None]
    np.testing.assert_allclose(noise, np.broadcast_to(noise[-1], noise.shape), atol=2e-3)  # one noise throughout
    assert 0.8 < noise[-1].std() < 1.2
    assert data.chains.count * x0.size <= noising.CHAINS[0] * 784
    assert {claim.name: claim.holds for claim in noising.claims(data)} == {"closed_form": True, "crossing": True}
    assert list(noising.draw(data)) == ["snr"]


def test_a_schedule_that_leaves_the_signal_stronger_is_left_out() -> None:
    found = record(DDPMScheduler(num_train_timesteps=50))
    assert noising.measure_recording(found) is None
    assert [lesson.name for lesson in study_recording(found, ALONE).not_shown] == ["noising"]


# -- players ---------------------------------------------------------------------------------------


def test_the_player_holds_the_recordings_own_pixels() -> None:
    found = record(EulerDiscreteScheduler())
    played = player(found)
    assert played.digit is None
    np.testing.assert_array_equal(played.x_t[4, ..., 1], found.x_t[0, 4, 1])
    np.testing.assert_array_equal(played.x_t[-1, ..., 2], found.x0[0, 2])
    np.testing.assert_allclose(played.eps_pred[4], found.eps_pred[0, 4].sum(axis=0) / np.sqrt(3), rtol=1e-6)
    np.testing.assert_array_equal(played.shares, found.alphas_cumprod)
    assert len(played.x_t) == 21


def test_a_recording_of_many_pixels_keeps_evenly_spread_steps() -> None:
    side, steps = 256, 100
    shape = (1, steps, 1, side, side)
    zeros = np.zeros(shape, np.float32)
    found = Trajectory(
        NoiseSchedule.named("linear"),
        np.arange(steps)[::-1],
        zeros,
        zeros,
        zeros,
        zeros[:, 0],
        np.array([-1]),
        np.array([-1]),
        sampler="DDPM",
    )
    played = player(found)
    assert 50 < len(played.timesteps) <= MOST_PIXELS // side**2
    assert (played.timesteps[0], played.timesteps[-1], played.total) == (steps - 1, 0, steps)


# -- the command -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a recording of two pictures of class 4, made by a pipeline from a folder."""
    place = tmp_path_factory.mktemp("classes")
    DDIMPipeline(small_unet(num_class_embeds=5), DDIMScheduler()).save_pretrained(place / "pipe")
    out = place / "t"
    argv = ["--digit", "4", "--steps", "12", "--seed", "7", "--count", "2", "--quiet"]
    assert main(["trajectory", "--diffusers", str(place / "pipe"), "--out", str(out), *argv]) == 0
    return out


def test_the_report_says_what_is_known_and_nothing_else(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "r.html"
    assert main(["report", "--trajectory", str(folder), "--out", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    recorded = Trajectory.open(folder / "trajectory.zarr")
    assert (said["label"], said["seed"], said["recording"]["guidance_scale"]) == (4, 7, None)
    assert said["weights_sha256"] == recorded.weights_sha256
    assert list(said["lessons"]) == ["noising", "guess", "step"]
    assert set(said["left_out"]) == {lesson.name for lesson in all_lessons()} - {"noising", "guess", "step"}
    assert said["lessons"]["step"]["injects_more"] == 0
    page = out.read_text("utf-8")
    for words in ("class 4", "seed 7", recorded.weights_sha256, "2 pictures were made together", "1 × 8 × 8"):
        assert words in page
    assert "vizdiff report --trajectory t" in re.sub("</?span>", "", page)


@pytest.mark.parametrize("lang", languages())
def test_where_nothing_is_known_nothing_is_claimed(
    lang: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(EulerAncestralDiscreteScheduler()).save(tmp_path / "r.zarr")
    argv = ["--trajectory", str(tmp_path / "r.zarr"), "--out", str(tmp_path / "r.html"), "--lang", lang, "--json"]
    assert main(["report", *argv]) == 0
    said, texts = json.loads(capsys.readouterr().out), load_texts(lang).preferring("alone")
    assert (said["label"], said["seed"], said["weights_sha256"]) == (None, 3, None)
    page = (tmp_path / "r.html").read_text("utf-8")
    body = page.partition("<main>")[2].partition("</main>")[0]
    text = re.sub(r"<[^>]*>|data:[^\"]*", "", body)
    assert FOREIGN.findall(text) == []
    assert texts["chapter.step.left_out"] in text
    for lesson in all_lessons():
        assert texts[f"chapter.{lesson.name}.title"] in text, "told, or named as left out"
    assert "EulerAncestralDiscrete" in text


@pytest.mark.parametrize("argv", [["--steps", "1"], ["--steps", "2"]])
def test_one_or_two_steps_are_enough(argv: list[str], folder: Path, tmp_path: Path) -> None:
    pipe = folder.parent / "pipe"
    assert main(["trajectory", "--diffusers", str(pipe), "--out", str(tmp_path / "t"), "--quiet", *argv]) == 0
    out = ["--out", str(tmp_path / "r.html"), "--quiet"]
    assert main(["report", "--trajectory", str(tmp_path / "t"), *out]) == 0


def test_a_recorders_own_loop_with_unknown_weights_is_told_too(
    make_unet: Callable[..., Any], linear: NoiseSchedule, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = make_unet()
    with Recorder(network, linear) as recorder:
        labels, visited = torch.tensor([3]), np.array([900, 400, 20])
        *_, last = ddpm_steps(network, linear, ImageNoise([1]), labels, timesteps=visited, null_label=10)
        recorder.finish(last.x_prev)
    recorder.trajectory().save(tmp_path / "r.zarr")
    argv = ["--trajectory", str(tmp_path / "r.zarr"), "--out", str(tmp_path / "r.html")]
    line = refused(capsys, 3, "worksheet", "--trajectory", str(tmp_path / "r.zarr"))
    assert "another program (weights not known)" in line
    assert main(["report", *argv, "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["lessons"]) == ["noising", "guess"], "its variance was not told"
    replace(recorder.trajectory(), eps_pred=np.full((1, 3, 1, 28, 28), np.nan, np.float32)).save(tmp_path / "r.zarr")
    assert "NaN" in refused(capsys, 6, "report", *argv)


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["--run", "bundled"], 3, "give the run it came from as --run"),
        (["--lessons", "guess,label"], 2, "--lessons label asks the network"),
        (["--sampler", "ddim"], 2, "whose sampler is DDIM"),
        (["--guidance", "2"], 2, "whose guidance is not known"),
        (["--digit", "3"], 2, "whose digit is 4"),
    ],
)
def test_what_does_not_fit_the_recording_is_refused(
    argv: list[str], code: int, words: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "r.html"
    assert words in refused(capsys, code, "report", "--trajectory", str(folder), "--out", str(out), *argv)
    assert not out.exists()


@pytest.mark.parametrize(("shape", "words"), [((4, 8, 8), "latents of 4 channels"), ((1, 300, 300), "300 × 300")])
def test_what_cannot_be_drawn_is_refused(
    shape: tuple[int, ...], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    zeros = np.zeros((1, 1, *shape), np.float32)
    unknown = np.array([-1])
    Trajectory(
        NoiseSchedule.named("linear"),
        np.array([5]),
        zeros,
        zeros,
        zeros,
        zeros[:, 0],
        unknown,
        unknown,
        sampler="PNDM",
    ).save(tmp_path / "r.zarr")
    argv = ["report", "--trajectory", str(tmp_path / "r.zarr"), "--out", str(tmp_path / "r.html")]
    assert words in refused(capsys, 3, *argv)


def test_lessons_that_can_stand_alone_are_named_one_by_one(folder: Path, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "r.html"), "--quiet", "--figures", str(tmp_path / "f")]
    assert main(["report", "--trajectory", str(folder), "--lessons", "step", *out]) == 0
    assert sorted(path.name for path in (tmp_path / "f").iterdir()) == [
        "ledger.png",
        "ledger.svg",
        "steps.png",
        "steps.svg",
    ]
