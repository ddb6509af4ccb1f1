"""The classifier: a network independent of the denoisers, and its accuracy on labelled images.

The classifier never takes part in training or guiding a denoiser. Knows nothing about samplers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from viz_diffusion.diffusion.torch_defaults import own_defaults
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.evaluation.intervals import Share
from viz_diffusion.files import read_json, read_regular, sha256_bytes

CLASSIFIER_DIR = Path(__file__).parents[1] / "assets" / "classifier"
CLASSIFIERS_DIR = Path("classifiers")
"""Where ``vizdiff train-classifier`` writes, a folder for each data set."""
PROVENANCE = "provenance.json"
BATCH = 500
"""Images of one forward pass by default; results depend on it by rounding alone."""


class DigitClassifier(nn.Module):
    """A small convolutional network that classifies images; that of digits by ``scripts/train_classifier.py``.

    Parameters
    ----------
    channels, num_labels
        C of the images, which have any size, and K, the number of classes.
    """

    def __init__(self, channels: int = 1, num_labels: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(channels, 32, stride=2),
            *_convolution(32, 64),
            *_convolution(64, 64, stride=2),
            *_convolution(64, 128),
            *_convolution(128, 128),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(128, num_labels))

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, K) logits of (N, C, H, W) float32 images in [-1, 1]."""
        return self.head(self.features(images))

    @classmethod
    @own_defaults()
    def bundled(cls) -> tuple[DigitClassifier, str]:
        """Load the classifier that comes with the package; return it with its SHA-256."""
        path = CLASSIFIER_DIR / "model.safetensors"
        data = read_regular(path)
        digest = sha256_bytes(data)
        if digest != read_json(CLASSIFIER_DIR / "provenance.json").get("sha256"):
            raise VizdiffInputError(f"{path} was changed ({digest[:12]}…); install the package again")
        classifier = cls()
        try:
            classifier.load_state_dict(load(data))
        except (SafetensorError, RuntimeError) as error:
            raise VizdiffInputError(f"{path} does not fit this version: {error}") from error
        return classifier.float().eval().requires_grad_(False), digest

    @classmethod
    def open(cls, folder: Path, data_sha256: str) -> tuple[DigitClassifier, str]:
        """Load a classifier that ``vizdiff train-classifier`` wrote; return it with its SHA-256.

        Raises
        ------
        VizdiffInputError
            Where a file is missing or damaged, or the classifier was trained on other images than ``data_sha256``.
        """
        facts, path = read_json(folder / PROVENANCE), folder / "model.safetensors"
        if facts.get("data_sha256") != data_sha256:
            raise VizdiffInputError(
                f"{folder} was trained on other images (SHA-256 {str(facts.get('data_sha256'))[:12]}…) than these "
                f"({data_sha256[:12]}…); train one on these with: vizdiff train-classifier"
            )
        data = read_regular(path)
        digest = sha256_bytes(data)
        if digest != facts.get("sha256"):
            raise VizdiffInputError(f"{path} was changed ({digest[:12]}…); train it again")
        try:
            classifier = cls(int(facts["channels"]), int(facts["num_labels"]))
            classifier.load_state_dict(load(data))
        except (SafetensorError, RuntimeError, KeyError, TypeError) as error:
            raise VizdiffInputError(f"{path} does not fit this version: {error}") from error
        return classifier.float().eval().requires_grad_(False), digest

    @classmethod
    def find(cls, dataset: str, data_sha256: str) -> tuple[DigitClassifier, str] | None:
        """Return the classifier of a run's data with its SHA-256; None where none was trained here.

        Parameters
        ----------
        dataset
            ``mnist`` has the one that comes with the package.
        data_sha256
            SHA-256 of the training images, all of them.
        """
        if dataset == "mnist":
            return cls.bundled()
        folder = classifier_dir(data_sha256)
        return cls.open(folder, data_sha256) if (folder / PROVENANCE).is_file() else None

    def read(self, images: Tensor, batch_size: int = BATCH) -> Tensor:
        """Return (N,) int64, the label seen in each of (N, C, H, W) images, clipped to [-1, 1]."""
        return self._in_batches(self, images, batch_size).argmax(dim=1)

    def probabilities(self, images: Tensor, batch_size: int = BATCH, temperature: float = 1.0) -> Tensor:
        """Return (N, K) float32 probabilities of the labels in (N, C, H, W) images, clipped to [-1, 1].

        The logits are divided by ``temperature``; that of :mod:`viz_diffusion.evaluation.calibration` calibrates them.
        """
        return torch.softmax(self._in_batches(self, images, batch_size) / temperature, dim=1)

    def penultimate_features(self, images: Tensor, batch_size: int = BATCH) -> NDArray[np.float64]:
        """Return (N, 128) float64 inputs of the last layer for (N, C, H, W) images, clipped to [-1, 1]."""
        return np.asarray(self._in_batches(self.features, images, batch_size).double().numpy())

    @torch.no_grad()
    def _in_batches(self, layers: nn.Module, images: Tensor, batch_size: int) -> Tensor:
        """Return what ``layers`` give for images on any device, in any floating-point dtype."""
        weights = next(self.parameters())
        return torch.cat([layers(part.to(weights).clamp(-1, 1)) for part in torch.split(images, batch_size)])


def classifier_dir(data_sha256: str) -> Path:
    """Return the folder of the classifier of a data set whose training images have this SHA-256."""
    return CLASSIFIERS_DIR / data_sha256[:16]


def classifier_accuracy(
    images: Tensor, labels: Tensor, judge: tuple[DigitClassifier, str] | None = None
) -> tuple[Share, str]:
    """Return the share of images that a classifier classifies as their labels, and its SHA-256.

    Parameters
    ----------
    images, labels
        (N, C, H, W) float32 in [-1, 1] and (N,) int64.
    judge
        The classifier with its SHA-256; by default the bundled one.
    """
    classifier, digest = DigitClassifier.bundled() if judge is None else judge
    hits = int((classifier.read(images) == labels).sum())
    return Share(hits, len(labels)), digest


def _convolution(in_channels: int, out_channels: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    ]
