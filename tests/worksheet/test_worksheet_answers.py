"""Frames and numbers of a worksheet, and whether its answers are right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from worksheet_fakes import LINEAR, fake_digit, fake_others, fake_trajectory, noisy_states

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffInputError, VizdiffNonFiniteError
from viz_diffusion.text.catalogue import languages, load_texts
from viz_diffusion.worksheet.page import render_answer_key, render_worksheet
from viz_diffusion.worksheet.plan import MIN_STEPS, NOISIEST_SHARE, choose_frames, make_worksheet, roughness
from viz_diffusion.worksheet.prompt_exercise import with_prompts
from viz_diffusion.worksheet.tasks import AnswerKey, Worksheet


def test_frames_are_those_of_the_recording_in_the_order_of_the_key(worksheet: tuple[Worksheet, AnswerKey]) -> None:
    sheet, key = worksheet
    trajectory = fake_trajectory()
    on_sheet = dict(zip(sheet.frame_order.letters, sheet.frame_order.frames, strict=True))
    states = {int(n): frame for n, frame in zip(trajectory.steps_left, trajectory.x_t[0, :, 0], strict=True)}
    states[0] = trajectory.x0[0, 0]
    assert sorted(key.frame_order.letters) == list(sheet.frame_order.letters)
    assert key.frame_order.letters != sheet.frame_order.letters
    assert (np.diff(key.frame_order.steps_left) < 0).all()
    assert key.frame_order.steps_left[0] == NOISIEST_SHARE * 100
    assert key.frame_order.steps_left[-1] == 0
    for letter, left in zip(key.frame_order.letters, key.frame_order.steps_left, strict=True):
        assert np.array_equal(on_sheet[letter], states[int(left)])


@pytest.mark.parametrize("steps", [MIN_STEPS, 50, 250, 1000])
def test_roughness_separates_consecutive_frames(steps: int) -> None:
    timesteps, x_t, _ = noisy_states(fake_digit(5), steps, 0)
    chosen = choose_frames(LINEAR.alphas_cumprod[timesteps])
    frames = np.concatenate([x_t, fake_digit(5)[None]])[chosen]
    assert (np.diff(roughness(frames)) < -0.02).all()


def test_control_roughness_does_not_separate_frames_of_pure_noise() -> None:
    frames = noisy_states(fake_digit(5), 1000, 0)[1][[0, 50, 100, 150, 200]]
    assert not (np.diff(roughness(frames)) < -0.02).all()


def test_roughness_by_hand() -> None:
    frame = np.array([[[0.0, 0.5], [3.0, 0.5]]], np.float32)  # 3 is drawn as 1
    assert roughness(frame) == pytest.approx([(0.5 + 0.5 + 1.0 + 0.0) / 4])


def test_generations_and_digits_match(worksheet: tuple[Worksheet, AnswerKey]) -> None:
    sheet, key = worksheet
    others = {one.digit: one for one in fake_others()}
    assert len(set(key.digits.digits)) == 4
    assert 5 not in key.digits.digits
    for k, digit in enumerate(key.digits.digits):
        assert np.array_equal(sheet.digits.frames[:, k], others[digit].states_at(sheet.digits.steps_left))
        assert np.array_equal(key.digits.finished[k], fake_digit(digit))
        assert np.array_equal(key.digits.x0_pred[:, k], np.repeat(fake_digit(digit)[None], 4, axis=0))
    assert sheet.digits.steps_left.tolist() == [55, 45, 35, 25]


def test_the_snr_table_by_hand(worksheet: tuple[Worksheet, AnswerKey]) -> None:
    sheet, key = worksheet
    assert sheet.snr.timesteps.tolist() == [0, 50, 100, 150, 200, 250, 300, 400, 500]
    betas = np.linspace(1e-4, 0.02, 1000)
    exact = np.array([np.prod(1 - betas[: t + 1]) for t in sheet.snr.timesteps])
    assert np.allclose(sheet.snr.alphas_cumprod, exact, rtol=5e-4)
    assert np.allclose(key.snr.snr, sheet.snr.alphas_cumprod / (1 - sheet.snr.alphas_cumprod))
    assert (key.snr.last_above, key.snr.first_below, key.snr.crossing) == (250, 300, 259)
    assert np.prod(1 - betas[:259]) > 0.5 > np.prod(1 - betas[:260])
    a, b = sheet.snr.alphas_cumprod[5:7]
    assert key.snr.interpolated == pytest.approx(250 + 50 * (a - 0.5) / (a - b))
    assert abs(key.snr.interpolated - 259) < 3


def test_computed_pixels_equal_the_recorded_prediction(worksheet: tuple[Worksheet, AnswerKey]) -> None:
    sheet, key = worksheet
    task = sheet.pixel
    assert len({*zip(task.rows.tolist(), task.columns.tolist(), strict=True)}) == 4
    truth = fake_digit(5)[task.rows - 1, task.columns - 1]
    assert sorted(np.sign(truth)) == [-1, -1, 1, 1]
    assert np.allclose(key.pixel.recorded, truth)
    assert np.allclose(key.pixel.x0, truth, atol=0.05)  # from numbers with two decimals
    share = LINEAR.alphas_cumprod[task.timestep]
    assert key.pixel.gap == pytest.approx(2 * share**0.5, rel=1e-3)


def test_the_same_recording_gives_the_same_sheet_and_another_seed_another() -> None:
    first, again, other = (make_worksheet(fake_trajectory(seed=s), fake_others(), fake_digit(3)) for s in (1, 1, 2))
    texts = load_texts("en")
    assert render_worksheet(first[0], texts) == render_worksheet(again[0], texts)
    assert first[0].code != other[0].code
    orders = {
        make_worksheet(fake_trajectory(seed=s), fake_others(), fake_digit(3))[1].frame_order.letters for s in range(12)
    }
    assert len(orders) == 12


def test_unsuitable_recordings_are_refused() -> None:
    with pytest.raises(VizdiffInputError, match="at least 20 steps, found 19"):
        make_worksheet(fake_trajectory(19), fake_others(), fake_digit(3))
    clean = NoiseSchedule(np.full(1000, 1e-6))
    with pytest.raises(VizdiffInputError, match="never crosses 1"):
        make_worksheet(fake_trajectory(schedule=clean), fake_others(), fake_digit(3))
    unfinished = fake_trajectory(x0=np.full((1, 1, 28, 28), np.nan, np.float32))
    sheet, _ = make_worksheet(unfinished, fake_others(), fake_digit(3))
    with pytest.raises(VizdiffNonFiniteError, match="NaN"):
        render_worksheet(sheet, load_texts("en"))


def test_the_exercise_on_classes_needs_two_other_classes() -> None:
    trajectory, others, real = fake_trajectory(), fake_others(), fake_digit(3)
    few, key = make_worksheet(trajectory, others[:3], real)
    assert few.digits is not None
    assert len(few.digits.names) == len(key.facts()["digits"]) == 3
    none, key = make_worksheet(trajectory, others[:1], real)
    assert none.digits is None
    assert key.facts()["digits"] == {}
    for lang, said in (("en", "This exercise is left out"), ("zh", "这道练习略去")):
        texts = load_texts(lang)
        assert said in render_worksheet(none, texts)
        assert said in render_answer_key(none, key, "vizdiff worksheet", texts)


def test_each_prompt_has_the_samples_that_were_made_with_it(worksheet: tuple[Worksheet, AnswerKey]) -> None:
    prompts = ("a seven", "a thin two", "a wide <b>one</b>")
    images = np.stack([np.full((5, 28, 28), k / 4, np.float32) for k in range(3)])
    images += 0.01 * np.arange(5, dtype=np.float32)[None, :, None, None]  # the noises
    sheet, key = with_prompts(*worksheet, prompts, images, prompts[1])
    again, _ = with_prompts(*worksheet, prompts, images, prompts[1])
    assert sheet.prompts is not None
    assert again.prompts is not None
    assert key.prompts is not None
    assert np.array_equal(sheet.prompts.frames, again.prompts.frames)
    assert sheet.prompts.letters == tuple("ABCDEF")
    frames = dict(zip(sheet.prompts.letters, sheet.prompts.frames, strict=True))
    for k, letters in enumerate(key.prompts.letters):
        found = sorted(float(frames[letter][0, 0]) for letter in letters)
        assert found == pytest.approx([k / 4, k / 4 + 0.01])
    assert key.facts()["prompts"] == ["".join(letters) for letters in key.prompts.letters]
    other = with_prompts(worksheet[0], replace(worksheet[1], seed=1), prompts, images, prompts[1])[1]
    assert other.facts()["prompts"] != key.facts()["prompts"]  # the code alone does not give the order
    for lang in languages():
        texts = load_texts(lang)
        student, teacher = render_worksheet(sheet, texts), render_answer_key(sheet, key, "vizdiff", texts)
        assert "a wide &lt;b&gt;one" in student
        for k, letters in enumerate(key.prompts.letters):
            solution = f"<span>{k + 1} = {', '.join(letters)}</span>"
            assert solution in teacher
            assert solution not in student
    assert 'id="prompts"' not in render_worksheet(worksheet[0], load_texts())
