"""Which kinds of networks the live page can run. Reads nothing, and never imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from viz_diffusion.errors import VizdiffInputError


def check_kind(*, has_text: bool, is_latent: bool) -> None:
    """Refuse a network that takes prompts or works in latents.

    Raises
    ------
    VizdiffInputError
        Where it is such a network.
    """
    if has_text:
        raise VizdiffInputError("this network takes prompts, which the page cannot read; use: vizdiff report")
    if is_latent:
        raise VizdiffInputError("this network works in latents, which the page cannot run; use: vizdiff report")


def check_config(values: Mapping[str, Any]) -> None:
    """Refuse a run by the values of its ``config.json``; see :func:`check_kind`."""
    model = values.get("model")
    has_text = isinstance(model, dict) and model.get("text") is not None
    check_kind(has_text=has_text, is_latent=values.get("space") == "latent")
