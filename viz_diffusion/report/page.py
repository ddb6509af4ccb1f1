"""Contents of a report page, checked: players, facts, chapters, provenance.

Knows nothing about HTML, sampling or drawing.
"""

from __future__ import annotations

from dataclasses import dataclass

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.report.player import Player
from viz_diffusion.study.blocks import Chapter, Picture


@dataclass(frozen=True, eq=False)
class Page:
    """Everything the report shows."""

    title: str
    """The heading, one sentence."""
    lede: str
    """The introduction below the heading, one or two sentences."""
    players: tuple[Player, ...]
    """Generations from the same noise; the first, the recording, is shown when the page opens."""
    comparisons: tuple[Player, ...]
    """The same noise and label with another guidance scale or sampler, for comparison with the first player."""
    command: str
    """The command that makes this page again."""
    facts: tuple[tuple[str, str], ...]
    """(name, value) pairs below the player: seed, weights, sampler."""
    strip: Picture
    """The film strip of the recording, for print and for browsers without JavaScript."""
    chapters: tuple[Chapter, ...]
    """The chapters, in order."""
    provenance: tuple[tuple[str, str], ...]
    """(name, value) pairs: versions, hashes, settings."""
    lang: str = "en"
    """Language of the interface texts, and of the page."""
    recording_only: bool = False
    """Whether the page shows a recording only, without its network; it then uses the texts for that."""
    class_names: tuple[str, ...] = ()
    """Names of the classes; empty for digits."""
    note: str = ""
    """A paragraph before the chapters; empty for none."""
    warning: str = ""
    """A banner below the heading: that the model was not trained well; empty for none."""

    def __post_init__(self) -> None:
        if not self.players:
            raise VizdiffUsageError("a report needs at least one recorded run")
        ids = [chapter.id for chapter in self.chapters]
        if len(set(ids)) != len(ids):
            raise VizdiffUsageError(f"chapter ids must differ, found {', '.join(ids)}")
