"""Which networks are compared, and their measurement.

Knows nothing about figures or texts.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.evaluation.calibration import Calibration
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.files import read_json
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.lessons.latent.cost import TIMING, measure_cost, training_products
from viz_diffusion.lessons.latent.joint_run import parameters_in
from viz_diffusion.lessons.latent.latent_map import SHOWN_LABEL, SIZES, FlatNetwork, LatentMap, measure_map
from viz_diffusion.lessons.latent.latent_study import LatentStudy
from viz_diffusion.lessons.latent.reconstruction import MOVED_DIGITS, measure_channels, measure_reconstruction
from viz_diffusion.lessons.latent.sample_quality import CONTROL_COUNTS, COUNTS, Arm, Training, measure_quality
from viz_diffusion.lessons.latent.walks import measure_walks
from viz_diffusion.training.bundled_runs import BUNDLED_RUNS
from viz_diffusion.training.run import MANIFEST, WEIGHTS, Run

BUNDLED = "bundled-latent"
"""Name of the latent run that comes with the package."""
BUNDLED_FLAT = "bundled-latent-2d"
"""Name of the run in latents of two numbers."""
BUNDLED_TEXT = "bundled-text"
"""Name of the run with a text encoder."""
SHORT = "noise"
"""The control on pixels that was trained shortly."""
DIGITS = (1000, 10_000)
"""Test digits that are encoded, quick and full."""
CHANNEL_DIGITS = (300, 1000)
"""Test digits of which a channel is left out."""
PAIRS = (50, 500)
"""Pairs of test digits to walk between."""


def bundled_folder(name: str = BUNDLED) -> Path | None:
    """Return the folder of the latent run of this name; None where none comes with the package."""
    folder = BUNDLED_RUNS.get(name)
    return folder if folder is not None and (folder / MANIFEST).is_file() else None


def is_of_bundled(study: LatentStudy) -> bool:
    """Return whether results are of the latent networks that come with the package."""
    measured = {BUNDLED: study.latent_sha256} | ({} if study.plane is None else {BUNDLED_FLAT: study.plane.sha256})
    folders = [(bundled_folder(name), sha256) for name, sha256 in measured.items()]
    return all(
        folder is not None and read_json(folder / MANIFEST)["sha256"].get(WEIGHTS) == sha256
        for folder, sha256 in folders
    )


def measure_latent(context: LessonContext) -> LatentStudy:
    """Compare the run with the bundled latent one, or a run in latents with the bundled one on pixels.

    Raises
    ------
    VizdiffUsageError
        Where the run was not trained on MNIST, or no latent run comes with the package.
    """
    if not context.is_mnist:
        raise VizdiffUsageError(
            f"lesson latent compares networks of MNIST, and this run was trained on {context.run.config.dataset}; "
            "choose another `run`"
        )
    (latent_run, latent, digest), (pixel_run, pixel, _) = _networks(context)
    space, autoencoder = latent.latent_space, latent_run.config.autoencoder
    assert space is not None
    assert autoencoder is not None
    classifier, _ = DigitClassifier.bundled()
    some = _first(context.heldout, context.size(*CHANNEL_DIGITS))
    shown = int(np.flatnonzero(some.labels.numpy() == context.digit)[0])
    latent_process, pixel_process = latent_run.config.sampled(latent, "ddim"), pixel_run.config.sampled(pixel, "ddim")
    context.progress(0, None, "digits encoded and decoded")
    reconstruction = measure_reconstruction(space, _first(context.heldout, context.size(*DIGITS)), classifier)
    moved = context.size(*MOVED_DIGITS)
    channels = measure_channels(space, some, classifier, shown, moved, context.progress)
    temperature = Calibration.bundled().temperature
    walks = measure_walks(space, context.heldout, classifier, temperature, context.size(*PAIRS))
    cost = measure_cost(latent_process, pixel_process, *context.size(*TIMING), context.progress)
    quality = measure_quality(
        Arm(*latent_process, _training(latent_run, latent)),
        Arm(*pixel_process, _training(pixel_run, pixel)),
        _short(context) if context.full else None,
        context.training,
        context.heldout,
        (context.size(*COUNTS), context.size(*CONTROL_COUNTS)),
        context.progress,
    )
    parts = reconstruction, channels, walks, cost, quality
    sha256 = digest, space.sha256
    return LatentStudy(*parts, autoencoder.kl_weight, *sha256, text_parameters(), measure_plane(context))


def measure_plane(context: LessonContext) -> LatentMap | None:
    """Measure the map of the run, where its latents are two numbers, or else of the bundled run; None without one."""
    folder = bundled_folder(BUNDLED_FLAT)
    if _is_flat(context.run):
        run, network = context.run, context.network
    elif folder is None:
        return None
    else:
        run = Run.open(folder)
        network = run.load_model(context.device)[0]
    space = network.latent_space
    assert space is not None
    flat = FlatNetwork(*run.config.sampled(network, "ddim"), space, run.load_model()[1])
    digits, classifier = _first(context.heldout, context.size(*DIGITS)), DigitClassifier.bundled()[0]
    return measure_map(flat, digits, classifier, SHOWN_LABEL, context.size(*SIZES), context.progress)


def _is_flat(run: Run) -> bool:
    """Return whether a run's latents are points of a plane."""
    return run.config.autoencoder is not None and run.config.x_shape == (2, 1, 1)


def _networks(context: LessonContext) -> tuple[tuple[Run, SimpleUNet, str], tuple[Run, SimpleUNet, str]]:
    """Return run, network and SHA-256 of its weights, in latents and on pixels: one of them the context's own.

    For a network in latents of two numbers, the two bundled networks are compared instead.
    """
    own = context.run
    if own.config.space == "latent" and not _is_flat(own):
        pixel = Run.bundled()
        return (own, context.network, own.load_model(context.device)[1]), (pixel, *pixel.load_model(context.device))
    folder = bundled_folder()
    if folder is None:
        raise VizdiffUsageError(
            "no run in latents comes with the package; train one with: vizdiff train --space latent, and give its `run`"
        )
    latent = Run.open(folder)
    if _is_flat(own):
        own = Run.bundled()
        return (latent, *latent.load_model(context.device)), (own, *own.load_model(context.device))
    return (latent, *latent.load_model(context.device)), (own, context.network, "")


def _short(context: LessonContext) -> Arm:
    """Return the control on pixels that was trained shortly."""
    run = Run.control(SHORT)
    network = run.load_model(context.device)[0]
    return Arm(*run.config.sampled(network, "ddim"), _training(run, network))


def _training(run: Run, network: SimpleUNet) -> Training:
    own, autoencoder = run.config.training.batch_size, run.config.autoencoder
    steps, batch = (0, 0) if autoencoder is None else (autoencoder.steps, autoencoder.batch_size)
    products = training_products(network, (run.trained_steps, steps), (own, batch))
    return Training.of(run.path, run.trained_steps, products)


def _first(digits: Digits, count: int) -> Digits:
    return replace(digits, images=digits.images[:count], labels=digits.labels[:count])


def text_parameters() -> int | None:
    """Return the parameters of the text encoder that comes with the package; None where none does."""
    path = BUNDLED_RUNS.get(BUNDLED_TEXT, Path()) / "text_encoder.safetensors"
    return parameters_in(path, "text.") if path.is_file() else None
