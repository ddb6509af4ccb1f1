"""Texts on the steps of a generation, reworded for a network that works in latents.

There the lesson measures the latents themselves: what it calls an image is a latent, and a pixel one of its numbers.
Texts that need other words than these stand in the catalogue under ``latent``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_MEASURED_ON_LATENTS = re.compile(
    r"chapter\.step\.|(picture|figure|deck\.slide)\.(ledger|directions|exposure)\.|deck\.correction\.step\."
)
"""Keys of the texts on what lesson step measures."""
_Rule = tuple[str, str | Callable[[re.Match[str]], str]]
_RULES: Mapping[str, tuple[_Rule, ...]] = {
    "en": (
        (r"\bover (the|all) pixels\b", r"over all numbers of the latent"),
        (r"\b([Ii]mage)(s?)\b(?![^{]*\})", lambda match: ("L" if match[1][0] == "I" else "l") + "atent" + match[2]),
    ),
    "zh": (
        (r"全部像素", "潜变量全部数"),
        (r"(一|下一|另一)幅?图像", r"\1个潜变量"),
        (r"图像", "潜变量"),
    ),
}


def in_latents(entries: Mapping[str, str], lang: str) -> dict[str, str]:
    """Return the texts of a catalogue as they are for a network that works in latents."""
    rules = [(re.compile(pattern), new) for pattern, new in _RULES.get(lang, ())]

    def reworded(text: str) -> str:
        for pattern, new in rules:
            text = pattern.sub(new, text)
        return text

    return {key: reworded(text) if _MEASURED_ON_LATENTS.match(key) else text for key, text in entries.items()}
