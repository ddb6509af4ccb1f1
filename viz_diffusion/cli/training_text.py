"""The condition of a run's network: the network of ``--conditioning text``, and the training of its text encoder."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from viz_diffusion.cli.console import Terminal
from viz_diffusion.errors import VizdiffUsageError

if TYPE_CHECKING:
    import torch

    from viz_diffusion.data import Digits
    from viz_diffusion.diffusion.unet import ModelConfig
    from viz_diffusion.training.processes import Processes
    from viz_diffusion.training.run import Run

CONDITIONINGS = ("label", "text")
TEXT_EMBEDDING = 256
"""Width of the embedding of a network of prompts on pixels: half that of a network of labels, so that its weights stay
small. In latents it is that of a network of labels, which is smaller still."""


def check_conditioning(conditioning: str | None, data: tuple[object, object], space: str | None) -> None:
    """Refuse an unknown conditioning, and text where there are no captions; ``data`` is data set and folder."""
    if conditioning not in (None, *CONDITIONINGS):
        raise VizdiffUsageError(f"`conditioning` must be {' or '.join(CONDITIONINGS)}, found {conditioning!r}")
    if conditioning == "text" and (data[0] not in (None, "mnist") or data[1] is not None):
        raise VizdiffUsageError("`conditioning` text goes with MNIST only: captions are made of measured digits")
    if conditioning == "text" and space == "latent-2d":
        raise VizdiffUsageError(
            "`conditioning` text goes with `space` pixel or latent: latents of two numbers have no rows and columns "
            "that could attend to words"
        )


def text_network(network: ModelConfig) -> ModelConfig:
    """Return the network of prompts that is otherwise as a network of labels, with the vocabulary of all captions."""
    from viz_diffusion.data.caption_words import VOCABULARY
    from viz_diffusion.diffusion.text_encoder import TextConfig

    return replace(network, embedding_dim=min(network.embedding_dim, TEXT_EMBEDDING), text=TextConfig(VOCABULARY))


def train_encoder(run: Run, device: torch.device, data: Digits, processes: Processes, terminal: Terminal) -> None:
    """Let process 0 train the text encoder of a run of prompts, if it has none; stopped, that training begins anew."""
    from viz_diffusion.data.captions import CaptionedDigits
    from viz_diffusion.training import text_encoder_training as training
    from viz_diffusion.training.text_run import TEXT_ENCODER, save_text_encoder

    config, seed, steps = run.config.model.text, run.config.training.seed, training.STEPS
    if config is None:
        return
    if not processes.is_main:
        processes.wait_for_main()
        return
    if not (run.path / TEXT_ENCODER).is_file():
        assert isinstance(data, CaptionedDigits)
        encoder, text = training.new_text_encoder(config, seed, device), terminal.text("text_encoder")
        with run.lock(), terminal.progress("Training", text, steps) as update:
            for one in training.train_text_encoder(encoder, data, seed, steps):
                update(one.step, steps, terminal.text("text_encoder_loss", loss=one.loss))
                processes.working()
            save_text_encoder(run.path, encoder)
    processes.worked()
