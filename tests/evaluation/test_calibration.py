"""Calibration by a temperature: known temperatures are found, and the bundled file is of the bundled classifier."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from viz_diffusion.data import load_digits
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.evaluation import calibration
from viz_diffusion.evaluation.calibration import Calibration, calibration_error, fit_temperature, log_loss
from viz_diffusion.evaluation.classifier import DigitClassifier


def drawn(temperature: float, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Return logits, and labels drawn from their softmax at a temperature."""
    rng = np.random.default_rng(0)
    logits = 3 * rng.standard_normal((count, 10))
    labels = (logits / temperature + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return logits, labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_temperature_that_labels_were_drawn_with_is_found(temperature: float) -> None:
    logits, labels = drawn(temperature)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.03)
    rows = np.arange(len(labels))
    found = Calibration.measure(logits, labels, rows[::2], rows[1::2])
    assert found.ece_after < 0.015
    assert found.nll_after <= found.nll_before + 1e-3
    if temperature != 1:
        assert found.nll_before - found.nll_after > found.nll_change_half
        assert found.ece_before > 0.03


def test_the_log_loss_is_torchs_and_a_known_error_is_found() -> None:
    logits, labels = drawn(1.0, 50)
    theirs = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels), reduction="none")
    assert np.allclose(log_loss(logits, labels), theirs)
    # four answers with a probability of 0.8, three of them right, and one bin
    certain = np.tile([math.log(0.8), math.log(0.2)], (4, 1))
    assert calibration_error(certain, np.array([0, 0, 0, 1])) == pytest.approx(0.05)


def test_the_bundled_temperature_calibrates_digits_it_was_not_fitted_on() -> None:
    found = Calibration.bundled()
    assert found.fitted == found.checked == 5000
    assert found.nll_before - found.nll_after > found.nll_change_half
    digits = load_digits("test")
    rows = torch.randperm(len(digits), generator=torch.Generator().manual_seed(0))[5000:5300]
    classifier = DigitClassifier.bundled()[0]
    images, labels = digits.images[rows], digits.labels[rows]
    here = torch.arange(len(rows)), labels
    before, after = (
        -classifier.probabilities(images, temperature=one)[here].log().mean() for one in (1.0, found.temperature)
    )
    assert float(before) == pytest.approx(found.nll_before, rel=0.15)
    assert float(after) < 0.6 * float(before)


def test_the_file_of_another_classifier_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("calibration.json", "provenance.json"):
        (tmp_path / name).write_bytes((calibration.CLASSIFIER_DIR / name).read_bytes())
    monkeypatch.setattr(calibration, "CLASSIFIER_DIR", tmp_path)
    known = Calibration.bundled()
    known.save(tmp_path, json.loads((tmp_path / "provenance.json").read_text())["sha256"], {})
    assert Calibration.bundled() == known
    known.save(tmp_path, "0" * 64, {})
    with pytest.raises(VizdiffInputError, match="another classifier"):
        Calibration.bundled()
