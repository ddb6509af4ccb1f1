"""Calibration of a classifier's probabilities by one temperature, and how calibrated probabilities are.

The bundled classifier's is written by ``scripts/calibrate_classifier.py``. Knows nothing about samplers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.evaluation.classifier import CLASSIFIER_DIR
from viz_diffusion.evaluation.intervals import half_of_mean
from viz_diffusion.files import read_json, write_json

Float64 = NDArray[np.float64]
BINS = 15
"""Bins of equal width of the expected calibration error (Guo et al. 2017, section 2)."""
LOWEST, HIGHEST = 0.05, 20.0
"""Between which a temperature is looked for."""
FILE = "calibration.json"


@dataclass(frozen=True)
class Calibration:
    """A temperature, fitted on some labelled images, and what it changes on others."""

    temperature: float
    """By which the logits are divided; 1 changes nothing."""
    fitted: int
    """Images it was fitted on."""
    checked: int
    """Other images, on which the rest was measured."""
    nll_before: float
    """Mean negative log-likelihood of the labels there, nats, with the temperature 1."""
    nll_after: float
    """The same with the fitted temperature."""
    nll_change_half: float
    """Half the 95% interval of their difference, image by image."""
    ece_before: float
    """Expected calibration error there, 0 to 1, with the temperature 1."""
    ece_after: float
    """The same with the fitted temperature."""
    bins: int = BINS
    """Bins of the expected calibration error."""

    @classmethod
    def measure(
        cls, logits: Float64, labels: NDArray[np.int64], fitted: NDArray[np.int64], checked: NDArray[np.int64]
    ) -> Calibration:
        """Fit a temperature to the rows ``fitted`` of (N, K) logits and (N,) labels, and measure it on ``checked``."""
        temperature = fit_temperature(logits[fitted], labels[fitted])
        here, known = logits[checked], labels[checked]
        before, after = (log_loss(here / one, known) for one in (1.0, temperature))
        return cls(
            temperature,
            len(fitted),
            len(checked),
            float(before.mean()),
            float(after.mean()),
            float(half_of_mean(before - after)),
            calibration_error(here, known),
            calibration_error(here / temperature, known),
        )

    @classmethod
    def bundled(cls) -> Calibration:
        """Return that of the bundled classifier.

        Raises
        ------
        VizdiffInputError
            Where the file belongs to another classifier, or does not fit this version.
        """
        path = CLASSIFIER_DIR / FILE
        values = read_json(path)
        owner = read_json(CLASSIFIER_DIR / "provenance.json").get("sha256")
        if values.pop("classifier_sha256", None) != owner:
            raise VizdiffInputError(f"{path} belongs to another classifier; install the package again")
        values.pop("made", None)
        try:
            return cls(**values)
        except TypeError as error:
            raise VizdiffInputError(f"{path} does not fit this version ({error}); install the package again") from error

    def save(self, folder: Path, classifier_sha256: str, made: dict[str, Any]) -> None:
        """Write it beside the classifier's weights, with how it was ``made``."""
        write_json(folder / FILE, {"classifier_sha256": classifier_sha256, **asdict(self), "made": made})


def log_loss(logits: Float64, labels: NDArray[np.int64]) -> Float64:
    """Return (N,) negative log-likelihoods, in nats, of (N,) labels under (N, K) logits."""
    highest = logits.max(axis=1)
    total = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
    return np.asarray(total - logits[np.arange(len(logits)), labels])


def fit_temperature(logits: Float64, labels: NDArray[np.int64]) -> float:
    """Return the temperature with the smallest mean log-likelihood loss (Guo et al. 2017, section 4.2).

    The loss is convex in 1/T, so that one search finds the smallest one.
    """
    from scipy.optimize import minimize_scalar  # takes most of a second to load

    def loss(inverse: float) -> float:
        return float(log_loss(logits * inverse, labels).mean())

    return float(1 / minimize_scalar(loss, bounds=(1 / HIGHEST, 1 / LOWEST), method="bounded").x)


def calibration_error(logits: Float64, labels: NDArray[np.int64], bins: int = BINS) -> float:
    """Return the expected calibration error: mean distance of accuracy and probability, over bins of probability."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    sure = (shifted / shifted.sum(axis=1, keepdims=True)).max(axis=1)
    right = logits.argmax(axis=1) == labels
    place = np.minimum((sure * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(place, weights=right - sure, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))
