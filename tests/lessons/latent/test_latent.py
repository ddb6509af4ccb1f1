"""Lesson latent: a decoder that loses nothing, one that moves everything, denoisers that know the digits; claims."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from latent_results import Folded, arm, hits, plane, quality, study
from lesson_context import Answering, make_context, mute, outcomes, told_in_every_language
from safetensors.torch import save_file
from torch import Tensor, nn

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.diffusion.autoencoder import Autoencoder, AutoencoderConfig
from viz_diffusion.diffusion.latent_space import LatentSpace
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.files import make_dir, write_json
from viz_diffusion.lessons.base import Finding
from viz_diffusion.lessons.latent import comparison
from viz_diffusion.lessons.latent.cost import measure_cost, median_interval, num_parameters, products, training_products
from viz_diffusion.lessons.latent.latent_study import LatentStudy, facts
from viz_diffusion.lessons.latent.lesson import LESSON
from viz_diffusion.lessons.latent.reconstruction import measure_channels, measure_reconstruction
from viz_diffusion.lessons.latent.sample_quality import SCALES, Arm, Training, WithScale, measure_quality
from viz_diffusion.lessons.latent.walks import measure_walks
from viz_diffusion.lessons.precomputed import load_pictures, load_results, save_pictures, save_results
from viz_diffusion.plots.words import use_texts
from viz_diffusion.text.catalogue import languages, load_texts

LINEAR = NoiseSchedule.named("linear")


@pytest.fixture(scope="module")
def digits() -> Digits:
    test = load_digits("test")
    return Digits(test.images[:100], test.labels[:100])


@pytest.fixture(scope="module")
def classifier() -> DigitClassifier:
    return DigitClassifier.bundled()[0]


# -- the autoencoder -----------------------------------------------------------------------------------


class Turned(Folded):
    """The same, with the decoded image upside down: what a place changes is on the other side."""

    def decode(self, latents: Tensor) -> Tensor:
        return super().decode(latents).flip(2, 3)


def test_a_decoder_that_loses_nothing_loses_nothing(digits: Digits, classifier: DigitClassifier) -> None:
    found = measure_reconstruction(Folded(), digits, classifier)
    assert np.array_equal(found.right, found.decoded_right)
    assert found.right.mean() > 0.9
    assert found.squared_error.max() == 0
    assert np.array_equal(found.images, found.decoded)
    assert found.latents.shape == (10, 16, 7, 7)
    assert found.channel_mean[0] == pytest.approx(digits.images[:, 0, ::4, ::4].mean())
    assert found.channel_deviation[5] == pytest.approx(digits.images[:, 0, 1::4, 1::4].std(correction=0))
    turned = measure_reconstruction(Turned(), digits, classifier)
    assert turned.decoded_right.mean() < 0.7
    assert turned.squared_error.mean() == pytest.approx((digits.images.flip(2, 3) - digits.images).square().mean())


def test_what_a_place_changes_is_near_it_or_not(digits: Digits, classifier: DigitClassifier) -> None:
    few = Digits(digits.images[:20], digits.labels[:20])
    found = measure_channels(Folded(), few, classifier, 3, 4)
    assert found.near == pytest.approx(1)  # each number is one pixel
    assert 0.15 < found.near_area < 0.33
    assert np.argwhere(found.change[0]).tolist() == [[12, 12]]
    assert found.change[5, 13, 13] == found.change[5].max() <= 1
    assert np.array_equal(found.whole, few.images[3, 0].numpy())
    assert found.without[0, ::4, ::4].max() == 0
    far = measure_channels(Turned(), few, classifier, 3, 4)
    assert far.near.mean() < 0.5
    assert outcomes(LESSON, study(channels=replace(found, near=far.near)))["local"] is False


def test_walks_between_folded_images_are_those_between_pixels(digits: Digits, classifier: DigitClassifier) -> None:
    walks = measure_walks(Folded(), digits, classifier, 1.0, 20)
    assert np.allclose(walks.latent_frames, walks.pixel_frames, atol=1e-6)
    assert np.array_equal(walks.latent_sure, walks.pixel_sure)
    assert np.array_equal(walks.latent_read, walks.pixel_read)
    assert walks.end_sure.mean() > 0.9 > walks.latent_sure.mean()
    assert np.array_equal(walks.latent_frames[:, 4], (walks.pixel_frames[:, 0] + walks.pixel_frames[:, -1]) / 2)
    assert len(walks.latent_sure) == 16  # of one label there are no more
    assert (walks.latent_read[:, 0] != walks.latent_read[:, -1]).all()


# -- cost ----------------------------------------------------------------------------------------------


def test_products_are_those_of_hand() -> None:
    convolution, linear = nn.Conv2d(3, 5, 3, padding=1), nn.Linear(6, 7)
    assert products(lambda: convolution(torch.zeros(1, 3, 8, 8))) == 5 * 3 * 9 * 8 * 8
    assert products(lambda: linear(torch.zeros(2, 6))) == 2 * 6 * 7
    query = torch.zeros(1, 1, 49, 16)
    attention = products(lambda: nn.functional.scaled_dot_product_attention(query, query, query))
    assert attention == 2 * 49 * 49 * 16
    assert num_parameters(linear) == 6 * 7 + 7


def test_rounds_are_timed_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viz_diffusion.lessons.latent.cost.BATCH", 2)
    pixel = SimpleUNet(ModelConfig(channels=(8, 8), embedding_dim=16)).eval()
    latent = SimpleUNet(ModelConfig(image_size=7, in_channels=4, channels=(8, 8), embedding_dim=16, fold=1)).eval()
    latent.latent_space = LatentSpace(Autoencoder(AutoencoderConfig(channels=(8, 8))))
    ticks = iter([0.0, 2.0, 10.0, 20.0, 30.0, 33.0, 40.0, 50.0])  # 2 of 10, then 3 of 10
    cost = measure_cost((latent, LINEAR), (pixel, LINEAR), 2, 3, clock=lambda: next(ticks))
    assert cost.ratio.tolist() == [0.2, 0.3]
    assert cost.latent_seconds.tolist() == [1.0, 1.5]
    assert cost.latent_products < cost.pixel_products
    assert cost.latent_parameters == num_parameters(latent)
    short, long = (training_products(latent, (1, steps), (2, 3)) for steps in (0, 4))
    assert short == 3 * 2 * cost.latent_products
    assert long - short > 3 * 4 * 3 * cost.decoder_products
    assert training_products(pixel, (5, 0), (2, 0)) == 3 * 5 * 2 * cost.pixel_products
    assert cost.encoder_parameters + cost.decoder_parameters == num_parameters(latent.latent_space.autoencoder)


def test_the_median_lies_between_the_values_that_a_coin_allows() -> None:
    assert median_interval(np.arange(15.0)) == (3, 11)  # 1 - 2 P(X < 4) = 96.5%, X heads of 15 tosses
    assert median_interval(np.array([5.0, 1, 2, 3, 4, 6])) == (1, 6)
    assert median_interval(np.arange(5.0)) == (-np.inf, np.inf)


# -- quality -------------------------------------------------------------------------------------------


def knowing(digits: Digits, space: Folded | None) -> Answering:
    """Return a denoiser that leads from any noise to one digit of the label."""
    typical = torch.stack([digits.typical_of(label) for label in range(10)] + [torch.zeros(1, 28, 28)])
    known = typical if space is None else space.encode(typical)

    def answer(x: Tensor, timesteps: Tensor, labels: Tensor) -> Tensor:
        power = torch.from_numpy(LINEAR.alphas_cumprod).float()[timesteps][:, None, None, None]
        return (x - power.sqrt() * known[labels]) / (1 - power).sqrt()

    network = Answering(answer)
    network.latent_space = space  # type: ignore[assignment]
    return network


def test_a_scale_is_given_to_the_network() -> None:
    seen: list[Tensor] = []
    network = Answering(lambda x, _t, _y: seen.append(x) or x)  # type: ignore[func-returns-value]
    WithScale(network, 3.0)(torch.ones(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64))
    assert torch.equal(seen[0], torch.full((2, 1, 4, 4), 3.0))


def test_samples_of_denoisers_that_know_the_digits() -> None:
    test, few = load_digits("test"), load_digits("train")
    training = Digits(few.images[:300], few.labels[:300])
    heldout = Digits(test.images[:400], test.labels[:400])
    latent = Arm(knowing(heldout, Folded()), LINEAR, Training(8, 5, 60.0, 2))
    pixel = Arm(knowing(heldout, None), LINEAR, Training(9, 5))
    found = measure_quality(latent, pixel, None, training, heldout, (40, 20))
    assert found.latent.right.all()
    assert found.pixel.right.all()
    assert np.allclose(found.latent.images, found.pixel.images, atol=1e-3)
    assert (found.latent.steps, found.latent.seconds, found.pixel.seconds) == (8, 60.0, None)
    assert found.short is None
    assert found.scales.tolist() == list(SCALES)
    assert np.array_equal(found.scaled[0].right, found.latent.right[:20])
    assert min(one.excess for one in found.scaled[1:]) > found.scaled[0].excess


def test_provenance_says_how_long_a_training_took(tmp_path: Path) -> None:
    assert Training.of(tmp_path, 5, 7) == Training(5, 7, None, None)
    write_json(tmp_path / "provenance.json", {"seconds": 12, "threads": 2})
    assert Training.of(tmp_path, 5, 7) == Training(5, 7, 12, 2)


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
        figures = LESSON.draw(study(text_parameters=60_000))
        assert list(figures) == list(LESSON.figure_names)
        words = {name: " ".join(text.get_text() for text in figures[name].texts) for name in figures}
    assert "80.0%" in words["latent_walk"]
    assert "859,520,964" in words["stable_diffusion"]
    assert "60,000" in words["stable_diffusion"]
    assert "238,500 + 124,000" in words["latent_quality"]
    assert "99.0%" in words["channel_contents"]


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
