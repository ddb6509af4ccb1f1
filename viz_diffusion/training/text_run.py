"""What a run of prompts has besides its network: the text encoder's file, the captions, and the prompts chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from viz_diffusion.data.caption_words import PLAIN_PROMPTS, digits_of, meaning_of
from viz_diffusion.data.captions import all_captions
from viz_diffusion.diffusion.text_encoder import TextEncoder
from viz_diffusion.diffusion.tokenizer import EMPTY_PROMPT, Tokenizer
from viz_diffusion.diffusion.torch_defaults import own_defaults
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.files import read_checked, read_regular, write_bytes
from viz_diffusion.training.checkpoint import load_weights, parse_tensors, to_bytes
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.loop import TrainState

if TYPE_CHECKING:
    from viz_diffusion.training.run import Run

NEEDS_TEXT = (
    "`prompt` needs a run that was trained with text, and this one has labels; "
    "`run` bundled-text is one, and bundled-latent-text one in latents"
)
TEXT_ENCODER = "text_encoder.safetensors"
"""The weights of the text encoder and of its image encoder, in a run's folder; the config holds the vocabulary."""


@own_defaults()
def load_text_encoder(
    folder: Path, config: RunConfig, check: bool, device: torch.device | str = "cpu"
) -> TextEncoder | None:
    """Return the text encoder of a run, ready to encode; None where the run has labels.

    Parameters
    ----------
    check
        Compare the file with the folder's manifest, which only a finished run has.

    Raises
    ------
    VizdiffInputError
        If the encoder's file is missing or damaged, or does not fit the config.
    """
    if config.model.text is None:
        return None
    path = folder / TEXT_ENCODER
    data = read_checked(folder, TEXT_ENCODER)[0] if check else read_regular(path)
    encoder = TextEncoder(config.model.text)
    load_weights(encoder, parse_tensors(path, data), path)
    return encoder.to(device).eval().requires_grad_(False)


def text_encoder_of(run: Run, device: torch.device | str = "cpu") -> TextEncoder:
    """Return the text encoder of a run of prompts; see :func:`load_text_encoder`.

    Raises
    ------
    VizdiffUsageError
        Where the run has labels.
    """
    encoder = load_text_encoder(run.path, run.config, run.is_finished, device)
    if encoder is None:
        raise VizdiffUsageError(NEEDS_TEXT)
    return encoder


def save_text_encoder(folder: Path, encoder: TextEncoder) -> None:
    """Write a text encoder that is trained."""
    write_bytes(folder / TEXT_ENCODER, to_bytes(encoder.state_dict()))


def set_prompts(model: SimpleUNet, encoder: TextEncoder | None, config: RunConfig) -> None:
    """Give a run's network the prompts that were chosen, or else the ten plain ones; nothing where it has labels."""
    if encoder is not None:
        model.label_emb.set_prompts(encoder.encode(config.prompts or PLAIN_PROMPTS))
        model.prompts = config.prompts
        model.word_places = {prompt: encoder.tokenizer.places(prompt) for prompt in config.prompts}


def set_captions(state: TrainState, encoder: TextEncoder | None, config: RunConfig) -> None:
    """Give the network in training all captions as its labels, and the averaged one the ten plain prompts."""
    if encoder is not None:
        state.model.label_emb.set_prompts(encoder.encode(all_captions()))
        set_prompts(state.ema, encoder, config)


def with_prompts(config: RunConfig, prompts: Sequence[str]) -> RunConfig:
    """Return a run's config with prompts in the place of the ten digits; each of them is a class with its own name.

    A prompt without words is the empty prompt and is called ∅.

    Raises
    ------
    VizdiffUsageError
        Where the run has labels; a prompt is too long, holds unknown words, or is given twice.
    """
    if config.model.text is None:
        raise VizdiffUsageError(NEEDS_TEXT)
    tokenizer = Tokenizer(config.model.text.vocabulary)
    names = tuple(" ".join(prompt.split()) if tokenizer.words(prompt) else EMPTY_PROMPT for prompt in prompts)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise VizdiffUsageError(f"`prompt` {twice!r} is given twice; leave one of the two out")
    if not names:
        raise VizdiffInputError("a run of prompts needs at least one prompt")
    return replace(config, class_names=names, model=replace(config.model, num_labels=len(names)))


def digits_named(config: RunConfig) -> tuple[int | None, ...]:
    """Return the digit that each label of a run means; None for a prompt that names none, or several.

    The labels of a run without chosen prompts mean themselves.
    """
    if config.model.text is None or not config.prompts:
        return tuple(range(config.model.num_labels))
    tokenizer = Tokenizer(config.model.text.vocabulary)
    return tuple(meaning_of(tokenizer.words(prompt)).digit for prompt in config.prompts)


def unclear_prompt(config: RunConfig) -> tuple[str, tuple[int, ...]] | None:
    """Return the first prompt that names no digit, or several, and those that it names; None where each names one."""
    if config.model.text is None:
        return None
    tokenizer = Tokenizer(config.model.text.vocabulary)
    named = ((prompt, digits_of(tokenizer.words(prompt))) for prompt in config.prompts)
    return next(((prompt, digits) for prompt, digits in named if len(digits) != 1), None)


def prompted_run(run: Run, prompts: Sequence[str]) -> Run:
    """Return a run whose labels are prompts (:func:`with_prompts`); nothing is written."""
    return replace(run, config=with_prompts(run.config, prompts))
