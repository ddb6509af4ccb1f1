"""A recording's generation by a bundled network in the other space: in latents where the recording is of pixels.

Which network that is, and what a lesson measured of both; samples nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.files import read_json
from viz_diffusion.lessons.latent.cost import Cost
from viz_diffusion.lessons.latent.latent_study import LatentStudy
from viz_diffusion.lessons.latent.lesson import LESSON
from viz_diffusion.lessons.precomputed import load_results
from viz_diffusion.recording.comparison_runs import Generation
from viz_diffusion.training.bundled_runs import BUNDLED_LATENT_TEXT, BUNDLED_RUNS, BUNDLED_TEXT
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.run import MANIFEST, WEIGHTS, Run
from viz_diffusion.training.text_run import prompted_run

_OTHER = {"pixel": "bundled-latent", "latent": "bundled"}
"""The bundled run in the other space, by the space of a run."""
_OTHER_OF_PROMPTS = {"pixel": BUNDLED_LATENT_TEXT, "latent": BUNDLED_TEXT}
"""The same of a run that was trained with text."""


@dataclass(frozen=True, eq=False)
class OtherNetwork:
    """A recording's generation, sampled once more by a bundled network in the other space."""

    generation: Generation
    """With the recording's label, seed, sampler, steps and guidance scale, but of other noise."""
    name: str
    """The run's name, as of ``vizdiff --run``."""
    space: str
    """What it works on: ``pixel`` or ``latent``."""
    shape: tuple[int, int, int]
    """(C, H, W) of its x."""
    cost: Cost | None
    """What an image costs in latents and on pixels, where it ships for these two networks; else None."""

    @property
    def shown_shape(self) -> str:
        """The shape as text, such as 4 × 7 × 7."""
        return " × ".join(map(str, self.shape))


def other_run(config: RunConfig) -> Run | None:
    """Return the bundled run that a run's generations are compared with; None where there is none.

    There is one for a run on MNIST whose network is given digits, or prompts that the other one's text encoder knows,
    and was trained on the same noise schedule. It is given the same prompts.
    """
    folder = BUNDLED_RUNS[(_OTHER if config.model.text is None else _OTHER_OF_PROMPTS)[config.space]]
    is_mnist = config.dataset == "mnist" and (config.is_digits or bool(config.prompts))
    if not is_mnist or not (folder / MANIFEST).is_file():
        return None
    other = Run.open(folder)
    schedules = [(one.schedule, one.num_train_timesteps) for one in (config, other.config)]
    if schedules[0] != schedules[1]:
        return None
    try:
        return prompted_run(other, config.prompts) if config.prompts else other
    except VizdiffUsageError:  # it does not know a word
        return None


def compared(generation: Generation, other: Run, config: RunConfig, weights_sha256: str) -> OtherNetwork:
    """Return a generation of :func:`other_run` with what is known of its network.

    Parameters
    ----------
    config, weights_sha256
        Of the run that made the recording.
    """
    digests = (weights_sha256, str(read_json(other.path / MANIFEST)["sha256"][WEIGHTS]))
    latent, pixel = digests if config.space == "latent" else digests[::-1]
    return OtherNetwork(generation, other.name, other.config.space, other.config.x_shape, shipped_cost(latent, pixel))


def shipped_cost(latent_sha256: str, pixel_sha256: str) -> Cost | None:
    """Return what lesson ``latent`` measured of the cost of two networks; None where that does not ship."""
    found: LatentStudy | None = load_results([LESSON], pixel_sha256).get(LatentStudy)
    return None if found is None or found.latent_sha256 != latent_sha256 else found.cost
