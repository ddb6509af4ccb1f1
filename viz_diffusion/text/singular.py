"""The singular after the number 1 in English texts that are filled in. Knows nothing about catalogues."""

from __future__ import annotations

import re
from collections.abc import Mapping

_ADJECTIVES = "compared|denoising|held-out|larger|other|recorded|test|training"
_COUNTED = (
    "block|case|channel|cycle|digit|draw|evaluation|file|frame|generation|image|label|minute|noise|number|page|parameter|"
    "path|pixel|point|prompt|recording|run|sample|second|seed|shuffle|slide|state|step|timestep|value|vector|word"
)
_COUNT = re.compile(
    rf"(\{{[^{{}}]+\}}(?:\s(?:{_ADJECTIVES}))*\s(?:{_COUNTED}))s\b(?:(\s)(are|were)\b)?",
)
_VERBS = {"are": "is", "were": "was"}


def singular(text: str, values: Mapping[str, object]) -> str:
    """Return a text, not yet filled in, with the singular where a count in braces is 1: "{left} step is left"."""

    def one(match: re.Match[str]) -> str:
        count = match[1].partition("}")[0] + "}"
        if count.format(**values) != "1":
            return match[0]
        return f"{match[1]}{match[2] or ''}{_VERBS.get(match[3], '')}"

    return _COUNT.sub(one, text)
