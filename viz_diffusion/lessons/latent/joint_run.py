"""The sizes of the bundled run that has all parts: a text encoder, a denoiser in latents and an autoencoder.

They are read from the heads of its weights files; no weight is loaded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from safetensors import safe_open

from viz_diffusion.files import io_errors
from viz_diffusion.training.bundled_runs import BUNDLED_LATENT_TEXT, BUNDLED_RUNS
from viz_diffusion.training.run import MANIFEST, WEIGHTS, Run


@dataclass(frozen=True)
class JointSizes:
    """Sizes of its parts."""

    text_encoder: int
    """Parameters of the text encoder, without the image encoder that it was trained with."""
    denoiser: int
    """Parameters of the denoiser in latents."""
    autoencoder: int
    """Parameters of encoder and decoder."""
    latent: tuple[int, ...]
    """(C, H, W)."""


def joint_sizes() -> JointSizes | None:
    """Return the sizes of the bundled run in latents with prompts; None where none comes with the package."""
    folder = BUNDLED_RUNS.get(BUNDLED_LATENT_TEXT, Path())
    return _sizes_in(folder) if (folder / MANIFEST).is_file() else None


@cache
def _sizes_in(folder: Path) -> JointSizes:
    return JointSizes(
        parameters_in(folder / "text_encoder.safetensors", "text."),
        parameters_in(folder / WEIGHTS),
        parameters_in(folder / "autoencoder.safetensors", "encoder.", "decoder."),
        Run.open(folder).config.x_shape,
    )


def parameters_in(path: Path, *prefixes: str) -> int:
    """Return how many numbers the tensors of a weights file hold whose names begin with one of ``prefixes``, or all."""
    with io_errors("read", path), safe_open(path, "np") as file:
        names = [name for name in file.keys() if not prefixes or name.startswith(prefixes)]  # noqa: SIM118
        return sum(math.prod(file.get_slice(name).get_shape()) for name in names)
