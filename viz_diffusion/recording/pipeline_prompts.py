"""Prompts of a pipeline's call: one for each image, and the places of their words among the text encoder's tokens.

Knows nothing about networks, steps or files.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.recording.word_maps import WORDS, words_text

WordPlace = tuple[str, int, int]
"""A word, its first token, and one past its last."""


class PromptTable:
    """The different prompts of a pipeline's runs, in the order in which they were seen; they are numbered as labels.

    Parameters
    ----------
    given
        The prompts of all images in order, as far as the caller gave them.
    pipe
        The pipeline whose ``tokenizer`` says which tokens make a word; None where the words are not asked for.
    """

    def __init__(self, given: Sequence[str], pipe: Any) -> None:
        self._given = tuple(given)
        self._tokenizer = getattr(pipe, "tokenizer", None)
        self._names = dict.fromkeys(self._given)

    @property
    def names(self) -> tuple[str, ...]:
        """(K,) the prompts that the labels 0 .. K-1 stand for."""
        return tuple(self._names)

    @property
    def conventions(self) -> dict[str, str]:
        """The places of the words, for ``Trajectory.conventions``; empty where they are not known."""
        if self._tokenizer is None or not self._names:
            return {}
        return {WORDS: words_text({name: word_places(self._tokenizer, name) for name in self._names})}

    def add(self, prompts: Sequence[str]) -> None:
        """Add the prompts of a run's images, where none were given."""
        if not self._given:
            self._names |= dict.fromkeys(prompts)

    def labels(self, prompts: Sequence[str], first: int, count: int) -> NDArray[np.int64] | None:
        """Return the numbers of the prompts of ``count`` images after ``first``, (count,) int64; None without any.

        ``prompts`` are those of their call, which given ones replace; -1 is not known.
        """
        if not self._names:
            return None
        own = self._given[first : first + count] if self._given else tuple(prompts)
        order = list(self._names)
        numbers = [order.index(one) for one in own]
        return np.array(numbers + [-1] * (count - len(numbers)), dtype=np.int64)


def prompts_of_call(call: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the prompt of each image that a call of a pipeline makes; empty where it has none, such as embeddings.

    Parameters
    ----------
    call
        The function that is called; ``prompt`` and ``num_images_per_prompt`` are found by their names.
    args, kwargs
        Its arguments.
    """
    try:
        named = inspect.signature(call).bind_partial(*args, **kwargs).arguments
    except (TypeError, ValueError):  # the call itself will say what is wrong
        return ()
    named = {**named, **named.get("kwargs", {})}
    prompt, repeats = named.get("prompt"), named.get("num_images_per_prompt") or 1
    prompts = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(prompts, (list, tuple)) or not all(isinstance(one, str) for one in prompts):
        return ()
    return tuple(one for one in prompts for _ in range(int(repeats)))


def word_places(tokenizer: Any, prompt: str) -> list[WordPlace]:
    """Return the words of a prompt and the tokens that each is made of, as far as the text encoder sees them.

    Parameters
    ----------
    tokenizer
        One of 🤗 transformers: of CLIP, whose tokens end a word by ``</w>``, or of T5, whose tokens begin one by ``▁``.
        Tokens of another tokenizer are a word each.
    prompt
        The text.

    Returns
    -------
    list of (word, first token, one past its last); tokens that begin, end or fill up the prompt are left out.
    """
    longest = min(int(getattr(tokenizer, "model_max_length", 512)), 512)
    numbers = tokenizer(prompt, truncation=True, max_length=longest).input_ids
    tokens = list(map(str, tokenizer.convert_ids_to_tokens(numbers)))
    special = set(map(str, tokenizer.all_special_tokens))
    ends = any(token.endswith("</w>") for token in tokens if token not in special)
    begins = any(token.startswith("▁") for token in tokens)
    words: list[WordPlace] = []
    is_open = False  # whether the next token goes on with the latest word
    for place, token in enumerate(tokens):
        if token in special:
            is_open = False
            continue
        text = token.removesuffix("</w>").removeprefix("▁")
        goes_on = is_open and not (begins and token.startswith("▁"))
        if goes_on:
            word, first, _ = words.pop()
            words.append((word + text, first, place + 1))
        else:
            words.append((text, place, place + 1))
        is_open = begins or (ends and not token.endswith("</w>"))
    return [one for one in words if one[0]]
