"""Coarse first? By a Gaussian whose waves emerge where the closed form says, and by ones in which fine comes first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from lesson_context import make_context, outcomes, speckle, told_in_every_language
from matplotlib.figure import Figure

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.diffusion.oracles import GaussianOracle
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.lessons.base import Finding
from viz_diffusion.lessons.coarse_fine import figures as frequency
from viz_diffusion.lessons.coarse_fine import lesson as coarse_fine
from viz_diffusion.lessons.coarse_fine.emergence import CoarseFine, held_out_rows, measure_coarse_fine
from viz_diffusion.lessons.coarse_fine.spectra import (
    FREQUENCIES,
    linear_coherence,
    predicted_emergence,
    radius,
    rings,
    spectrum,
    split,
    wiener,
)
from viz_diffusion.lessons.context import record_traces
from viz_diffusion.plots import theme
from viz_diffusion.text.catalogue import load_texts

SCHEDULE = NoiseSchedule.named("linear")
SIDE = 28


class Drawn(GaussianOracle):
    """The perfect denoiser of a Gaussian that pictures can be drawn from."""

    def drawn(self, count: int, seed: int = 0) -> Digits:
        rng = np.random.default_rng(seed)
        parts = rng.standard_normal((count, SIDE**2)) * np.sqrt(self.variances)
        images = torch.from_numpy(parts @ self._directions.numpy().T).float().reshape(count, 1, SIDE, SIDE)
        return Digits(images, torch.arange(count) % 10)


def blots(count: int = 12, variance: float = 0.05) -> Drawn:
    """Return the denoiser of pictures that are sums of a few blots, each at its own place: nothing stationary."""
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    at = rng.uniform(3, SIDE - 3, (count, 2))
    shapes = np.exp(-(np.square(rows - at[:, 0, None, None]) + np.square(columns - at[:, 1, None, None])) / 2)
    flat = shapes.reshape(count, -1)
    return Drawn(SCHEDULE, np.zeros(SIDE**2), variance * flat.T @ flat)


class Waves(Drawn):
    """The perfect denoiser of pictures whose power at radius f is ``power(f)``: stationary, so that waves decouple."""

    @classmethod
    def of(cls, power: np.ndarray) -> Waves:
        # the covariance of a stationary field is the inverse transform of its spectrum
        kernel = np.fft.ifft2(power).real
        rows = np.arange(SIDE)
        apart = (rows[:, None] - rows[None]) % SIDE
        covariance = kernel[apart[:, None, :, None], apart[None, :, None, :]].reshape(SIDE**2, SIDE**2)
        return cls(SCHEDULE, np.zeros(SIDE**2), covariance)


def falling(r: np.ndarray) -> np.ndarray:
    """0.0025 at the finest, small enough that nothing is clipped, and falling as natural pictures' power does."""
    return 0.5 / (1 + r) ** 2


def measured(oracle: Drawn, count: int = 64, steps: int = 100) -> CoarseFine:
    visited = np.unique(np.round(np.linspace(0, 999, steps)).astype(np.int64))[::-1]
    traces = record_traces(oracle, SCHEDULE, count, visited)
    return measure_coarse_fine(oracle, traces, oracle.drawn(4000), oracle.drawn(200, 7), frames=steps, resamples=100)


@pytest.fixture(scope="module")
def natural() -> CoarseFine:
    return measured(Waves.of(falling(radius(SIDE))))


def test_white_noise_has_power_one_and_nothing_is_lost() -> None:
    noise = torch.randn(2000, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    found = spectrum(Digits(noise, torch.zeros(2000, dtype=torch.int64)), per_label=False)
    assert np.abs(found - 1).max() < 0.02
    image = noise[0, 0].numpy().astype(np.float64)
    power = np.square(np.abs(np.fft.fft2(image, norm="ortho")))
    assert power.sum() == pytest.approx(np.square(image).sum())  # Parseval
    assert rings(np.ones((SIDE, SIDE))).tolist() == [1.0] * len(FREQUENCIES)


def test_mnists_own_waves_should_emerge_where_they_are_known_to() -> None:
    """Known from another implementation to a few steps: i* by frequency, about the mean of all digits."""
    known = {1: 346, 2: 378, 3: 333, 4: 287, 5: 233, 6: 180, 8: 108, 10: 62, 12: 46, 14: 36}
    found = predicted_emergence(spectrum(load_digits("train"), per_label=False), SCHEDULE)
    assert all(abs(found[f - 1] - t) <= 3 for f, t in known.items())
    assert found.argmax() == 1  # two cycles, not one: digits are centred


def test_the_prediction_is_where_signal_and_noise_are_equal() -> None:
    power = np.array([2.0, 0.5, 0.01])
    t = predicted_emergence(power, SCHEDULE).astype(int)
    at = SCHEDULE.alphas_cumprod
    assert np.all(at[t] * power < 1 - at[t])
    assert np.all(at[t - 1] * power >= 1 - at[t - 1])
    assert np.all(np.diff(wiener(power, SCHEDULE), axis=0) < 0)


def test_for_a_perfect_linear_denoiser_coherence_and_power_are_the_closed_form(
    natural: CoarseFine,
) -> None:
    """Both are ᾱS/(ᾱS + 1-ᾱ); 64 pictures and the waves of a ring decide how far from it they may be."""
    expected = wiener(rings(falling(radius(SIDE))), SCHEDULE)[natural.timesteps]
    late = expected > 0.1
    assert np.abs(natural.shared - expected)[late].max() < 0.15
    assert np.abs(natural.shared - expected)[late].mean() < 0.025
    assert np.abs(natural.power - expected)[late].mean() < 0.04
    assert np.abs(natural.emergence - natural.predicted).mean() < 12  # steps are 10 apart
    answers = outcomes(coarse_fine.LESSON, natural)
    assert answers.pop("beyond_linear") is not True
    assert answers.pop("real_beyond_linear") is not True
    assert answers == {"coarse_first": True, "as_predicted": True, "coarsest_first": True}


def test_the_best_linear_denoiser_of_stationary_pictures_is_the_filter() -> None:
    """Then every wave is an eigenvector; each ring is averaged before or after, which few thousand pictures blur."""
    oracle = Waves.of(falling(radius(SIDE)))
    digits = oracle.drawn(20000)
    one = Digits(digits.images, torch.zeros_like(digits.labels))
    known = wiener(rings(falling(radius(SIDE))), SCHEDULE)
    assert np.abs(linear_coherence(one, SCHEDULE) - known).max() < 0.05


def test_control_where_waves_go_together_the_filter_is_late_and_the_linear_denoiser_is_not() -> None:
    """Blots tie the waves together: the perfect denoiser is linear, and hears a wave in all the others."""
    found = measured(blots())
    assert np.abs(found.emergence - found.linear).mean() < 15  # steps are 10 apart
    assert (found.emergence - found.predicted).mean() > 60
    answers = outcomes(coarse_fine.LESSON, found)
    assert answers["as_predicted"] is False
    assert answers["beyond_linear"] is answers["real_beyond_linear"] is not True
    early = replace(found, resampled=(found.resampled + 80).astype(np.int16))
    assert outcomes(coarse_fine.LESSON, early)["beyond_linear"] is True


def test_for_noised_real_images_a_perfect_linear_denoiser_emerges_where_the_closed_form_says(
    natural: CoarseFine,
) -> None:
    assert np.abs(natural.real - natural.predicted).mean() < 12  # steps are 10 apart
    assert np.abs(natural.real - natural.emergence).mean() < 20


def test_held_out_digits_have_the_labels_of_the_generations_and_are_different_ones() -> None:
    digits = Digits(torch.zeros(12, 1, 2, 2), torch.tensor([0, 1, 2] * 4))
    labels = np.array([2, 0, 2, 1, 2, 2])
    rows = held_out_rows(digits, labels)
    assert np.array_equal(digits.labels.numpy()[rows], labels)
    assert len(set(rows.tolist())) == len(labels)
    assert held_out_rows(digits, np.array([5, 5])).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("shift", "verdict", "start"),
    [(90, "Yes", "Yes."), (-90, "No", "No."), (0, "Undecided", "Undecided")],
)
def test_noised_real_digits_are_told_every_way(natural: CoarseFine, shift: int, verdict: str, start: str) -> None:
    around = natural.linear + shift + 9 * np.arange(-50, 50)[:, None] * (shift == 0)
    data = replace(natural, real=natural.linear + shift, real_resampled=around.astype(np.int16))
    told = told_in_every_language(Finding.of(coarse_fine.LESSON, data, full=False), make_context(speckle()))
    answer = told["en"].answers[3]
    assert answer.verdict == verdict
    assert answer.text.startswith(start)
    assert told["zh"].answers[3].text.startswith({"Yes.": "是", "No.": "否", "Undecided": "无法"}[start])


def test_which_of_the_first_two_frequencies_leads_is_told_of_real_digits_too(natural: CoarseFine) -> None:
    real = natural.real_resampled.copy()
    real[:, 0], real[:, 1] = 410, 400 - np.arange(len(real)) % 3
    data = replace(natural, real=np.array([410, 399, *natural.real[2:]]), real_resampled=real)
    finding = Finding.of(coarse_fine.LESSON, data, full=False)
    told = told_in_every_language(finding, make_context(speckle()))
    assert "the control, it is +11 (+10 to +12)" in told["en"].answers[4].text
    assert "为 +11（+10 至 +12）" in told["zh"].answers[4].text


def test_control_where_power_rises_with_frequency_fine_comes_first() -> None:
    found = measured(Waves.of(0.0005 + 0.1 * (radius(SIDE) / 20) ** 2))
    assert outcomes(coarse_fine.LESSON, found)["coarse_first"] is False
    assert outcomes(coarse_fine.LESSON, found)["coarsest_first"] is False
    assert outcomes(coarse_fine.LESSON, found)["as_predicted"] is True


def test_control_guesses_of_other_pictures_never_emerge() -> None:
    oracle = Waves.of(falling(radius(SIDE)))
    traces = record_traces(oracle, SCHEDULE, 64, np.array([999, 700, 400, 200, 50]))
    strange = replace(traces, x0=np.roll(traces.x0, 1, axis=0))
    found = measure_coarse_fine(oracle, strange, oracle.drawn(400), oracle.drawn(100, 7), resamples=20)
    assert (found.real[:3] > 0).all()  # the control asks about real images, and is not fooled
    assert (found.emergence == 0).all()
    answers = outcomes(coarse_fine.LESSON, found)
    assert answers["coarse_first"] is answers["coarsest_first"] is answers["beyond_linear"] is False
    lines = coarse_fine.rows(coarse_fine.facts(found), load_texts("en")).rows
    assert {line[1:3] for line in lines} == {("–", "–")}  # never is not t = 0
    for axes in coarse_fine.draw(found)["emergence"].axes:
        if not axes.collections:  # the key
            continue
        dots = [line for line in axes.lines if line.get_marker() == "o"]
        assert [len(line.get_xdata()) for line in dots] in ([], [int((found.real > 0).sum()), 0])


def test_the_parts_of_a_picture_add_up_to_it_and_hold_their_own_waves() -> None:
    images = load_digits("test").images[:3, 0].numpy()
    parts = split(images)
    assert parts.shape == (3, 3, SIDE, SIDE)
    assert np.allclose(parts.sum(axis=1), images, atol=1e-5)
    powers = np.square(np.abs(np.fft.fft2(parts)))
    r = radius(SIDE)
    assert powers[:, 0][:, r > 2.5].max() < 1e-6 * powers.max()
    assert powers[:, 2][:, r <= 6.5].max() < 1e-6 * powers.max()


def test_the_figures_show_what_was_found(natural: CoarseFine) -> None:
    figures: dict[str, Figure] = coarse_fine.draw(natural)
    assert tuple(figures) == coarse_fine.LESSON.figure_names
    maps = [axes for axes in figures["emergence"].axes if axes.collections]
    for axes, values in zip(maps, (natural.shared, natural.power), strict=True):
        assert np.array_equal(axes.collections[0].get_array().reshape(values.T.shape), values.T)
        opened, dots = [line for line in axes.lines if line.get_marker() == "o"]
        assert np.array_equal(999 - opened.get_xdata(), natural.real[natural.real > 0])
        there = natural.emergence > 0
        assert np.array_equal(999 - dots.get_xdata(), natural.emergence[there])
        assert np.array_equal(dots.get_ydata(), natural.frequencies[there])
        lines = {line.get_linestyle(): line for line in axes.lines if line.get_color() == theme.ON_LIGHT}
        assert np.array_equal(999 - lines["-"].get_xdata()[::2], natural.predicted)
        assert np.array_equal(999 - lines["--"].get_xdata()[::2], natural.linear)
    shown = [image.get_array() for axes in figures["bands"].axes for image in axes.images]
    count = len(natural.bands.timesteps)
    assert len(shown) == 4 * count
    factor = shown[0].shape[0] // SIDE
    for row, images in enumerate((natural.bands.x0_pred, *natural.bands.parts.swapaxes(0, 1))):
        for column, image in enumerate(images):
            assert np.array_equal(shown[row * count + column][::factor, ::factor], image)
    assert frequency._names((2.5, 6.5))[1:] == ("coarse\nf = 0–2", "medium\nf = 3–6", "fine\nf ≥ 7")


def test_it_is_told_both_ways(natural: CoarseFine) -> None:
    context = make_context(speckle())
    upside_down = replace(natural, emergence=natural.emergence[::-1], resampled=natural.resampled[:, ::-1])
    linear = natural.emergence.mean() - natural.linear.mean()
    ahead = replace(natural, resampled=natural.resampled + np.int16(100))
    torn = replace(natural, resampled=natural.resampled - np.int16(linear) + 9 * np.arange(-50, 50)[:, None])
    late = replace(natural, linear=natural.linear + 99)
    for data, verdict in ((ahead, "Yes"), (late, "No"), (torn, "Undecided")):
        told = told_in_every_language(Finding.of(coarse_fine.LESSON, data, full=False), context)
        assert told["en"].answers[2].verdict == verdict
    unsure = replace(natural, resampled=np.concatenate([natural.resampled, natural.resampled[:, ::-1]]))
    for data, verdict in ((natural, "Yes"), (upside_down, "No"), (unsure, "Undecided")):
        told = told_in_every_language(Finding.of(coarse_fine.LESSON, data, full=False), context)
        assert told["en"].answers[0].verdict == verdict
        assert len(told["zh"].answers) == 5
        assert all("{" not in one.text for lang in told.values() for one in lang.answers)
