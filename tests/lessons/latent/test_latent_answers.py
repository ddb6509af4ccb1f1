"""Answers, facts and figures of lesson latent follow what was measured, and belong to its networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from latent_results import arm, hits, plane, quality, study
from lesson_context import make_context, mute, outcomes, told_in_every_language
from safetensors.torch import save_file

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.files import make_dir, write_json
from viz_diffusion.lessons.base import Finding
from viz_diffusion.lessons.latent import comparison, joint_run
from viz_diffusion.lessons.latent.cost import num_parameters
from viz_diffusion.lessons.latent.joint_run import joint_sizes
from viz_diffusion.lessons.latent.latent_study import LatentStudy, facts
from viz_diffusion.lessons.latent.lesson import LESSON
from viz_diffusion.lessons.precomputed import load_pictures, load_results, save_pictures, save_results
from viz_diffusion.plots.words import use_texts
from viz_diffusion.text.catalogue import languages, load_texts
from viz_diffusion.training.run import Run
from viz_diffusion.training.text_run import text_encoder_of

# -- what is found -------------------------------------------------------------------------------------

YES = {
    "ceiling": True,
    "loses": True,
    "cheaper": True,
    "less_accurate": True,
    "farther": True,
    "equal_work": True,
    "local": True,
    "every_channel": True,
    "walk": True,
    "two_numbers": True,
    "map_ends": True,
    "map_label": True,
    "scale_matters": True,
}
PATHS = np.arange(10)[:, None], np.arange(100)
"""Label and noise of each path of a map."""


def changed(part: str, **values: Any) -> LatentStudy:
    known = study()
    return replace(known, **{part: replace(getattr(known, part), **values)})


def ending(read: Callable[[Any, Any], Any]) -> LatentStudy:
    """Return results in which the path of a label from a noise ends where ``read(label, noise)`` is classified."""
    return study(plane=plane(np.broadcast_to(read(*PATHS), (10, 100)).astype(np.int64)))


def with_quality(
    latent: Any, pixel: Any, short: Any = None, scaled: tuple[float, ...] = (0.5, 9.0, 4.0)
) -> LatentStudy:
    return study(quality=quality(latent, pixel, short, list(scaled)))


TURNED: dict[str, tuple[str, bool | None, Callable[[], LatentStudy]]] = {
    "few reconstructions are right": (
        "ceiling",
        False,
        lambda: changed("reconstruction", decoded_right=hits(10_000, 0.97)),
    ),
    "nearly enough are": ("ceiling", None, lambda: changed("reconstruction", decoded_right=hits(10_000, 0.985))),
    "reconstructions are better": (
        "loses",
        False,
        lambda: changed("reconstruction", right=hits(10_000, 0.9), decoded_right=hits(10_000, 0.99)),
    ),
    "nothing is lost": ("loses", None, lambda: changed("reconstruction", right=hits(10_000, 0.992))),
    "latents take long": ("cheaper", False, lambda: changed("cost", latent_seconds=np.full(7, 9e-3))),
    "half of the rounds took long": (
        "cheaper",
        None,
        lambda: changed("cost", latent_seconds=np.array([2, 2, 2, 2, 9, 9, 9]) * 1e-3),
    ),
    "latents are more accurate": ("less_accurate", False, lambda: with_quality(arm(accuracy=1.0), arm(accuracy=0.9))),
    "both are as accurate": ("less_accurate", None, lambda: with_quality(arm(), arm())),
    "latents are nearer": ("farther", False, lambda: with_quality(arm(excess=0.1), arm(excess=0.5))),
    "both are as near": ("farther", None, lambda: with_quality(arm(excess=0.5), arm(excess=0.51))),
    "the short training is nearer": (
        "equal_work",
        False,
        lambda: with_quality(arm(excess=0.5, products=2 * 10**13), arm(), arm(excess=0.1)),
    ),
    "latents are nearer after longer training": (
        "equal_work",
        None,
        lambda: with_quality(arm(excess=0.1, products=2 * 10**13), arm(), arm(excess=0.5)),
    ),
    "latents are farther after shorter training": (
        "equal_work",
        None,
        lambda: with_quality(arm(excess=0.5, products=10**12), arm(), arm(excess=0.1)),
    ),
    "a change is everywhere": ("local", False, lambda: changed("channels", near=np.linspace(0.2, 0.3, 40))),
    "half of a change is near": ("local", None, lambda: changed("channels", near=np.linspace(0.3, 0.7, 40))),
    "a channel is not needed": (
        "every_channel",
        False,
        lambda: changed("channels", whole_right=hits(1000, 0.9), without_right=np.stack([hits(1000, 0.95)] * 4)),
    ),
    "a channel may be needed": (
        "every_channel",
        None,
        lambda: changed("channels", without_right=np.stack([hits(1000, 0.989), *[hits(1000, 0.8)] * 3])),
    ),
    "middles of pixels are surer": ("walk", False, lambda: changed("walks", pixel_sure=hits(500, 0.95))),
    "all middles are as sure": ("walk", None, lambda: changed("walks", pixel_sure=hits(500, 0.8))),
    "two numbers are enough": ("two_numbers", False, lambda: study(plane=plane(right=hits(10_000, 0.999)))),
    "two numbers may be enough": ("two_numbers", None, lambda: study(plane=plane(right=hits(10_000, 0.992)))),
    "most paths end elsewhere": ("map_ends", False, lambda: ending(lambda y, k: np.where(k % 10 < 8, y, 9 - y))),
    "nine of ten end there": ("map_ends", None, lambda: ending(lambda y, k: np.where(y - k % 2 * 2 < 8, y, 9 - y))),
    "the noise chooses the end": ("map_label", False, lambda: ending(lambda y, k: 0 * y + k % 10)),
    "half of the labels are moved on": (
        "map_label",
        None,
        lambda: ending(lambda y, k: np.where(k % 2 == 0, y, (y - 1 - k % 9) % 10)),
    ),
    "a wrong scale is better": ("scale_matters", False, lambda: with_quality(arm(), arm(), None, (0.5, 9.0, 0.1))),
    "a wrong scale may be as good": (
        "scale_matters",
        None,
        lambda: with_quality(arm(), arm(), None, (0.5, 9.0, 0.51)),
    ),
}


def test_what_is_found() -> None:
    assert outcomes(LESSON, study()) == YES


@pytest.mark.parametrize("name", TURNED)
def test_answers_follow_the_measurement(name: str) -> None:
    claim, holds, make = TURNED[name]
    data = make()
    assert outcomes(LESSON, data)[claim] is holds
    told = told_in_every_language(Finding.of(LESSON, data, full=True), make_context(mute()))
    assert {lang: len(one.answers) for lang, one in told.items()} == dict.fromkeys(
        languages(), len(outcomes(LESSON, data))
    )


def test_the_map_is_left_out_where_there_is_none() -> None:
    data = study(plane=None)
    assert not {"two_numbers", "map_ends", "map_label"} & outcomes(LESSON, data).keys()
    assert "latent_map" not in LESSON.draw(data)
    told_in_every_language(Finding.of(LESSON, data, full=True), make_context(mute()))


def test_equal_work_is_left_out_without_a_short_training() -> None:
    assert "equal_work" not in outcomes(LESSON, with_quality(arm(), arm()))


def test_facts_are_of_the_measurement() -> None:
    found = facts(study())
    assert found.latent.frechet_ratio == 1.5
    assert found.latent.core_minutes == 16
    assert found.latent.work == 10
    assert facts(with_quality(arm(seconds=None), arm())).latent.core_minutes is None
    assert found.cost.time_ratio == pytest.approx(0.2)
    assert found.cost.latent_products == 204.5
    assert found.autoencoder.latent_shape == "4 × 7 × 7"
    assert found.autoencoder.rms_error == pytest.approx(0.1)
    assert found.map is not None
    assert (found.map.map_paths, found.map.map_decoded, found.map.map_ends, found.map.map_shuffled) == (1000, 0.8, 1, 0)
    assert found.map.map_inside == (0.1, 0.1, 0.1, 0.1, 1)
    lowest = facts(ending(lambda y, k: np.where((y == 4) & (k < 25), 9, y))).map
    assert lowest is not None
    assert (lowest.map_lowest, lowest.map_lowest_share, lowest.map_ends) == (4, 0.75, 0.975)


@pytest.mark.parametrize("lang", languages())
def test_figures_are_drawn(lang: str) -> None:
    with use_texts(load_texts(lang)):
        figures = LESSON.draw(study())
        assert list(figures) == list(LESSON.figure_names)
        words = {name: " ".join(text.get_text() for text in figures[name].texts) for name in figures}
    assert "80.0%" in words["latent_walk"]
    assert "859,520,964" in words["stable_diffusion"]
    joint = joint_sizes()
    assert joint is not None
    assert all(f"{size:,}" in words["stable_diffusion"] for size in (joint.text_encoder, joint.denoiser))
    assert "238,500 + 124,000" in words["latent_quality"]
    assert "99.0%" in words["channel_contents"]


def test_the_sizes_of_the_run_with_all_parts_are_those_of_its_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    joint, run = joint_sizes(), Run.choose(joint_run.BUNDLED_LATENT_TEXT)
    network = run.load_model()[0]
    space, encoder = network.latent_space, text_encoder_of(run, "cpu")
    assert joint is not None
    assert space is not None
    parts = (space.autoencoder.encoder, space.autoencoder.decoder)
    assert (joint.denoiser, joint.latent) == (num_parameters(network), space.latent_shape)
    assert joint.autoencoder == sum(map(num_parameters, parts))
    assert joint.text_encoder == num_parameters(encoder.text)
    found = facts(study())
    assert (found.joint_text_parameters, found.joint_parameters) == (joint.text_encoder, joint.denoiser)
    assert found.joint_autoencoder_parameters == joint.autoencoder
    monkeypatch.delitem(joint_run.BUNDLED_RUNS, joint_run.BUNDLED_LATENT_TEXT)
    assert joint_sizes() is None
    assert facts(study()).joint_parameters == 0
    figure = LESSON.draw(study())["stable_diffusion"]
    assert f"{joint.denoiser:,}" not in " ".join(text.get_text() for text in figure.texts)


@pytest.mark.parametrize("lang", languages())
def test_the_row_of_a_network_that_was_measured_says_label_only_of_the_bundled_one(
    lang: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = load_texts(lang)

    def drawn() -> list[str]:
        with use_texts(texts):
            return [text.get_text() for text in LESSON.draw(study())["stable_diffusion"].texts]

    labels, measured = (texts[f"figure.stable_diffusion.here_{name}"] for name in ("labels", "measured"))
    assert labels not in (own := drawn())
    assert measured in own
    monkeypatch.setattr("viz_diffusion.lessons.latent.drawings.is_of_bundled", lambda _: True)
    assert labels in (bundled := drawn())
    assert measured not in bundled
    assert texts["figure.stable_diffusion.text_labels"] in bundled


# -- which networks ------------------------------------------------------------------------------------


def test_results_of_other_latent_weights_are_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_results(Finding.of(LESSON, study(), full=True), "abc", {}, tmp_path / "results")
    save_pictures(LESSON, {"en": {"latent_space": b"svg"}}, "matplotlib 0", tmp_path / "results")
    flat = make_dir(tmp_path / "flat")
    write_json(tmp_path / "manifest.json", {"sha256": {"model.safetensors": "a" * 64}})
    write_json(flat / "manifest.json", {"sha256": {"model.safetensors": "d" * 64}})
    monkeypatch.setitem(comparison.BUNDLED_RUNS, comparison.BUNDLED, tmp_path)
    monkeypatch.setitem(comparison.BUNDLED_RUNS, comparison.BUNDLED_FLAT, flat)
    assert list(load_results([LESSON], "abc", tmp_path / "results")) == [LatentStudy]
    assert load_pictures(LESSON, "abc", "en", tmp_path / "results") == {"latent_space": b"svg"}
    for folder, digest in ((flat, "d"), (tmp_path, "a")):
        write_json(folder / "manifest.json", {"sha256": {"model.safetensors": "f" * 64}})
        assert load_results([LESSON], "abc", tmp_path / "results") == {}
        write_json(folder / "manifest.json", {"sha256": {"model.safetensors": digest * 64}})
    monkeypatch.delitem(comparison.BUNDLED_RUNS, comparison.BUNDLED)
    assert load_results([LESSON], "abc", tmp_path / "results") == {}


def test_parameters_of_the_text_encoder_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(comparison.BUNDLED_RUNS, comparison.BUNDLED_TEXT, tmp_path)
    assert comparison.text_parameters() is None
    tensors = {"text.weight": torch.zeros(3, 4), "text.bias": torch.zeros(3), "image.weight": torch.zeros(9)}
    save_file(tensors, tmp_path / "text_encoder.safetensors")
    assert comparison.text_parameters() == 15


def test_other_data_and_a_missing_run_are_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    context = make_context(mute())
    other = replace(context, run=replace(context.run, config=replace(context.run.config, dataset="fashion-mnist")))
    with pytest.raises(VizdiffUsageError, match="trained on fashion-mnist"):
        comparison.measure_latent(other)
    monkeypatch.delitem(comparison.BUNDLED_RUNS, comparison.BUNDLED, raising=False)
    with pytest.raises(VizdiffUsageError, match="--space latent"):
        comparison.measure_latent(context)
