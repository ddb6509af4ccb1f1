"""How a classifier reads the images of a study, and the texts for images that it does not read as the requested class.

The images are the recording's and those of its comparison runs with other labels: one from the same noise for each
class. Nothing is sampled for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from viz_diffusion.errors import VizdiffInputError, VizdiffIOError
from viz_diffusion.evaluation.classifier import CLASSIFIERS_DIR, DigitClassifier
from viz_diffusion.evaluation.intervals import Share
from viz_diffusion.recording.comparison_runs import Generation
from viz_diffusion.recording.requested_label import unlabelled
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.study.wording import join, without_label
from viz_diffusion.text.catalogue import Texts

if TYPE_CHECKING:
    from viz_diffusion.study.study import Study
    from viz_diffusion.training.config import RunConfig
    from viz_diffusion.training.run import Run

WELL_READ = 0.8
"""Share of images classified as the requested class below which a page says how few they are."""


@dataclass(frozen=True)
class Reading:
    """What is known of a run's images, and how long the run was trained."""

    trained_steps: int
    """Training steps behind the weights."""
    is_finished: bool
    """Whether training reached its planned end."""
    requested: int
    """The label of the recording."""
    labels: Mapping[int, int]
    """The label that the classifier reads, by the requested label; empty where there is no classifier or no request."""
    unlabelled: str = ""
    """Why the label plays no part; see :func:`~viz_diffusion.recording.requested_label.unlabelled`."""

    @property
    def share(self) -> Share | None:
        """The share of images that are classified as the requested class; None where there is no classifier."""
        if not self.labels:
            return None
        return Share(sum(read == label for label, read in self.labels.items()), len(self.labels))

    @property
    def is_as_requested(self) -> bool | None:
        """Whether the recording's image is classified as the requested class; None where it is not known."""
        return self.labels[self.requested] == self.requested if self.labels else None

    @property
    def misread(self) -> frozenset[int]:
        """The labels whose image is classified as another class."""
        return frozenset(label for label, read in self.labels.items() if read != label)

    @property
    def is_poor(self) -> bool:
        """Whether fewer images than :data:`WELL_READ` are classified as the requested class."""
        return self.share is not None and self.share.value < WELL_READ

    def warning(self, texts: Texts) -> str:
        """Return one or two sentences about a run that was not trained well or to its end; empty for any other."""
        return self._warning(texts, "")

    def short_warning(self, texts: Texts) -> str:
        """Return the same in a few words, for a slide that names the number of training steps."""
        return self._warning(texts, "short_")

    def _warning(self, texts: Texts, kind: str) -> str:
        if self.is_finished and not self.is_poor:
            return ""
        key = "_".join((["below"] if self.is_poor else []) + ([] if self.is_finished else ["unfinished"]))
        share = 0.0 if self.share is None else self.share.value
        return texts(f"quality.{kind}{key}", steps=self.trained_steps, share=share)

    def long_warning(self, texts: Texts) -> str:
        """Return the same, and on how many images it rests."""
        if self.share is None or not self.is_poor:
            return self.warning(texts)
        low, high = self.share.interval
        counts = texts("quality.details", hits=self.share.hits, count=self.share.count, low=low, high=high)
        return join(self.warning(texts), counts)

    def texts(self, texts: Texts) -> Texts:
        """Return the texts that suit the recording: others where its image is not read as the requested class.

        Others, too, where no class was requested.
        """
        if self.is_as_requested is not False:
            return without_label(texts, self.unlabelled)
        read = texts.label(self.labels[self.requested]).replace("{", "{{").replace("}", "}}")
        return texts.preferring("unreadable", read_as=read)


def read_images(run: Run, trajectory: Trajectory, others: Sequence[Generation] = ()) -> Reading:
    """Classify the first image of a recording, and those of its comparison runs with other labels."""
    requested = int(trajectory.labels[0])
    images = [torch.from_numpy(trajectory.x0[0]), *(_channels_first(torch.from_numpy(one.x_t[-1])) for one in others)]
    labels = [requested, *(one.digit for one in others)]
    why = unlabelled(trajectory)
    judge = None if why else classifier_of(run.config)
    read = [] if judge is None else judge[0].read(torch.stack(images).float()).tolist()
    return Reading(
        run.trained_steps,
        run.is_finished,
        requested,
        dict(zip(labels, read, strict=True)) if read else {},
        why,
    )


def read_study(found: Study) -> Reading:
    """Classify the images of a study; see :func:`read_images`."""
    return read_images(found.run, found.trajectory, found.comparison_runs.others)


def classifier_of(config: RunConfig) -> tuple[DigitClassifier, str] | None:
    """Return the classifier of a run's data with its SHA-256; None where there is none, or the data cannot be read.

    The data are only read where any classifier was trained here. Prompts are classified by nothing.
    """
    if config.prompts:
        return None
    if config.dataset == "mnist":
        return DigitClassifier.bundled()
    if not CLASSIFIERS_DIR.is_dir():
        return None
    try:
        training = config.load_digits("train")
    except (VizdiffInputError, VizdiffIOError):
        return None
    return DigitClassifier.find(config.dataset, config.data_set(training).sha256)


def _channels_first(image: Tensor) -> Tensor:
    """Return a (H, W) or (H, W, C) image as (C, H, W)."""
    return image[None] if image.ndim == 2 else image.permute(2, 0, 1)
