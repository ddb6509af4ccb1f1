"""A network of prompts with other prompts: K chosen prompts are its labels 0 .. K-1, the empty prompt its null label.

Sampling, recording and lessons then need to know nothing about text. Knows nothing about runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from viz_diffusion.diffusion.prompt_layers import PromptEmbedding
from viz_diffusion.diffusion.text_encoder import TextEncoder
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.errors import VizdiffUsageError


class PromptedDenoiser(SimpleUNet):
    """A view of a text-conditioned network under K prompts; it has the network's own layers.

    Parameters
    ----------
    network
        A network trained with text that predicts ε, as :meth:`Run.load_model` returns it.
    encoder
        The text encoder it was trained with; :func:`~viz_diffusion.training.text_run.text_encoder_of` reads a run's.
    prompts
        The K prompts.

    Raises
    ------
    VizdiffUsageError
        Where the network was trained with labels, or a prompt holds unknown words.

    Examples
    --------
    >>> from viz_diffusion.diffusion.text_encoder import TextConfig
    >>> from viz_diffusion.diffusion.unet import ModelConfig
    >>> text = TextConfig(("a", "thick", "thin", "one"))
    >>> network = SimpleUNet(ModelConfig(channels=(8, 8), embedding_dim=16, text=text))
    >>> PromptedDenoiser(network, TextEncoder(text), ["a thin one", "a thick one"]).null_label
    2
    """

    def __init__(self, network: SimpleUNet, encoder: TextEncoder, prompts: Sequence[str]) -> None:
        nn.Module.__init__(self)  # no layers of its own but the embedding's table
        if network.config.text is None or network.prediction_type != "epsilon" or hasattr(network, "trained_for"):
            raise VizdiffUsageError("`network` must be one that predicts ε and was trained with text")
        for name, layer in network.named_children():
            self.add_module(name, layer)
        own = PromptEmbedding(network.config.text.width, network.config.embedding_dim, len(prompts))
        own.project = network.label_emb.project
        own.set_prompts(encoder.encode(prompts))
        self.label_emb = own
        self.prompts = tuple(prompts)
        self.word_places = {prompt: encoder.tokenizer.places(prompt) for prompt in prompts}
        self.config = replace(network.config, num_labels=len(prompts))
        self.latent_space = network.latent_space
        self.register_buffer("amplitudes", network.amplitudes, persistent=False)
        self.train(network.training)

    @property
    def class_names(self) -> tuple[str, ...]:
        """(K,) the names of the labels: the prompts."""
        return self.prompts
