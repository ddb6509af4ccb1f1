"""A whole study, measured and drawn once for all tests of decks."""

from __future__ import annotations

from pathlib import Path

import pytest
from deck_fakes import Made, ship_nothing, small_still

from viz_diffusion.deck.pictures import Darkroom, make_film
from viz_diffusion.recording.comparison_runs import load_comparison_runs
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.study.narrative import narrate
from viz_diffusion.study.study import study
from viz_diffusion.text.catalogue import load_texts
from viz_diffusion.training.run import Run


@pytest.fixture(scope="session")
def made(short_recording: Path) -> Made:
    """Return what is measured now of every core lesson on the short recording, told in English, and drawn.

    Without what ships with the weights: how many slides that fills changes with every lesson that ships.
    """
    recorded = Trajectory.open(short_recording / "trajectory.zarr")
    comparison_runs = load_comparison_runs(short_recording / "companions.npz", recorded)
    assert comparison_runs is not None
    run = Run.bundled()
    with pytest.MonkeyPatch.context() as patch:
        ship_nothing(patch)
        found = study(run, run.load_model()[0], recorded, comparison_runs)
    texts = load_texts("en")
    told = narrate(found.findings, found.recording, texts)
    drawn = [drawing for one in told for drawing in one.drawings]
    darkroom = Darkroom()
    for one in drawn:
        if one.name in ("steps", "ledger"):
            darkroom.draw(one)
    stills = {one.name: small_still(one) for one in drawn} | darkroom.finish()
    return Made(found, told, stills, make_film(recorded, texts, with_mp4=True), texts)
