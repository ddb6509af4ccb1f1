"""A run of prompts: resumed to the same bytes, its encoder checked, its labels the plain prompts or chosen ones."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_runs import TINY, fingerprint, flip, resumed, small_config, train_to

from viz_diffusion.data import load_digits
from viz_diffusion.data.caption_words import PLAIN_PROMPTS, VOCABULARY
from viz_diffusion.data.captions import CaptionedDigits, all_captions
from viz_diffusion.data.digit_shapes import ATTRIBUTES, ShapeLevels
from viz_diffusion.diffusion.text_encoder import TextConfig
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.files import read_json
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.loop import TrainState, train
from viz_diffusion.training.run import Run
from viz_diffusion.training.text_encoder_training import new_text_encoder
from viz_diffusion.training.text_run import (
    TEXT_ENCODER,
    digits_named,
    prompted_run,
    save_text_encoder,
    set_captions,
    text_encoder_of,
    unclear_prompt,
    with_prompts,
)
from viz_diffusion.training.trainer import Trainer

MODEL = replace(TINY, text=TextConfig(VOCABULARY, width=16, num_heads=2))


def text_config(steps: int) -> RunConfig:
    return replace(small_config(steps), model=MODEL)


@pytest.fixture(scope="module")
def digits() -> CaptionedDigits:
    test = load_digits("test")
    levels = np.sign(np.random.default_rng(0).integers(-1, 2, (12, len(ATTRIBUTES)))).astype(np.int8)
    return CaptionedDigits(test.images[:12], test.labels[:12], (), levels)


def begin(path: Path, steps: int = 6) -> tuple[Run, TrainState]:
    config = text_config(steps)
    run = Run.create(path, config)
    save_text_encoder(path, new_text_encoder(MODEL.text or TextConfig(()), seed=0))
    return run, TrainState.create(config.training, config.model)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, digits: CaptionedDigits) -> Path:
    path = tmp_path_factory.mktemp("text") / "run"
    run, state = begin(path)
    list(Trainer(run, state, digits, digits).run())
    return path


def test_a_stopped_run_is_resumed_to_the_same_bytes(finished: Path, digits: CaptionedDigits, tmp_path: Path) -> None:
    run, state = begin(tmp_path / "run")
    train_to(3, run, state, digits)
    list(resumed(run.path, digits))
    assert fingerprint(run.path) == fingerprint(finished)


def test_the_labels_of_a_run_are_the_ten_plain_prompts(finished: Path) -> None:
    run = Run.open(finished)
    model, _ = run.load_model()
    assert (model.null_label, run.config.is_digits, run.config.prompts, model.prompts) == (10, True, (), ())
    assert torch.equal(model.label_emb.pooled, text_encoder_of(run).encode(PLAIN_PROMPTS).pooled)
    assert digits_named(run.config) == tuple(range(10))


def test_a_network_learns_from_captions_and_is_averaged_under_the_plain_prompts(digits: CaptionedDigits) -> None:
    config = text_config(2)
    state = TrainState.create(config.training, config.model)
    set_captions(state, new_text_encoder(MODEL.text or TextConfig(()), seed=0).eval(), config)
    assert state.model.null_label == len(all_captions())
    assert state.ema.null_label == 10
    assert len(list(train(state, digits, config.noise_schedule))) == 2


def test_prompts_take_the_place_of_labels(finished: Path) -> None:
    run = prompted_run(Run.open(finished), ["a  thick\nseven", "", "数字"])
    assert run.config.prompts == run.config.class_names == ("a thick seven", "∅", "数字")
    model, _ = run.load_model()
    assert (model.null_label, model.prompts) == (3, run.config.prompts)
    assert torch.equal(model.label_emb.weight[1], model.label_emb.weight[3])  # the empty prompt is the null label
    assert digits_named(run.config) == (7, None, None)
    assert unclear_prompt(run.config) == ("∅", ())
    assert unclear_prompt(prompted_run(run, ["a 7", "three 三 seven"]).config) == ("three 三 seven", (3, 7))
    assert unclear_prompt(prompted_run(run, ["a 7"]).config) is None
    assert Run.open(finished).config.prompts == ()  # nothing was written


def test_real_digits_of_prompts_are_those_that_fit_them(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = load_digits("test").first_of_each(200)
    monkeypatch.setattr("viz_diffusion.training.config.load_digits", lambda *_: few)
    monkeypatch.setattr("viz_diffusion.data.captions.mnist_levels", lambda: ShapeLevels.of(few))
    plain, config = Run.open(finished).config, with_prompts(Run.open(finished).config, ["a seven", "a thick seven"])
    assert len(plain.load_digits("test")) == 200
    found = config.load_digits("test")
    assert torch.bincount(found.labels).tolist() == [20, 6]
    kept = plain.load_digits("train")
    assert isinstance(kept, CaptionedDigits)
    assert not kept.held_out().any()
    assert len(kept) < 200
    assert plain.data_set(kept) is few


@pytest.mark.parametrize(
    ("prompts", "said"), [(["a sevn"], "sevn"), (["a seven", "a  seven"], "given twice"), (["a " * 70], "at most 64")]
)
def test_prompts_that_are_none_are_refused(prompts: list[str], said: str, finished: Path) -> None:
    with pytest.raises(VizdiffUsageError, match=said):
        prompted_run(Run.open(finished), prompts)


def test_a_run_of_labels_takes_no_prompt() -> None:
    with pytest.raises(VizdiffUsageError, match="run bundled-text is one"):
        prompted_run(Run.bundled(), ["a seven"])
    with pytest.raises(VizdiffUsageError, match="this one has labels"):
        text_encoder_of(Run.bundled())


def test_the_encoder_is_part_of_the_manifest_and_damage_is_named(finished: Path, tmp_path: Path) -> None:
    assert TEXT_ENCODER in read_json(finished / "manifest.json")["sha256"]
    copy = Path(shutil.copytree(finished, tmp_path / "copy"))
    flip(copy / TEXT_ENCODER)
    with pytest.raises(VizdiffInputError, match=TEXT_ENCODER):
        Run.open(copy).load_model()
    (copy / TEXT_ENCODER).unlink()
    with pytest.raises(VizdiffInputError, match=TEXT_ENCODER):
        Run.open(copy).load_model()


def test_a_config_with_text_is_read_as_it_was_written_and_others_do_not_name_it(finished: Path) -> None:
    config = Run.open(finished).config
    assert config == text_config(6)
    assert config.to_dict()["model"]["text"] == {"vocabulary": list(VOCABULARY), "width": 16, "num_heads": 2}
    assert "text" not in small_config(6).to_dict()["model"]
    assert "text" not in small_config(6).conditions()
