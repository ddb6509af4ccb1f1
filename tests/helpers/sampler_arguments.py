"""Arguments of a sampling function, with a SamplerConfig made of those that are its fields."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from viz_diffusion.diffusion.sampler_config import SamplerConfig

NAMES = {field.name for field in fields(SamplerConfig)}


def with_config(options: dict[str, Any], **defaults: Any) -> dict[str, Any]:
    """Return ``options`` with ``config``, made of the fields of SamplerConfig among them and of ``defaults``."""
    given = {**defaults, **{name: value for name, value in options.items() if name in NAMES}}
    return {"config": SamplerConfig(**given), **{n: v for n, v in options.items() if n not in NAMES}}
