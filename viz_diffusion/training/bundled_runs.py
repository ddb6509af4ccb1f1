"""The runs that come with the package, by the names that ``vizdiff --run`` takes for them.

Reads nothing, and never imports torch.
"""

from __future__ import annotations

from pathlib import Path

_ASSETS = Path(__file__).parents[1] / "assets"
CONTROLS_DIR = _ASSETS / "controls"
"""Control runs: the twins ``no_time`` and ``with_time``, ``noise`` and ``flow``; ``subset_100``; ``base_500``."""
BUNDLED_TEXT = "bundled-text"
"""Name of the run that was trained with text."""
BUNDLED_LATENT_TEXT = "bundled-latent-text"
"""Name of the run that was trained with text in latents."""
BUNDLED_RUNS = {
    "bundled": _ASSETS / "weights",
    "bundled-flow": CONTROLS_DIR / "flow",
    "bundled-latent": _ASSETS / "latent",
    "bundled-latent-2d": _ASSETS / "latent_2d",
    BUNDLED_TEXT: _ASSETS / "text",
    BUNDLED_LATENT_TEXT: _ASSETS / "latent_text",
}
"""Folder of each bundled run that has a name: ``bundled`` on MNIST, ``bundled-flow`` trained by flow matching,
``bundled-latent`` in the latents of an autoencoder, ``bundled-latent-2d`` in latents of two numbers, ``bundled-text``
with prompts, ``bundled-latent-text`` with prompts in latents."""


def bundled_name(path: Path) -> str | None:
    """Return the name of the bundled run in a folder; None where the folder is none of theirs."""
    return next((name for name, folder in BUNDLED_RUNS.items() if folder == path), None)
