"""The singular after the number 1 in English texts. Knows nothing about catalogues."""

from __future__ import annotations

import re

_ADJECTIVES = "compared|denoising|held-out|larger|other|recorded|test|training"
_COUNTED = (
    "block|case|channel|cycle|digit|draw|evaluation|file|frame|generation|image|label|minute|noise|number|page|parameter|"
    "path|pixel|point|prompt|recording|run|sample|second|seed|shuffle|slide|state|step|timestep|value|vector|word"
)
_ONE = re.compile(
    rf"(?<![\w.,:/×·=±−–-])(?<![=±×·]\s)1(\s(?:(?:{_ADJECTIVES})\s)*(?:{_COUNTED}))s\b(?:(\s)(are|were)\b)?"
)
_VERBS = {"are": "is", "were": "was"}


def singular(text: str) -> str:
    """Return a text in which the singular stands after the number 1: "1 step is left", where it said "1 steps are"."""
    return _ONE.sub(lambda match: f"1{match[1]}{match[2] or ''}{_VERBS.get(match[3], '')}", text)
