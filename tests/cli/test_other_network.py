"""A report's generation by a bundled network in the other space: which network, the same settings, kept once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from viz_diffusion.cli import main
from viz_diffusion.cli.console import Terminal
from viz_diffusion.cli.generation_request import GENERATION, read_request
from viz_diffusion.cli.open_study import OpenStudy, open_study
from viz_diffusion.cli.other_network import other_network
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.recording.latent_pictures import pictured
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.report.assembly import other_network_note, players, with_other_network
from viz_diffusion.study.other_network import OtherNetwork, other_run, shipped_cost
from viz_diffusion.text.catalogue import languages, load_texts
from viz_diffusion.training.run import Run
from viz_diffusion.training.text_run import with_prompts

OTHERS = {"bundled": "bundled-latent", "bundled-latent": "bundled"}
OTHERS_OF_PROMPTS = {"bundled-text": "bundled-latent-text", "bundled-latent-text": "bundled-text"}
SAMPLINGS: dict[str, dict[str, Any]] = {
    "ddim": {"sampler": "ddim", "steps": 6, "guidance": 2.0, "eta": 0.5},
    "ddpm": {"sampler": "ddpm", "steps": 5, "guidance": 1.5, "variance": "beta_tilde"},
}
QUIET = Terminal(as_json=False, quiet=True, lang="en")


def opened(run: str, seed: int = 3, **sampling: Any) -> OpenStudy:
    options = {option.name: None for option in GENERATION.parameters}
    return open_study(
        read_request(GENERATION.build(**options | {"seed": seed, "digit": 4} | sampling)), run, "cpu", QUIET
    )


def found(run: str, seed: int = 3, **sampling: Any) -> OtherNetwork:
    other = other_network(opened(run, seed, **sampling), QUIET)
    assert other is not None
    return other


@pytest.mark.parametrize("run", OTHERS)
@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
def test_it_is_what_vizdiff_trajectory_records(run: str, sampling: dict[str, Any], tmp_path: Path) -> None:
    other = found(run, **sampling)
    given = [word for name, value in sampling.items() for word in (f"--{name}", str(value))]
    options = ["--run", OTHERS[run], "--digit", "4", "--seed", "3", *given, "--quiet", "--out", str(tmp_path / "out")]
    assert main(["trajectory", *options]) == 0
    recorded = pictured(Trajectory.open(tmp_path / "out" / "trajectory.zarr"))
    states, rounding = np.concatenate([recorded.x_t[0, :, 0], recorded.x0[0]]), 1e-5  # images are decoded in batches
    generation = other.generation
    assert generation.timesteps.tolist() == recorded.timesteps.tolist()
    np.testing.assert_allclose(generation.x_t, states, atol=rounding)
    np.testing.assert_allclose(generation.x0_pred, recorded.x0_pred[0, :, 0], atol=rounding)
    assert (generation.sampler, generation.guidance_scale) == (sampling["sampler"], sampling["guidance"])
    assert (other.name, other.space) == (OTHERS[run], "latent" if run == "bundled" else "pixel")
    elsewhere = found(run, seed=4, **sampling).generation
    assert np.abs(elsewhere.x_t[-1] - states[-1]).max() > 0.1, "the control: another seed gives another image"


def test_it_is_sampled_once_for_a_study(monkeypatch: pytest.MonkeyPatch) -> None:
    study = opened("bundled", **SAMPLINGS["ddim"])
    made = other_network(study, QUIET)
    files = {path.name: path.read_bytes() for path in study.stored.folder.iterdir()}
    assert set(files) == {"study.json", "recording.zip", "other_network.npz"}

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("sampled again")

    monkeypatch.setattr(SimpleUNet, "forward", fail)
    again = found("bundled", **SAMPLINGS["ddim"])
    assert made is not None
    assert np.array_equal(again.generation.x_t, made.generation.x_t)
    assert {path.name: path.read_bytes() for path in study.stored.folder.iterdir()} == files


def test_only_a_network_of_mnist_on_the_same_schedule_has_another() -> None:
    def name(run: Run | None) -> str | None:
        return None if run is None else run.name

    config = Run.bundled().config
    assert {run: name(other_run(Run.choose(run).config)) for run in OTHERS} == OTHERS
    assert name(other_run(Run.control("no_time").config)) == "bundled-latent"
    assert other_run(replace(config, dataset="fashion-mnist")) is None
    assert other_run(replace(config, model=replace(config.model, schedule=None), schedule="cosine")) is None


@pytest.mark.parametrize("run", OTHERS_OF_PROMPTS)
def test_a_network_of_prompts_has_that_of_the_other_space_with_the_same_prompts(run: str) -> None:
    config = Run.choose(run).config
    plain = other_run(config)
    assert plain is not None
    assert (plain.name, plain.config.prompts) == (OTHERS_OF_PROMPTS[run], ())
    prompts = ("a thin seven", "一个七")
    other = other_run(with_prompts(config, prompts))
    assert other is not None
    assert (other.name, other.config.prompts) == (OTHERS_OF_PROMPTS[run], prompts)
    assert config.model.text is not None
    known = replace(config.model.text, vocabulary=(*config.model.text.vocabulary, "curly"))
    wider = replace(config, model=replace(config.model, text=known))
    assert other_run(with_prompts(wider, ("a thin seven",))) is not None
    assert other_run(with_prompts(wider, ("a curly seven",))) is None, "the other one does not know this word"


def test_the_player_of_another_network_shows_the_prompt() -> None:
    study = opened("bundled-latent-text", prompt=["a thick three"], digit=None, sampler="ddim", steps=3)
    other = other_network(study, QUIET)
    assert other is not None
    texts = load_texts("en").for_classes(study.loaded.run.config.class_names)
    about = study.measure([])
    player = with_other_network(players(about), about, other, texts).comparisons[-1]
    assert (player.shown, player.space) == ("a thick three", "pixel")
    plain = opened("bundled", **SAMPLINGS["ddim"])
    other, about = other_network(plain, QUIET), plain.measure([])
    assert other is not None
    assert with_other_network(players(about), about, other, load_texts("en")).comparisons[-1].shown == 4


@pytest.fixture(scope="module")
def shipped() -> OtherNetwork:
    digests = [Run.choose(run).load_model()[1] for run in ("bundled-latent", "bundled")]
    cost = shipped_cost(*digests)
    assert cost is not None
    assert shipped_cost(digests[0], "0" * 64) is None
    assert shipped_cost("0" * 64, digests[1]) is None
    return OtherNetwork(None, "bundled-latent", "latent", (4, 7, 7), cost)  # type: ignore[arg-type]  # not looked at


@pytest.mark.parametrize("lang", languages())
def test_the_note_names_network_noise_and_a_time_only_where_it_was_measured(lang: str, shipped: OtherNetwork) -> None:
    texts = load_texts(lang)
    ratio = f"{float(np.median(shipped.cost.ratio)):.0%}"  # type: ignore[union-attr]
    note, unmeasured = (other_network_note(one, texts) for one in (shipped, replace(shipped, cost=None)))
    assert "bundled-latent" in unmeasured
    assert "4 × 7 × 7" in unmeasured
    assert "%" not in unmeasured
    assert note.startswith(unmeasured)
    assert ratio in note
    assert {"en": "The same seed gives other noise", "zh": "随机种子相同，噪声却不同"}[lang] in note


def test_the_time_is_not_told_of_other_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found("bundled", **SAMPLINGS["ddim"]).cost is not None
    monkeypatch.setattr(Run, "load_model", _renamed(Run.load_model))
    assert found("bundled", **SAMPLINGS["ddim"]).cost is None


def _renamed(load: Callable[..., tuple[object, str]]) -> Callable[..., tuple[object, str]]:
    return lambda *given, **options: (load(*given, **options)[0], "0" * 64)
