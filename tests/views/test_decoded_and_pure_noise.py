"""Views of latents that were decoded, and of recordings whose first step has no signal (log SNR = -∞)."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from small_trajectory import make_trajectory

from viz_diffusion.cli import main
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.files import to_json
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.views import strip
from viz_diffusion.views.frames import choose_frames, film_steps

# -- latents ---------------------------------------------------------------------------------------


@pytest.fixture
def latents() -> Trajectory:
    """Three recordings of 5 steps with 4 channels, decoded at 5 and 2 steps left and at the end."""
    rng = np.random.default_rng(1)
    states = [rng.standard_normal((3, 5, 4, 4, 6)).astype(np.float32) for _ in range(3)]
    return make_trajectory(
        x_t=states[0],
        eps_pred=states[1],
        x0_pred=states[2],
        x0=rng.standard_normal((3, 4, 4, 6)).astype(np.float32),
        eps_cond=None,
        eps_uncond=None,
        decoded=rng.uniform(-1.2, 1.2, (3, 3, 3, 8, 12)).astype(np.float32),
        decoded_steps=np.array([0, 3, 5]),
    )


def tiles(axes: object, height: int, width: int) -> list[list[np.ndarray]]:
    """Cut a mosaic of three rows into its images, (H, W, 4) uint8, each as large as the largest."""
    mosaic = np.asarray(axes.images[0].get_array())  # type: ignore[attr-defined]
    assert mosaic.shape[0] == 3 * (height + 8) - 8
    return [
        [mosaic[row * (height + 8) :][:height, column * (width + 8) :][:, :width] for column in range(3)]
        for row in range(3)
    ]


def test_decoded_latents_are_drawn(latents: Trajectory) -> None:
    axes = Figure().add_subplot()
    assert latents.plot_decoded(axes, sample=1) is axes.figure
    assert [text.get_text() for text in axes.get_xticklabels()] == ["5", "2", "0"]
    found = tiles(axes, 32, 48)
    noise = mpl.colormaps["PuOr"]
    sums = latents.x_t[1, 3].sum(axis=0) / 2
    np.testing.assert_array_equal(found[0][1][::8, ::8], noise(np.clip((sums + 3) / 6, 0, 1), bytes=True))
    finished = latents.x0[1].sum(axis=0) / 2
    np.testing.assert_array_equal(found[0][2][::8, ::8], noise(np.clip((finished + 3) / 6, 0, 1), bytes=True))
    for place in range(3):
        picture = np.moveaxis(latents.decoded[1, place], 0, -1).clip(-1, 1)
        expected = np.rint(255 * (picture + 1) / 2)
        assert np.abs(found[1][place][::4, ::4, :3].astype(int) - expected).max() <= 1
    assert not found[2][2].any()  # there is no ε̂ of the finished image


def test_the_strip_of_latents_is_at_the_decoded_steps(latents: Trajectory) -> None:
    one, other = (Figure().add_subplot() for _ in range(2))
    latents.plot_strip(one)
    latents.plot_decoded(other)
    np.testing.assert_array_equal(one.images[0].get_array(), other.images[0].get_array())
    assert latents.plot_strip().get_size_inches().round(2).tolist() == [13.33, 7.5]
    with pytest.raises(VizdiffUsageError, match="drawn at the steps that were decoded; leave frames out"):
        latents.plot_strip(frames=3)
    bare = replace(latents, decoded=None, decoded_steps=None)
    for draw in (bare.plot_strip, bare.plot_decoded):
        with pytest.raises(VizdiffInputError, match=r"recording\.trajectory\(decode_at="):
            draw()
    with pytest.raises(VizdiffUsageError, match=r"sample must lie in 0\.\.2"):
        latents.plot_decoded(sample=3)


def test_pictures_that_were_decoded_keep_their_strip() -> None:
    plain = make_trajectory()
    both = make_trajectory(decoded=np.zeros((3, 1, 3, 8, 8), np.float32), decoded_steps=np.array([0]))
    one, other = (Figure().add_subplot() for _ in range(2))
    plain.plot_strip(one, frames="5,1")
    both.plot_strip(other, frames="5,1")
    np.testing.assert_array_equal(one.images[0].get_array(), other.images[0].get_array())


# -- no signal -------------------------------------------------------------------------------------


@pytest.fixture(params=["zero-snr", "flow"])
def noise_first(request: pytest.FixtureRequest) -> Trajectory:
    schedule = NoiseSchedule.named(request.param)
    kind = "flow" if request.param == "flow" else "v_prediction"
    return make_trajectory(schedule=schedule, prediction_type=kind, eps_cond=None, eps_uncond=None)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_frames_are_spaced_from_the_first_step_with_signal(noise_first: Trajectory, count: int) -> None:
    log_snr = noise_first.log_snr
    assert log_snr[0] == -np.inf
    found = choose_frames(5, str(count), "log-snr", log_snr)
    assert found[0] == 0
    wanted = np.linspace(log_snr[1], log_snr[-1], count - 1) if count > 1 else []
    nearest = {int(np.abs(log_snr[1:] - value).argmin()) + 1 for value in wanted}
    assert set(found.tolist()) == {0} | nearest
    assert film_steps(noise_first, "4", "log-snr")[-1] == 5


def test_control_without_pure_noise_the_spacing_is_as_it_was() -> None:
    log_snr = np.linspace(-9, 9, 100) ** 3
    wanted = np.linspace(log_snr[0], log_snr[-1], 7)
    expected = np.unique(np.abs(log_snr - wanted[:, None]).argmin(axis=1))
    np.testing.assert_array_equal(choose_frames(100, "7", "log-snr", log_snr), expected)


def test_pure_noise_is_drawn_and_kept(noise_first: Trajectory, tmp_path: Path) -> None:
    noise_first.plot_strip(spacing="log-snr")
    facts = strip.facts(strip.measure(noise_first))
    assert facts["snr_db"][0] is None
    np.testing.assert_allclose(facts["snr_db"][1:], 10 * np.log10(noise_first.snr[1:]))
    assert "Infinity" not in to_json(facts)
    noise_first.save(tmp_path / "a.zarr")
    found = Trajectory.open(tmp_path / "a.zarr")
    np.testing.assert_array_equal(found.log_snr, noise_first.log_snr)
    assert found.schedule.scaling == noise_first.schedule.scaling


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_pure_noise_has_a_report(noise_first: Trajectory, lang: str, tmp_path: Path) -> None:
    foreign = replace(noise_first, sampler="FlowMatchEulerDiscrete", variance="", guidance_scale=np.nan)
    foreign.save(tmp_path / "a.zarr")
    page = tmp_path / "r.html"
    argv = ["report", "--trajectory", str(tmp_path / "a.zarr"), "--out", str(page), "--lang", lang, "--quiet"]
    assert main(argv) == 0
    text = page.read_text("utf-8")
    assert "−∞" in text or "-∞" in text
    written = re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL)
    assert not re.search(r"\bnan\b", written)
