"""The language of the terminal, of a command line that may be wrong."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise

from viz_diffusion.cli.options import LANG_VARIABLE
from viz_diffusion.text.catalogue import Texts, languages, load_texts


def terminal_texts(words: Sequence[str]) -> Texts:
    """Return the catalogue of ``--lang``, else of ``VIZDIFF_LANG``; English where there is none of that language.

    Parameters
    ----------
    words
        The command line.
    """
    given = [word.removeprefix("--lang=") for word in words if word.startswith("--lang=")]
    given += [after for word, after in pairwise(words) if word == "--lang"]
    lang = given[-1] if given else os.environ.get(LANG_VARIABLE, "")
    return load_texts(lang if lang in languages() else "en")
