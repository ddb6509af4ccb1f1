"""Names of classes in figures, and a sentence on those that figures cannot write in full."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from viz_diffusion.plots.class_names import short_names
from viz_diffusion.plots.words import use_texts
from viz_diffusion.text.catalogue import Texts
from viz_diffusion.text.class_names import shown_name


def names_note(texts: Texts) -> str:
    """Return which names of classes figures write otherwise, as a sentence; empty where they write all in full."""
    written = zip(short_names(texts.class_names), map(shown_name, texts.class_names), strict=True)
    other = [texts("report.name_note", short=short, name=name) for short, name in written if short != name]
    return texts("report.names_note", names=texts["report.comma"].join(other)) if other else ""


def draw_in_words(figures: Mapping[str, Figure], name: str, texts: Texts) -> Figure:
    """Draw one of the figures, in the language and with the names of classes of these texts."""
    with use_texts(texts):
        return figures[name]
