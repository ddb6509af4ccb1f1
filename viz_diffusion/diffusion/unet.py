"""The denoiser network: a small U-Net from x_t, timestep and label to the predicted noise.

Of the forward process it uses ᾱ only, in its output. Knows nothing about sampling, guidance or training.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from viz_diffusion.diffusion.prompt_layers import PromptEmbedding, WordAttention
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.text_encoder import TextConfig
from viz_diffusion.diffusion.unet_blocks import AttentionBlock, ResidualBlock, SinusoidalPositionEmbeddings, bias_of
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError

if TYPE_CHECKING:
    from viz_diffusion.diffusion.latent_space import LatentSpace


@dataclass(frozen=True)
class ModelConfig:
    """The architecture of a :class:`SimpleUNet`."""

    image_size: int = 28
    """Height and width of the images, or latents, in pixels; divisible by 4 where ``fold`` is 2."""
    in_channels: int = 1
    """Channels of the images: 1 for grey; or of the latents."""
    num_labels: int = 10
    """How many labels there are; index ``num_labels`` is the null label, "no label"."""
    channels: tuple[int, int] = (32, 64)
    """Feature channels at half and at a quarter of the image's resolution; with ``fold`` 1, at all and half of it."""
    num_blocks: int = 1
    """Residual blocks per level, on the way down and again on the way up."""
    num_mid_blocks: int = 2
    """Residual blocks in the middle, at the lower resolution: one before the attention, the others after it."""
    num_heads: int = 4
    """Attention heads at the lower resolution."""
    time_dim: int = 128
    """Width of the sinusoidal time code."""
    embedding_dim: int = 512
    """Width D of the time and label embeddings that are summed."""
    schedule: str | None = "linear"
    """Name of the noise schedule whose ᾱ the output uses; None: the layers predict what is trained for directly, such
    as ε̂ in Ho et al. 2020; flow: the output is the velocity of flow matching."""
    num_train_timesteps: int = 1000
    """T of that schedule."""
    use_time: bool = True
    """Whether t is an input. Without it there is no time embedding, and no schedule either: ᾱ would reveal t."""
    fold: int = 2
    """2: the image is folded 2x2 into channels first, which suits pixels; 1: it is not, which suits small latents."""
    kernel_size: int = 3
    """Height and width of the convolutions; 1 suits latents without rows and columns, which have no neighbours."""
    text: TextConfig | None = None
    """The text encoder whose prompts take the place of the labels; None where the labels have an embedding each."""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """Build a config from JSON values.

        Raises
        ------
        VizdiffInputError
            Where an entry is unknown or has no possible value; the message names it.
        """
        try:
            # a config without a schedule is older than the output that uses ᾱ
            text = values.get("text")
            read: dict[str, Any] = {"channels": tuple(values.get("channels", cls.channels))}
            read |= {} if text is None else {"text": TextConfig.from_dict(text)}
            config = cls(**{"schedule": None, **values, **read})
            config.noise_schedule()
        except (TypeError, VizdiffUsageError) as error:
            raise VizdiffInputError(f"the model's config does not fit this version: {error}") from error
        if type(config.use_time) is not bool:
            raise VizdiffInputError(f"the model's use_time must be true or false, found {config.use_time!r}")
        if not config.use_time and config.schedule is not None:
            raise VizdiffInputError(f"a model without timesteps has no schedule, found {config.schedule!r}: ᾱ shows t")
        values = asdict(config)
        others = ("channels", "schedule", "use_time", "text")
        numbers = [values[k] for k in values if k not in others] + [*config.channels]
        if len(config.channels) != 2 or not all(type(n) is int and 0 < n <= 65536 for n in numbers):
            raise VizdiffInputError(f"the model's config must hold positive whole numbers, found {values}")
        divisions = (
            ("channels", config.channels[0], 8),
            ("channels", config.channels[1], 8),
            ("channels", config.channels[1], config.num_heads),
            ("image_size", config.image_size, 4 if config.fold == 2 else 1),
            ("time_dim", config.time_dim, 2),
        )
        for name, number, divisor in divisions:
            if number % divisor:
                raise VizdiffInputError(f"the model's {name} must be divisible by {divisor}, found {number}")
        if config.kernel_size not in (1, 3):
            raise VizdiffInputError(f"the model's kernel_size must be 1 or 3, found {config.kernel_size}")
        if config.fold not in (1, 2):
            raise VizdiffInputError(f"the model's fold must be 1 or 2, found {config.fold}")
        if config.num_mid_blocks < 2:
            raise VizdiffInputError(f"the model's num_mid_blocks must be at least 2, found {config.num_mid_blocks}")
        return config

    def noise_schedule(self) -> NoiseSchedule | None:
        """Return the schedule whose ᾱ the output uses, or None where it uses none."""
        return None if self.schedule is None else NoiseSchedule.named(self.schedule, self.num_train_timesteps)


class SimpleUNet(nn.Module):
    """ε_θ(x_t, t, y): a U-Net at a half and a quarter of the image's resolution.

    The image is first folded 2x2 (pixel-unshuffle), so that the work is done at 14x14 and 7x7 and
    costs a quarter of what 28x28 would. With ``fold`` 1 it is not, and latents of 7x7 are worked on at 7x7 and 4x4.
    ``time_mlp(timestep) + label_emb(label)``, one sum, conditions
    every residual block (Ho et al. 2020, appendix B, with scale and shift as in Nichol & Dhariwal 2021). With ``text``
    a label stands for a prompt: its vector is a linear layer of the encoder's, and the features in the middle attend to
    its words.

    The more noise x_t holds, the closer x_t itself is to ε. So the output is ε̂ = √(1-ᾱ) x_t + √ᾱ F(x_t, t, y), and
    the layers F predict v = √ᾱ ε - √(1-ᾱ) x_0 (Salimans & Ho 2022, section 4 and appendix D): an error of F enters
    x̂_0 with a factor of at most 1, where an error of a directly predicted ε̂ enters with √((1-ᾱ)/ᾱ), 157 at t = 999 of
    the linear schedule.
    """

    amplitudes: Tensor
    prediction_type = "epsilon"
    """What a call returns, one of :data:`~viz_diffusion.diffusion.parameterizations.PREDICTION_TYPES`."""
    prompts: tuple[str, ...] = ()
    """(K,) the prompts that the labels stand for, where they were chosen; empty where the labels are the classes."""
    word_places: dict[str, list[tuple[str, int, int]]]
    """Their words, each with its first token and one past its last, by prompt."""
    latent_space: LatentSpace | None = None
    """Where x is a latent: the autoencoder that encoded it; None where x is the image itself."""

    def __init__(self, config: ModelConfig | None = None) -> None:
        super().__init__()
        self.word_places = {}
        self.config = config = config or ModelConfig()
        outer, inner = config.channels
        width, kernel = config.embedding_dim, config.kernel_size
        folded = config.fold**2 * config.in_channels
        if config.use_time:
            self.time_mlp = nn.Sequential(
                SinusoidalPositionEmbeddings(config.time_dim),
                nn.Linear(config.time_dim, width),
                nn.SiLU(),
                nn.Linear(width, width),
            )
        self.label_emb: Any
        if config.text is None:
            self.label_emb = nn.Embedding(config.num_labels + 1, width)
        else:
            self.label_emb = PromptEmbedding(config.text.width, width, config.num_labels)
            self.word_attention = WordAttention(inner, config.text.width, config.text.num_heads)
        self.conv_in = nn.Conv2d(folded, outer, kernel, padding=kernel // 2)
        self.down_outer = _blocks([outer] * config.num_blocks, outer, width, kernel)
        self.downsample = nn.Conv2d(outer, inner, kernel, stride=2, padding=kernel // 2)
        self.down_inner = _blocks([inner] * config.num_blocks, inner, width, kernel)
        self.mid1 = ResidualBlock(inner, inner, width, kernel)
        self.mid_attention = AttentionBlock(inner, config.num_heads)
        self.mid2 = ResidualBlock(inner, inner, width, kernel)
        self.up_inner = _blocks([2 * inner] * config.num_blocks, inner, width, kernel)
        self.upsample = nn.ConvTranspose2d(inner, outer, 2, stride=2)
        self.up_outer = _blocks([2 * outer] * config.num_blocks, outer, width, kernel)
        self.norm_out = nn.GroupNorm(8, outer)
        self.conv_out = nn.Conv2d(outer, folded, kernel, padding=kernel // 2)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(bias_of(self.conv_out))
        # made last, so that a seed gives all other layers the weights that they have without these
        self.mid_more = _blocks([inner] * (config.num_mid_blocks - 2), inner, width, kernel)
        schedule = config.noise_schedule()
        if schedule is not None and schedule.scaling != "flow":  # (T, 2): √ᾱ and √(1-ᾱ)
            powers = np.stack([schedule.alphas_cumprod, 1 - schedule.alphas_cumprod], axis=1)
            self.register_buffer("amplitudes", torch.from_numpy(np.sqrt(powers)).float(), persistent=False)

    @property
    def null_label(self) -> int:
        """The label that means "no label": one past the last digit, or past the last prompt."""
        return self.config.num_labels if self.config.text is None else int(self.label_emb.num_prompts)

    def embed(self, timesteps: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the (B, D) sum of the time and the label embedding; no labels means the null label.

        Without ``config.use_time`` it is the label embedding only.
        """
        if labels is None:
            labels = torch.full_like(timesteps, self.null_label, dtype=torch.int64)
        if not self.config.use_time:
            return self.label_emb(labels)
        return self.time_mlp(self.network_timesteps(timesteps)) + self.label_emb(labels)

    def network_timesteps(self, timesteps: Tensor) -> Tensor:
        """Return the (B,) numbers that the time embedding gets for (B,) timesteps: here, the same."""
        return timesteps

    def _attend_to_words(self, h: Tensor, labels: Tensor | None) -> Tensor:
        """Return features after attention to the words of the prompts; as they are where the network has labels."""
        if self.config.text is None:
            return h
        labels = torch.full((len(h),), self.null_label, device=h.device) if labels is None else labels
        attended: Tensor = self.word_attention(h, *self.label_emb.words(labels))
        return attended

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return what the network predicts: the noise ε̂, where it was not trained for anything else.

        Parameters
        ----------
        x
            (B, C, H, W) float32, the noised images x_t.
        timesteps
            (B,) int64 in 0 .. T-1; or float32 in -1 .. T-1, t = T σ - 1, for a network of flow matching.
        labels
            (B,) int64 in 0 .. num_labels, where ``num_labels`` is the null label; none means null.

        Returns
        -------
        Tensor
            (B, C, H, W) float32.
        """
        embedding = self.embed(timesteps, labels)
        fold = self.config.fold
        h = self.conv_in(functional.pixel_unshuffle(x, fold))
        height, width = h.shape[2:]
        skips = []
        for block in self.down_outer:
            h = block(h, embedding)
            skips.append(h)
        h = self.downsample(h)
        for block in self.down_inner:
            h = block(h, embedding)
            skips.append(h)
        h = self._attend_to_words(self.mid_attention(self.mid1(h, embedding)), labels)
        h = self.mid2(h, embedding)
        for block in self.mid_more:
            h = block(h, embedding)
        for block in self.up_inner:
            h = block(torch.cat([h, skips.pop()], dim=1), embedding)
        h = self.upsample(h)[:, :, :height, :width]  # of an odd side there is one row too many
        for block in self.up_outer:
            h = block(torch.cat([h, skips.pop()], dim=1), embedding)
        h = functional.pixel_shuffle(self.conv_out(functional.silu(self.norm_out(h))), fold)
        if self.config.schedule is None:
            return h
        if self.config.schedule == "flow":
            sigma = (self.network_timesteps(timesteps).float() + 1) / self.config.num_train_timesteps
            return _velocity(x, h, sigma[:, None, None, None])
        # ε̂ = √(1-ᾱ) x_t + √ᾱ F(x_t, t, y)
        signal, spread = self.amplitudes[timesteps.long(), :, None, None, None].unbind(1)
        return spread * x + signal * h


def _velocity(x: Tensor, h: Tensor, sigma: Tensor) -> Tensor:
    """Return ε̂ - x̂_0 where x = (1-σ) x_0 + σ ε and the layers predict h = (1-σ) ε/r - σ x_0/r, r² = (1-σ)² + σ².

    x/r and h are the state and the v of the variance-preserving process with the same SNR, so that an error of h enters
    ε̂ and x̂_0 with factors of at most 1.
    """
    power = (1 - sigma) ** 2 + sigma**2
    return (2 * sigma - 1) / power * x + h / power.sqrt()


def _blocks(in_channels: list[int], out_channels: int, embedding_dim: int, kernel_size: int) -> nn.ModuleList:
    return nn.ModuleList(ResidualBlock(n, out_channels, embedding_dim, kernel_size) for n in in_channels)
