"""The recording and drawing of the attention to the words of a prompt, for a command that records a run of prompts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viz_diffusion.cli.loading import LoadedRun

if TYPE_CHECKING:
    from viz_diffusion.recording.trajectory import Trajectory
    from viz_diffusion.text.catalogue import Texts


def attended(loaded: LoadedRun, label: int, guidance_scale: float, modules: Collection[str]) -> tuple[str, ...]:
    """Return the module whose output is the attention to words; none where the label is no prompt with words.

    ``modules`` are those that are recorded anyway: a module is not recorded with a part of it.
    """
    from viz_diffusion.diffusion.tokenizer import EMPTY_PROMPT
    from viz_diffusion.recording.word_maps import WORD_ATTENTION

    prompts = loaded.run.config.prompts
    if not prompts or prompts[label] == EMPTY_PROMPT or guidance_scale == 0:
        return ()
    return () if {WORD_ATTENTION, WORD_ATTENTION.partition(".")[0]} & set(modules) else (WORD_ATTENTION,)


def draw_words(recorded: Trajectory, facts: Mapping[str, Any], texts: Texts, out: Path) -> dict[str, Any]:
    """Write the figure of the attention to each word; return its values for the JSON file, none where there is none."""
    from dataclasses import replace

    from viz_diffusion.plots.words import use_texts
    from viz_diffusion.recording.requested_label import unlabelled
    from viz_diffusion.recording.word_maps import has_word_maps
    from viz_diffusion.study.narrative import drawings, save_drawing
    from viz_diffusion.study.wording import wording
    from viz_diffusion.views.word_maps import draw_word_maps

    if unlabelled(recorded) or not has_word_maps(recorded):
        return {}
    with use_texts(texts):
        figures = {"prompt_word_maps": draw_word_maps(recorded)}
    (drawing,) = drawings(figures, wording(dict(facts), texts), texts)
    save_drawing(replace(drawing, name="word_maps"), out)
    return {"word_maps": {"caption": drawing.caption}}
