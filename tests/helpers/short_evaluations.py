"""Evaluations of trainings that tests start in their own process: of forty held-out images, samples in one step.

The command evaluates a run on a thousand images when it ends, which takes longer than the few steps of a test's
training. Trainings on fewer than forty images, and those in processes of their own, are evaluated as ever.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest

from viz_diffusion.training import trainer
from viz_diffusion.training.thumbnails import Thumbnails

IMAGES = 40


@pytest.fixture(autouse=True, scope="session")
def short_evaluations() -> Iterator[None]:
    """Evaluate on few images; measurements of :func:`viz_diffusion.training.loop.heldout_loss` itself stay whole."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "heldout_loss", functools.partial(trainer.heldout_loss, count=IMAGES))
        patch.setattr(Thumbnails, "STEPS", 1)
        yield
