"""The drawing of a recording of latents for a command: the latent's channels beside the decoded images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from viz_diffusion.recording.trajectory import Trajectory
    from viz_diffusion.text.catalogue import Texts


def draw_latent_channels(recorded: Trajectory, facts: Mapping[str, Any], texts: Texts, out: Path) -> dict[str, Any]:
    """Write the figure of a latent's channels; return its values for the JSON file, none for other recordings."""
    from viz_diffusion.plots.words import use_texts
    from viz_diffusion.recording.latent_pictures import is_latent
    from viz_diffusion.recording.requested_label import unlabelled
    from viz_diffusion.study.narrative import drawings, save_drawing
    from viz_diffusion.study.wording import without_label, wording
    from viz_diffusion.views.latent_channels import draw_channels

    if not is_latent(recorded):
        return {}
    if recorded.x_t.shape[2:] == (2, 1, 1):
        texts = texts.preferring("two_numbers")
    texts = without_label(texts, unlabelled(recorded))
    with use_texts(texts):
        figures = {"latent_channels": draw_channels(recorded)}
    (drawing,) = drawings(figures, wording(dict(facts), texts), texts)
    save_drawing(drawing, out)
    return {"latent_channels": {"caption": drawing.caption}}
