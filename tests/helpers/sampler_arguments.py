"""Arguments of a sampling function, those of SamplerConfig gathered in one."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from viz_diffusion.diffusion.sampler_config import SamplerConfig

NAMES = {field.name for field in fields(SamplerConfig)}


def with_config(options: dict[str, Any], **defaults: Any) -> dict[str, Any]:
    """Return ``options`` with ``config``, made of those of them that SamplerConfig has and of ``defaults``."""
    given = {**defaults, **{name: value for name, value in options.items() if name in NAMES}}
    return {"config": SamplerConfig(**given), **{n: v for n, v in options.items() if n not in NAMES}}
