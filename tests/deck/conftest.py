"""A study of every core lesson, measured and drawn once for all tests of decks."""

from __future__ import annotations

from pathlib import Path

import pytest
from deck_fakes import Made, ship_nothing, small_picture

from viz_diffusion.deck.pictures import make_film, render_picture
from viz_diffusion.recording.comparison_runs import load_comparison_runs
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.study.narrative import narrate
from viz_diffusion.study.study import study
from viz_diffusion.text.catalogue import load_texts
from viz_diffusion.training.run import Run


@pytest.fixture(scope="session")
def made(short_recording: Path) -> Made:
    """Return what is measured now of every core lesson on the short recording, in English, and drawn.

    Precomputed lessons are ignored; tests/deck/test_slide_words.py takes them.
    """
    recorded = Trajectory.open(short_recording / "trajectory.zarr")
    comparison_runs = load_comparison_runs(short_recording / "companions.npz", recorded)
    assert comparison_runs is not None
    run = Run.bundled()
    with pytest.MonkeyPatch.context() as patch:
        ship_nothing(patch)
        found = study(run, run.load_model()[0], recorded, comparison_runs)
    texts = load_texts("en")
    lessons = narrate(found.findings, found.recording, texts)
    drawn = [drawing for one in lessons for drawing in one.drawings]
    pictures = {
        one.name: render_picture(one) if one.name in ("steps", "ledger") else small_picture(one) for one in drawn
    }
    return Made(found, lessons, pictures, make_film(recorded, texts, with_mp4=True), texts)
