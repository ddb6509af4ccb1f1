"""A run of prompts in latents: trained on captions of encoded digits, resumed to the same bytes, both encoders kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from latent_text_runs import begin_latent_text, latent_text_config
from training_runs import fingerprint, first_digits, flip, resumed, train_to

from viz_diffusion.data.captions import CaptionedDigits, all_captions
from viz_diffusion.data.digit_shapes import ATTRIBUTES
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.files import read_json
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.latent_run import AUTOENCODER
from viz_diffusion.training.run import Run
from viz_diffusion.training.text_run import TEXT_ENCODER, prompted_run
from viz_diffusion.training.trainer import Trainer


@pytest.fixture(scope="module")
def digits() -> CaptionedDigits:
    first = first_digits(12)
    levels = np.sign(np.random.default_rng(0).integers(-1, 2, (12, len(ATTRIBUTES)))).astype(np.int8)
    return CaptionedDigits(first.images, first.labels, (), levels)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, digits: CaptionedDigits) -> Path:
    path = tmp_path_factory.mktemp("latent_text") / "run"
    run, state, data = begin_latent_text(path, digits)
    list(Trainer(run, state, data, data).run())
    return path


def test_a_stopped_run_is_resumed_to_the_same_bytes(finished: Path, digits: CaptionedDigits, tmp_path: Path) -> None:
    run, state, data = begin_latent_text(tmp_path / "run", digits)
    train_to(3, run, state, data)
    list(resumed(run.path, data))
    assert fingerprint(run.path) == fingerprint(finished)


def test_encoded_digits_get_the_captions_of_their_images(digits: CaptionedDigits, tmp_path: Path) -> None:
    _, _, data = begin_latent_text(tmp_path / "run", digits)
    rows = torch.arange(12).repeat(20)
    drawn = data.draw_labels(rows, torch.Generator().manual_seed(3))
    assert torch.equal(drawn, digits.draw_labels(rows, torch.Generator().manual_seed(3)))
    assert drawn.max() >= 10  # captions, and not the ten digits
    assert drawn.max() < len(all_captions())


def test_both_encoders_belong_to_the_run_and_damage_is_named(finished: Path) -> None:
    hashes = read_json(finished / "manifest.json")["sha256"]
    for name in (AUTOENCODER, TEXT_ENCODER):
        assert name in hashes
        whole = (finished / name).read_bytes()
        flip(finished / name)
        with pytest.raises(VizdiffInputError, match=name):
            Run.open(finished).load_model()
        (finished / name).write_bytes(whole)


def test_the_network_has_prompts_and_a_latent_space(finished: Path) -> None:
    run = prompted_run(Run.open(finished), ["a thick seven", "a two"])
    model, _ = run.load_model()
    assert model.latent_space is not None
    assert (model.prompts, model.null_label) == (("a thick seven", "a two"), 2)
    assert run.config.space == "latent"
    x = torch.randn(2, 4, 7, 7, generator=torch.Generator().manual_seed(0))
    assert model(x, torch.tensor([500, 500]), torch.tensor([0, 2])).shape == x.shape
    samples = run.load_samples()
    assert samples is not None
    assert samples[1].shape[1:] == (10, 28, 28)  # thumbnails are pictures of the plain prompts


def test_the_config_is_read_as_it_was_written(finished: Path) -> None:
    config = RunConfig.read(finished / "config.json")
    assert config == latent_text_config(6)
    assert (config.space, config.image_shape, config.x_shape) == ("latent", (1, 28, 28), (4, 7, 7))
