"""The generation of a report, sampled once more by a bundled network in the other space; kept with its study."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viz_diffusion.cli.console import Terminal
from viz_diffusion.cli.open_study import OpenStudy
from viz_diffusion.cli.threads import spare_core

if TYPE_CHECKING:
    from viz_diffusion.study.other_network import OtherNetwork


def other_network(opened: OpenStudy, terminal: Terminal) -> OtherNetwork | None:
    """Return the generation in latents where a study's run works on pixels, and on pixels where it works in latents.

    It is taken from the study, or sampled and kept there. None where no bundled network fits the run.
    """
    from viz_diffusion.recording.comparison_sampling import sample_by_other_network
    from viz_diffusion.study.other_network import compared, other_run

    run, model, weights = opened.loaded
    other, recording = other_run(run.config), opened.recording
    if other is None:
        return None
    generation = opened.stored.other_network(recording)
    if generation is None:
        text = terminal.text("comparison_runs")
        with spare_core(), terminal.progress("Sampling", text, None) as update:
            network, _ = other.load_model(next(model.parameters()).device)
            generation = sample_by_other_network(
                network, recording, on_step=lambda done, total: update(done, total, text)
            )
        opened.stored.keep_other_network(generation, recording)
    return compared(generation, other, run.config, weights)
