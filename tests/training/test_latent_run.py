"""Runs in latents: their config, their files, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from latent_runs import AUTOENCODER, MODEL, latent_config, latent_run, tiny_autoencoder
from training_runs import begin, flip, train_to

from viz_diffusion.data import Digits
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.files import read_json, sha256_file, write_json
from viz_diffusion.training.bundled_runs import BUNDLED_RUNS
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.latent_run import encoded, load_latent_space, save_autoencoder
from viz_diffusion.training.run import Run
from viz_diffusion.training.train_config import TrainConfig


def test_a_config_in_latents_is_read_as_it_was_written(tmp_path: Path) -> None:
    config = latent_config()
    write_json(tmp_path / "config.json", config.to_dict())
    found = RunConfig.read(tmp_path / "config.json")
    assert found == config
    assert (found.space, found.image_shape, found.x_shape) == ("latent", (1, 28, 28), (4, 7, 7))
    assert found.is_digits


def test_configs_on_pixels_are_written_as_before() -> None:
    """Nothing about latents is in them: a new entry would change every study and every run that is resumed."""
    config = Run.bundled().config
    assert config.space == "pixel"
    written = config.to_dict()
    assert not {"space", "autoencoder"} & written.keys()
    assert not {"fold", "kernel_size"} & written["model"].keys()
    assert not {"space", "autoencoder", "fold", "kernel_size"} & config.conditions().keys()
    before = read_json(BUNDLED_RUNS["bundled"] / "config.json")["model"]
    assert written["model"] == before | {"use_time": True, "channels": tuple(before["channels"])}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda values: values["autoencoder"].update(latent_channels=3), "the autoencoder's latents are"),
        (lambda values: values["autoencoder"].update(image_size=30), "image_size must be divisible by 4"),
        (lambda values: values.update(space="pixel"), "space 'pixel' does not go with the autoencoder"),
        (lambda values: values.pop("autoencoder"), "space 'latent' does not go with the autoencoder None"),
        (lambda values: values.update(autoencoder=[1]), "config.json is not the config of a run"),
        (lambda values: values["model"].update(fold=3), "fold must be 1 or 2, found 3"),
        (lambda values: values["model"].update(kernel_size=2), "kernel_size must be 1 or 3, found 2"),
    ],
)
def test_a_config_that_does_not_go_together_is_refused(change: object, words: str, tmp_path: Path) -> None:
    values = json.loads(json.dumps(latent_config().to_dict()))
    change(values)  # type: ignore[operator]
    write_json(tmp_path / "config.json", values)
    with pytest.raises(VizdiffInputError, match=words):
        RunConfig.read(tmp_path / "config.json")


def test_a_finished_run_lists_its_autoencoder_and_loads_it(tmp_path: Path, few_digits: Digits) -> None:
    run = latent_run(tmp_path / "run", few_digits)
    assert read_json(run.path / "manifest.json")["sha256"]["autoencoder.safetensors"]
    model, _ = run.load_model()
    assert model.latent_space is not None
    assert model.latent_space.sha256 == sha256_file(run.path / "autoencoder.safetensors")
    assert not any("autoencoder" in name for name in model.state_dict())
    samples = run.load_samples()
    assert samples is not None
    assert samples[1].shape[1:] == (10, 28, 28)  # thumbnails are pictures


@pytest.mark.parametrize("damage", [flip, Path.unlink], ids=["one bit", "missing"])
def test_a_damaged_autoencoder_is_refused_by_name(damage: object, tmp_path: Path, few_digits: Digits) -> None:
    run = latent_run(tmp_path / "run", few_digits)
    damage(run.path / "autoencoder.safetensors")  # type: ignore[operator]
    with pytest.raises(VizdiffInputError, match=r"autoencoder\.safetensors") as caught:
        run.load_model()
    assert "\n" not in str(caught.value)


def test_encoded_digits_are_known_by_the_images(tmp_path: Path, few_digits: Digits) -> None:
    save_autoencoder(tmp_path, tiny_autoencoder(few_digits))
    data = encoded(few_digits, load_latent_space(tmp_path, latent_config(), check=False))
    assert data.images.shape == (40, 4, 7, 7)
    assert data.sha256 == few_digits.sha256
    assert torch.equal(data.labels, few_digits.labels)
    assert encoded(few_digits, None) is few_digits


def test_another_autoencoder_is_seen_when_training_goes_on(tmp_path: Path, few_digits: Digits) -> None:
    config = latent_config(4)
    run, state = begin(tmp_path / "run", config)
    save_autoencoder(run.path, tiny_autoencoder(few_digits))
    data = encoded(few_digits, load_latent_space(run.path, config, check=False))
    train_to(2, run, state, data)
    run.resume(data=(data, data))
    save_autoencoder(run.path, tiny_autoencoder(few_digits, replace(AUTOENCODER, seed=1)))
    other = encoded(few_digits, load_latent_space(run.path, config, check=False))
    with pytest.raises(VizdiffInputError, match="autoencoder_sha256"):
        run.resume(data=(other, other))


def test_a_network_for_latents_of_another_size_is_refused() -> None:
    with pytest.raises(VizdiffInputError, match=r"latents are \(4, 7, 7\), and the network is built for \(4, 8, 8\)"):
        RunConfig(replace(MODEL, image_size=8), TrainConfig(), autoencoder=AUTOENCODER)
